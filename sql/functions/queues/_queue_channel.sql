-- _queue_channel: the channel on which executors of an application hear of work, in this schema.
--
-- A hash, because names of channels end at 63 bytes.
-- Fence: none. Repeat: reads only. Locks: none. Raises: nothing.
create or replace function pyengine._queue_channel(p_application text)
returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  return 'queues_' || md5('pyengine.' || p_application);
end;
$function$;

comment on function pyengine._queue_channel(text) is 'The channel on which executors of an application hear of work.';
