-- record_sleep: fix the instant at which a sleep ends; later calls only say how much is left.
--
-- Fence: insert … select from the in-flight row with this fence; 'fenced' is tested before 'existing'.
-- Repeat: 'existing' with the first instant. So does the recovery of a workflow that slept when its executor died.
-- Interleaving: as record_checkpoint. Locks: fence (shared), checkpoint (insert).
-- Returns: verdict 'stored' | 'existing' | 'fenced' | 'cancelled'; the caller compares name. Raises: WF001, WF005.
create or replace function pyengine.record_sleep(
  p_executor_id bigint,
  p_nonce bigint,
  p_workflow_id text,
  p_fence bigint,
  p_step_id integer,
  p_name text,
  p_duration interval
)
returns table (verdict text, name text, wake_at timestamptz, remaining interval)
language plpgsql
volatile
security invoker
as $function$
declare
  v_now timestamptz;
begin
  v_now := pyengine._hold_lease(p_executor_id, p_nonce);
  name := p_name;
  -- Days are seconds here: by the calendar of the session's time zone a day may be an hour longer or shorter.
  wake_at := v_now + make_interval(secs => extract(epoch from p_duration)::double precision);
  verdict := 'stored';

  insert into pyengine.checkpoints as c (workflow_id, step_id, name, wake_at, started_at, completed_at)
  select i.workflow_id, p_step_id, p_name, record_sleep.wake_at, v_now, v_now
  from pyengine.in_flight as i
  where i.workflow_id = p_workflow_id
    and i.fence = p_fence
  on conflict on constraint checkpoints_pkey do nothing;

  if not found then
    verdict := pyengine._judge_claim(p_workflow_id, p_fence);
    select case when verdict = 'held' then 'existing' else verdict end, c.name, c.wake_at
    into verdict, name, wake_at
    from (values (p_workflow_id)) as asked (workflow_id)
    left join pyengine.checkpoints as c
      on c.workflow_id = asked.workflow_id and c.step_id = p_step_id and verdict = 'held';
  end if;

  remaining := case when wake_at is not null then greatest(wake_at - v_now, interval '0') end;
  return next;
end;
$function$;

comment on function pyengine.record_sleep(bigint, bigint, text, bigint, integer, text, interval) is
  'Fix the instant a sleep ends, once: stored, existing, fenced or cancelled. Raises WF001, WF005.';
