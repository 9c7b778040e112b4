-- get_inputs: the inputs of a workflow that were too large to come along with its claim.
--
-- Fence:  none; inputs never change.
-- Repeat: reads only.
-- Locks:  none.
-- Raises: WF004 workflow_not_found.
create or replace function pyengine.get_inputs(p_workflow_id text)
returns bytea
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $function$
declare
  v_inputs bytea;
begin
  select w.inputs
  into v_inputs
  from pyengine.workflows as w
  where w.workflow_id = p_workflow_id;

  if not found then
    raise exception using
      errcode = 'WF004',
      message = 'workflow not found',
      detail = format('workflow_id=%s', p_workflow_id),
      hint = 'Check the id; finished workflows are pruned after their retention period.';
  end if;
  return v_inputs;
end;
$function$;

comment on function pyengine.get_inputs(text) is 'The inputs of a workflow. Raises WF004.';
