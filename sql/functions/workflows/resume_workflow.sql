-- resume_workflow: make a cancelled or exhausted workflow runnable again, or let an enqueued one skip its queue.
--
-- Fence:  takes the last owner's fence lock exclusively, before any row lock: no write of that run can land afterwards.
--         Waits are bounded: 55P03 (call again) where the last owner, or somebody's open transaction, keeps what is needed.
-- Repeat: 'resumed' while it waits, 'running' once it is claimed; nothing is undone.
-- Locks:  the last owner's fence (exclusive), header, lane, in-flight row, outcome.
-- Raises: WF005, WF101 invalid_argument, WF901 invariant_broken, 55P03.
create or replace function pyengine.resume_workflow(p_workflow_id text, p_queue text)
returns text
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $function$
declare
  v_queue constant text := coalesce(p_queue, '_dbos_internal_queue');
  v_seen record;
  v_owner_id bigint;
  v_verdict text;
begin
  if v_queue !~ '\S' then
    raise exception using
      errcode = 'WF101',
      message = 'cannot resume: the queue has no name',
      detail = format('workflow_id=%s', p_workflow_id),
      hint = 'Leave the queue out, or name one.';
  end if;

  loop
    select f.status as in_flight_status, o.status as outcome_status, o.executor_id, o.fence
    into v_seen
    from pyengine.workflows as w
    left join pyengine.in_flight as f on f.workflow_id = w.workflow_id
    left join pyengine.outcomes as o on o.workflow_id = w.workflow_id
    where w.workflow_id = p_workflow_id;
    if not found then
      return 'unknown';
    end if;

    if v_seen.in_flight_status = 'PENDING' then
      return 'running';
    elsif v_seen.outcome_status in ('SUCCESS', 'ERROR') then
      return 'finished';
    elsif num_nonnulls(v_seen.in_flight_status, v_seen.outcome_status) <> 1 then
      raise exception using
        errcode = 'WF901',
        message = 'invariant broken: a workflow is not in exactly one place',
        detail = format('workflow_id=%s', p_workflow_id),
        hint = 'Run: pyengine doctor';
    end if;

    -- A second owner is possible only when somebody resumed it meanwhile and it was cancelled again: both locks are kept.
    if v_seen.executor_id is not null and v_seen.executor_id is distinct from v_owner_id then
      v_owner_id := v_seen.executor_id;
      perform pyengine._seize_last_owner(v_owner_id);
    end if;

    if v_seen.in_flight_status is not null then
      v_verdict := pyengine._requeue(p_workflow_id, v_queue);
    else
      v_verdict := pyengine._revive(p_workflow_id, v_queue, v_seen.executor_id, v_seen.fence);
    end if;
    if v_verdict is not null then
      return v_verdict;
    end if;
  end loop;
end;
$function$;

comment on function pyengine.resume_workflow(text, text) is
  'Make a workflow runnable again: resumed, running, finished or unknown. Raises WF101.';
