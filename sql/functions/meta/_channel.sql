-- _channel: the channel on which processes hear news of a kind, in this schema.
--
-- Kinds: 'queues' and 'waits' (of an application), 'ends' (for a listener). The name begins with the kind, which is how a process tells
-- what it hears. A hash, because names of channels end at 63 bytes.
-- Fence: none. Repeat: reads only. Locks: none. Raises: nothing.
create or replace function pyengine._channel(p_kind text, p_id text)
returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  return p_kind || '_' || md5('pyengine.' || p_id);
end;
$function$;

comment on function pyengine._channel(text, text) is 'The channel on which processes hear news of a kind: queues, waits or ends.';
