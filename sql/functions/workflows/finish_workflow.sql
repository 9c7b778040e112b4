-- finish_workflow: end a workflow: its in-flight row goes, its outcome comes.
--
-- Fence: the DELETE matches id and fence; whoever deletes the row decides how the workflow ended.
-- Repeat: no row, but an outcome with this fence and status → 'ok'.
-- Interleaving: finish against cancel or a deadline: both delete the row, the second waits, finds nothing and reads the outcome in
--   a later statement. A takeover waits for the fence. Lost reply: the repeat says 'ok'.
-- Locks: fence (shared), in-flight row, outcome (insert).
-- Returns: 'ok' | 'fenced' | 'cancelled'. Raises: WF001, WF005, WF101 for another status.
create or replace function pyengine.finish_workflow(
  p_executor_id bigint,
  p_nonce bigint,
  p_workflow_id text,
  p_fence bigint,
  p_status text,
  p_output bytea,
  p_error bytea
)
returns text
language plpgsql
volatile
security invoker
as $function$
declare
  v_now timestamptz;
  v_is_own boolean;
begin
  if p_status not in ('SUCCESS', 'ERROR') then
    raise exception using
      errcode = 'WF101',
      message = 'cannot end a workflow: the status is neither SUCCESS nor ERROR',
      detail = format('status=%s', p_status),
      hint = 'Cancel with cancel_workflow.';
  end if;
  v_now := pyengine._hold_lease(p_executor_id, p_nonce);

  with gone as (
    delete from pyengine.in_flight as i
    where i.workflow_id = p_workflow_id
      and i.fence = p_fence
    returning i.queue, i.partition_key, i.priority, i.app_version, i.run_at, i.timeout, i.deadline, i.attempts, i.crashes,
      i.max_recovery_attempts, i.deduplication_id, i.claimed_at, i.token_floor
  )
  insert into pyengine.outcomes as o
    (workflow_id, status, output, error, completed_at, queue, partition_key, priority, app_version, run_at, timeout, deadline,
     attempts, crashes, max_recovery_attempts, deduplication_id, executor_id, fence, claimed_at, token_floor)
  select p_workflow_id, p_status, p_output, p_error, v_now, g.queue, g.partition_key, g.priority, g.app_version, g.run_at,
    g.timeout, g.deadline, g.attempts, g.crashes, g.max_recovery_attempts, g.deduplication_id, p_executor_id, p_fence, g.claimed_at,
    g.token_floor
  from gone as g;

  if found then
    return 'ok';
  end if;

  select o.fence = p_fence and o.status = p_status
  into v_is_own
  from pyengine.outcomes as o
  where o.workflow_id = p_workflow_id;

  if v_is_own then
    return 'ok';
  end if;

  return pyengine._judge_claim(p_workflow_id, p_fence);
end;
$function$;

comment on function pyengine.finish_workflow(bigint, bigint, text, bigint, text, bytea, bytea) is
  'Store a workflow''s outcome: ok, fenced or cancelled. Raises WF001, WF005, WF101.';
