-- _ends_channel: the channel on which a process hears of the ends that it waits for, in this schema.
--
-- A hash, because names of channels end at 63 bytes.
-- Fence: none. Repeat: reads only. Locks: none. Raises: nothing.
create or replace function pyengine._ends_channel(p_listener text)
returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  return 'ends_' || md5('pyengine.' || p_listener);
end;
$function$;

comment on function pyengine._ends_channel(text) is
  'The channel on which a process hears of the ends that it waits for.';
