-- _quarantine: end workflows that crashed their executors too often.
--
-- Fence: the caller holds the last owner's fence exclusively and the rows' locks. The outcome keeps executor and fence, so that a
--   resume knows whose fence to take.
-- Repeat: finds no rows. Locks: in-flight rows (held already), outcomes (insert). Raises: nothing.
-- Returns: how many.
create or replace function pyengine._quarantine(p_workflow_ids text[])
returns integer
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $function$
declare
  v_now constant timestamptz := pyengine._now();
  v_count integer;
begin
  with gone as (
    delete from pyengine.in_flight as i
    where i.workflow_id = any (p_workflow_ids)
    returning i.workflow_id, i.queue, i.partition_key, i.priority, i.app_version, i.run_at, i.timeout, i.deadline, i.attempts,
      i.crashes, i.max_recovery_attempts, i.deduplication_id, i.executor_id, i.fence, i.claimed_at,
      i.token_floor
  )
  insert into pyengine.outcomes as o
    (workflow_id, status, completed_at, queue, partition_key, priority, app_version, run_at, timeout, deadline, attempts, crashes,
     max_recovery_attempts, deduplication_id, executor_id, fence, claimed_at, token_floor)
  select g.workflow_id, 'MAX_RECOVERY_ATTEMPTS_EXCEEDED', v_now, g.queue, g.partition_key, g.priority, g.app_version, g.run_at,
    g.timeout, g.deadline, g.attempts, g.crashes + 1, g.max_recovery_attempts, g.deduplication_id, g.executor_id, g.fence,
    g.claimed_at, g.token_floor
  from gone as g;

  get diagnostics v_count = row_count;
  return v_count;
end;
$function$;

comment on function pyengine._quarantine(text[]) is 'End workflows that crashed their executors too often; how many.';
