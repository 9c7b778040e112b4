-- expire_deadlines: cancel workflows whose deadline has passed, at most p_limit; how many.
--
-- Fence: none: as in a cancellation, the row's DELETE decides against a finish. The outcome keeps the last owner and its fence.
-- Repeat: takes the next ones.
-- Interleaving: rows that somebody else is just ending, claiming or moving are skipped; if they are still there they are found in the
--   next round. An executor whose run lost its row is told by its next tick.
-- Locks: in-flight rows (skip locked), outcomes (insert), interrupts (insert). Raises: nothing.
create or replace function pyengine.expire_deadlines(p_limit integer)
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
    where i.ctid = any (array(
      select d.ctid
      from pyengine.in_flight as d
      where d.deadline <= v_now
      order by d.deadline
      limit p_limit
      for update skip locked
    ))
    returning i.workflow_id, i.queue, i.partition_key, i.priority, i.app_version, i.run_at, i.timeout, i.deadline, i.attempts,
      i.crashes, i.max_recovery_attempts, i.deduplication_id, i.executor_id, i.fence, i.claimed_at,
      i.token_floor
  ),
  told as (
    insert into pyengine.interrupts as n (executor_id, workflow_id, fence, reason, raised_at)
    select g.executor_id, g.workflow_id, g.fence, 'deadline', v_now
    from gone as g
    where g.fence is not null
    on conflict on constraint interrupts_pkey do nothing
  )
  insert into pyengine.outcomes as o
    (workflow_id, status, completed_at, queue, partition_key, priority, app_version, run_at, timeout, deadline, attempts, crashes,
     max_recovery_attempts, deduplication_id, executor_id, fence, claimed_at, token_floor)
  select g.workflow_id, 'CANCELLED', v_now, g.queue, g.partition_key, g.priority, g.app_version, g.run_at, g.timeout, g.deadline,
    g.attempts, g.crashes, g.max_recovery_attempts, g.deduplication_id, g.executor_id, g.fence, g.claimed_at, g.token_floor
  from gone as g;

  get diagnostics v_count = row_count;
  return v_count;
end;
$function$;

comment on function pyengine.expire_deadlines(integer) is 'Cancel workflows whose deadline has passed, at most p_limit; how many.';
