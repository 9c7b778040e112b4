-- notify_waits: tell the listening executors of an application that a process waits for the end of these workflows.
--
-- Who ends one of them answers with notify_ends. An id that no notification can carry is left out: its end is found by polling.
-- A call of its own, never within work, and not durable: as notify_queues.
-- Fence: none. Repeat: tells again. Locks: the server's own for notifications. Raises: nothing.
create or replace function pyengine.notify_waits(p_application text, p_listener text, p_workflow_ids text[])
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  perform set_config('synchronous_commit', 'off', true);
  perform pg_notify(pyengine._channel('waits', p_application), p_listener || ' ' || w.workflow_id)
  from unnest(p_workflow_ids) as w (workflow_id)
  where octet_length(w.workflow_id) < 7000;
end;
$function$;

comment on function pyengine.notify_waits(text, text, text[]) is
  'Tell listening executors that a process waits for the end of these workflows.';
