-- _doctor_rows: invariant 1: a workflow is in exactly one place, and nothing is left of what is no workflow.
--
-- Fence:  none.
-- Repeat: reads only.
-- Locks:  none.
-- Raises: nothing.
create or replace function pyengine._doctor_rows()
returns table (invariant integer, subject text, problem text, remedy text)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  return query
  select 1, 'workflow ' || w.workflow_id, 'it is neither in flight nor finished',
    'Report this as a bug of the engine, with the server log; the workflow cannot be run or waited for.'
  from pyengine.workflows as w
  where not exists (select from pyengine.in_flight as f where f.workflow_id = w.workflow_id)
    and not exists (select from pyengine.outcomes as o where o.workflow_id = w.workflow_id)
  limit 1000;

  return query
  select 1, 'workflow ' || f.workflow_id, 'it is in flight and finished at once',
    'Report this as a bug of the engine, with the server log; its result is the one in outcomes.'
  from pyengine.in_flight as f
  join pyengine.outcomes as o on o.workflow_id = f.workflow_id
  limit 1000;

  return query
  select 1, 'workflow ' || x.workflow_id, 'a row of ' || x.place || ' has no workflow',
    'Report this as a bug of the engine, with the server log; tables of the engine must not be edited by hand.'
  from (
    select f.workflow_id, 'in_flight' as place from pyengine.in_flight as f
    union all
    select o.workflow_id, 'outcomes' from pyengine.outcomes as o
    union all
    select distinct c.workflow_id, 'checkpoints' from pyengine.checkpoints as c
  ) as x
  where not exists (select from pyengine.workflows as w where w.workflow_id = x.workflow_id)
  limit 1000;
end;
$function$;

comment on function pyengine._doctor_rows() is
  'Invariant 1: a workflow is in exactly one place, and nothing is left of what is no workflow.';
