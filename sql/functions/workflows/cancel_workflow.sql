-- cancel_workflow: end an unfinished workflow as CANCELLED.
--
-- Fence:  none; the DELETE decides against a finish or a claim. A checkpoint in flight may still land and changes nothing.
-- Repeat: 'finished' (it has an outcome now).
-- Locks:  in-flight row, outcome, interrupt: in that order, each this workflow's.
-- Raises: nothing; an unknown id is the verdict 'unknown'.
create or replace function pyengine.cancel_workflow(p_workflow_id text)
returns text
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $function$
declare
  v_gone record;
  v_now timestamptz;
begin
  loop
    delete from pyengine.in_flight as f
    where f.workflow_id = p_workflow_id
    returning
      f.status, f.queue, f.partition_key, f.priority, f.app_version, f.run_at, f.timeout, f.deadline, f.attempts, f.crashes,
      f.max_recovery_attempts, f.deduplication_id, f.executor_id, f.fence, f.claimed_at,
      f.token_floor
    into v_gone;
    exit when found;

    -- No row: finished, unknown, or between two rows by a resume that has committed meanwhile: then look again.
    if exists (select from pyengine.outcomes as o where o.workflow_id = p_workflow_id) then
      return 'finished';
    end if;
    if not exists (
      select
      from pyengine.workflows as w
      left join pyengine.in_flight as f on f.workflow_id = w.workflow_id
      left join pyengine.outcomes as o on o.workflow_id = w.workflow_id
      where w.workflow_id = p_workflow_id
        and (f.workflow_id is not null or o.workflow_id is not null)
    ) then
      return 'unknown';
    end if;
  end loop;

  v_now := pyengine._now();
  insert into pyengine.outcomes (
    workflow_id, status, completed_at, queue, partition_key, priority, app_version, run_at, timeout, deadline, attempts,
    crashes, max_recovery_attempts, deduplication_id, executor_id, fence, claimed_at, token_floor
  )
  values (
    p_workflow_id, 'CANCELLED', v_now, v_gone.queue, v_gone.partition_key, v_gone.priority, v_gone.app_version,
    v_gone.run_at, v_gone.timeout, v_gone.deadline, v_gone.attempts, v_gone.crashes, v_gone.max_recovery_attempts,
    v_gone.deduplication_id, v_gone.executor_id, v_gone.fence, v_gone.claimed_at, v_gone.token_floor
  );

  -- So that a run that sleeps need not wait for its next checkpoint to learn of it.
  if v_gone.status = 'PENDING' then
    insert into pyengine.interrupts (executor_id, workflow_id, fence, reason, raised_at)
    values (v_gone.executor_id, p_workflow_id, v_gone.fence, 'cancelled', v_now)
    on conflict on constraint interrupts_pkey do nothing;
  end if;
  return 'cancelled';
end;
$function$;

comment on function pyengine.cancel_workflow(text) is
  'End an unfinished workflow as CANCELLED: cancelled, finished (left as it is) or unknown.';
