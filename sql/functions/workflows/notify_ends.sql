-- notify_ends: tell listeners, each by its name, of the end of a workflow that it waits for (notify_waits).
--
-- A call of its own, after the commit of the outcome, never within, and not durable: as notify_queues.
-- Fence: none. Repeat: tells again. Locks: the server's own for notifications. Raises: nothing.
create or replace function pyengine.notify_ends(p_listeners text[], p_workflow_ids text[])
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  perform set_config('synchronous_commit', 'off', true);
  perform pg_notify(pyengine._channel('ends', e.listener), e.workflow_id)
  from unnest(p_listeners, p_workflow_ids) as e (listener, workflow_id)
  where octet_length(e.workflow_id) < 7000;
end;
$function$;

comment on function pyengine.notify_ends(text[], text[]) is
  'Tell listeners of the end of workflows that they wait for.';
