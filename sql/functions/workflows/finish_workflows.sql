-- finish_workflows: end many workflows in one transaction; returns the positions (from 1) that it did not end.
--
-- The batch of finish_workflow: a workflow whose claim is over, or that this call ended before, comes back as a position and is
--   asked for by itself, where its verdict is found.
-- An argument that is null for all of the batch may be null itself.
-- Fence: as finish_workflow, once for all. Repeat: all positions that the first call ended come back.
-- Interleaving: as finish_workflow. A row that waits for somebody's open transaction for 50 ms fails the batch.
-- Plans: rows are found by `= any (ids)` and matched by a hash of the batch: bounded whatever the planner believes of the tables.
-- Locks: fence (shared), in-flight rows by id, outcomes (insert).
-- Raises: WF001, WF005, WF101 for another status; 55P03 after 50 ms of waiting.
create or replace function pyengine.finish_workflows(
  p_executor_id bigint,
  p_nonce bigint,
  p_workflow_ids text[],
  p_fences bigint[],
  p_statuses text[],
  p_outputs bytea[],
  p_errors bytea[]
)
returns integer[]
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_nestloop = off
set lock_timeout = '50ms'
as $function$
declare
  v_now timestamptz;
  v_ended integer;
begin
  if not p_statuses <@ array['SUCCESS', 'ERROR'] then
    raise exception using
      errcode = 'WF101',
      message = 'cannot end a workflow: the status is neither SUCCESS nor ERROR',
      detail = format('status=%s', p_statuses),
      hint = 'Cancel with cancel_workflow.';
  end if;
  v_now := pyengine._hold_lease(p_executor_id, p_nonce);

  with gone as (
    delete from pyengine.in_flight as i
    using (
      select distinct on (u.workflow_id collate "C", u.fence) u.workflow_id, u.fence, u.status, u.output, u.error
      from unnest(p_workflow_ids, p_fences, p_statuses, p_outputs, p_errors)
        with ordinality as u (workflow_id, fence, status, output, error, position)
      order by u.workflow_id collate "C", u.fence, u.position
    ) as b
    where i.workflow_id = any (p_workflow_ids)
      and i.workflow_id = b.workflow_id
      and i.fence = b.fence
    returning i.workflow_id, b.status, b.output, b.error, i.queue, i.partition_key, i.priority, i.app_version, i.run_at, i.timeout,
      i.deadline, i.attempts, i.crashes, i.max_recovery_attempts, i.deduplication_id, i.fence, i.claimed_at,
      i.token_floor
  )
  insert into pyengine.outcomes as o
    (workflow_id, status, output, error, completed_at, queue, partition_key, priority, app_version, run_at, timeout, deadline,
     attempts, crashes, max_recovery_attempts, deduplication_id, executor_id, fence, claimed_at, token_floor)
  select g.workflow_id, g.status, g.output, g.error, v_now, g.queue, g.partition_key, g.priority, g.app_version, g.run_at, g.timeout,
    g.deadline, g.attempts, g.crashes, g.max_recovery_attempts, g.deduplication_id, p_executor_id, g.fence, g.claimed_at,
    g.token_floor
  from gone as g;

  get diagnostics v_ended = row_count;
  if v_ended = cardinality(p_workflow_ids) then
    return '{}';
  end if;

  -- What this transaction wrote is known by its id. Another claim's row for a workflow that was ended is none of it, nor is a
  -- second one of the same claim.
  return array(
    select b.position::integer
    from (
      select u.workflow_id, u.fence, u.position,
        row_number() over (partition by u.workflow_id, u.fence order by u.position) as turn
      from unnest(p_workflow_ids, p_fences) with ordinality as u (workflow_id, fence, position)
    ) as b
    where b.turn > 1
      or b.fence is distinct from (
        select o.fence from pyengine.outcomes as o where o.workflow_id = b.workflow_id and o.xmin = pg_current_xact_id()::xid)
    order by b.position
  );
end;
$function$;

comment on function pyengine.finish_workflows(bigint, bigint, text[], bigint[], text[], bytea[], bytea[]) is
  'Store the outcomes of many workflows; the positions that were not ended, to be asked for singly. Raises WF001, WF005, WF101.';
