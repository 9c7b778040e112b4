-- _waits_channel: the channel on which executors of an application hear what others wait for, in this schema.
--
-- A hash, because names of channels end at 63 bytes.
-- Fence: none. Repeat: reads only. Locks: none. Raises: nothing.
create or replace function pyengine._waits_channel(p_application text)
returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  return 'waits_' || md5('pyengine.' || p_application);
end;
$function$;

comment on function pyengine._waits_channel(text) is
  'The channel on which executors of an application hear what others wait for.';
