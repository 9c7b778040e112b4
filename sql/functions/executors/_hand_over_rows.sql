-- _hand_over_rows: make a chunk of a dead executor's PENDING rows runnable again, counting crashes, or end them.
--
-- A crash is counted only for a row that was running and checkpointed nothing since its claim: a workflow that makes progress, however
-- slowly, is never given up. One that sleeps, or has a child that is not finished, was waiting. When the process was killed
-- because one workflow's code had to be over, only that one can have crashed. What crashed too often is ended only if that is
-- due (see _quarantine_is_due); else it stays, as a suspect that is run alone.
-- Fence: the caller holds the dead executor's fence exclusively, so its rows can end meanwhile but not come back under another owner
--   (a resume needs that fence): the ids are enough, and a condition on the executor would tempt the planner to its index over all
--   rows (1.3 s instead of 25 ms a chunk of 55,000). Leaving PENDING sets executor, fence and claimed_at to null.
-- Repeat: takes the next chunk.
-- Interleaving: a cancellation or a deadline that is just deleting a row is skipped, not waited for: the row is then gone, or taken
--   by the next chunk.
-- Locks: lanes (in key order), in-flight rows (by id, skip locked), outcomes (insert). Lanes come first, as in an enqueue: that one
--   may hold a new lane and wait for a deduplication key that a moved row still has.
-- Raises: nothing.
create or replace function pyengine._hand_over_rows(p_dead_id bigint, p_limit integer)
returns table (moved integer, quarantined integer)
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $function$
declare
  v_now constant timestamptz := pyengine._now();
  v_dead record;
  v_lane record;
  v_ids text[];
  v_crashed text[];
  v_spent text[];
begin
  select e.dead_reason, e.dead_culprit
  into strict v_dead
  from pyengine.executors as e
  where e.executor_id = p_dead_id;

  -- In no order: with one, the planner may walk the primary key of the whole backlog in search of this executor's rows.
  v_ids := array(
    select i.workflow_id
    from pyengine.in_flight as i
    where i.executor_id = p_dead_id
    limit p_limit
  );

  for v_lane in
    select distinct i.queue, i.application, i.partition_key
    from pyengine.in_flight as i
    where i.workflow_id = any (v_ids)
      and i.partition_key is not null
    order by i.queue, i.application, i.partition_key
  loop
    perform pyengine._open_lane(v_lane.queue, v_lane.application, v_lane.partition_key);
  end loop;

  select coalesce(array_agg(r.workflow_id), '{}'),
    coalesce(array_agg(r.workflow_id) filter (where r.is_crash), '{}'),
    coalesce(array_agg(r.workflow_id) filter (where r.is_crash and r.crashes >= r.max_recovery_attempts), '{}')
  into v_ids, v_crashed, v_spent
  from (
    select i.workflow_id, i.crashes, i.max_recovery_attempts,
      v_dead.dead_reason not in ('retired', 'handed_over', 'server_changed')
      and (v_dead.dead_reason <> 'killed' or i.workflow_id is not distinct from v_dead.dead_culprit)
      and not exists (
        select
        from pyengine.checkpoints as c
        where c.workflow_id = i.workflow_id
          and (c.wake_at > v_now or c.completed_at >= i.claimed_at or (
            -- Not an "exists": that may be planned as one hash of everything that is in flight.
            select true
            from pyengine.in_flight as k
            where k.workflow_id = c.child_id
            limit 1
          ))
      ) as is_crash
    from pyengine.in_flight as i
    where i.workflow_id = any (v_ids)
    order by i.workflow_id
    for update of i skip locked
  ) as r;

  if cardinality(v_spent) > 0 and not pyengine._quarantine_is_due(p_dead_id) then
    v_spent := '{}';
  end if;
  quarantined := pyengine._quarantine(v_spent);

  update pyengine.in_flight as i
  set status = 'ENQUEUED',
    queue = coalesce(i.queue, '_dbos_internal_queue'),
    crashes = i.crashes + case when i.workflow_id = any (v_crashed) then 1 else 0 end,
    is_suspect = i.is_suspect
      or i.workflow_id = any (v_crashed) and (i.crashes + 1 >= 3 or coalesce(i.crashes + 1 > i.max_recovery_attempts, false)),
    replay = true,
    executor_id = null,
    fence = null,
    claimed_at = null,
    token_floor = pyengine._fencing_token(i.claimed_at, i.token_floor)
  where i.workflow_id = any (v_ids);

  get diagnostics moved = row_count;
  return next;
end;
$function$;

comment on function pyengine._hand_over_rows(bigint, integer) is
  'Make a chunk of a dead executor''s rows runnable again, or end those that crashed too often.';
