-- notify_queues: tell the listening executors of an application that there may be work on these queues; '': on any.
--
-- A call of its own, after the commit of what it tells of, never within: a transaction that notifies holds a lock of the whole
--   server until it has committed, and would end group commit for everybody.
-- Durability: none, and none is needed; the lock is held the shorter for it.
-- Fence: none. Repeat: tells again. Locks: the server's own for notifications. Raises: nothing.
create or replace function pyengine.notify_queues(p_application text, p_queues text[])
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  perform set_config('synchronous_commit', 'off', true);
  perform pg_notify(pyengine._channel('queues', p_application), q.queue)
  from unnest(p_queues) as q (queue);
end;
$function$;

comment on function pyengine.notify_queues(text, text[]) is
  'Tell listening executors that there may be work on these queues ('''': on any).';
