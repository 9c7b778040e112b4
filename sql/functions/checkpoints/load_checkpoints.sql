-- load_checkpoints: everything recorded of a workflow, in step order, for its replay.
--
-- A step that failed and was to be retried when its executor died has attempts and no checkpoint: its row has a null name.
-- Called in a later statement than the claim: the fence has by then ended every write of the old owner.
-- Fence: none; reads only. Repeat: the same answer until somebody writes. Locks: none. Raises: nothing.
create or replace function pyengine.load_checkpoints(p_workflow_id text)
returns table (
  step_id integer,
  name text,
  output bytea,
  error bytea,
  child_id text,
  wake_at timestamptz,
  attempt_errors bytea[]
)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $function$
begin
  return query
  select coalesce(c.step_id, a.step_id), c.name, c.output, c.error, c.child_id, c.wake_at, a.errors
  from (
    select k.step_id, k.name, k.output, k.error, k.child_id, k.wake_at
    from pyengine.checkpoints as k
    where k.workflow_id = p_workflow_id
  ) as c
  full join (
    select t.step_id, array_agg(t.error order by t.attempt) as errors
    from pyengine.step_attempts as t
    where t.workflow_id = p_workflow_id
    group by t.step_id
  ) as a on a.step_id = c.step_id
  order by 1;
end;
$function$;

comment on function pyengine.load_checkpoints(text) is 'All checkpoints and failed attempts of a workflow, in step order.';
