-- _remove_workflows: delete everything that is stored of workflows that are not in flight, their headers last.
--
-- Fence:  the caller has seen to it that no write of their last owners is under way, and has locked the headers since.
-- Repeat: finds nothing.
-- Locks:  outcomes, checkpoints, attempts, headers (held already).
-- Raises: nothing.
create or replace function pyengine._remove_workflows(p_workflow_ids text[])
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $function$
begin
  delete from pyengine.outcomes as o where o.workflow_id = any (p_workflow_ids);
  delete from pyengine.checkpoints as c where c.workflow_id = any (p_workflow_ids);
  delete from pyengine.step_attempts as a where a.workflow_id = any (p_workflow_ids);
  delete from pyengine.workflows as w where w.workflow_id = any (p_workflow_ids);
end;
$function$;

comment on function pyengine._remove_workflows(text[]) is
  'Delete everything that is stored of workflows that are not in flight.';
