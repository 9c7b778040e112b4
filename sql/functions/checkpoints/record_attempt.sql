-- record_attempt: remember that an attempt of a step failed, so that the count survives a crash.
--
-- Fence: insert … select from the in-flight row with this fence.
-- Repeat: 'ok', the first error stays. Interleaving: as record_checkpoint.
-- Locks: fence (shared), step_attempts row (insert).
-- Returns: 'ok' | 'fenced' | 'cancelled'. Raises: WF001, WF005.
create or replace function pyengine.record_attempt(
  p_executor_id bigint,
  p_nonce bigint,
  p_workflow_id text,
  p_fence bigint,
  p_step_id integer,
  p_attempt integer,
  p_error bytea
)
returns text
language plpgsql
volatile
security invoker
as $function$
declare
  v_now timestamptz;
  v_verdict text;
begin
  v_now := pyengine._hold_lease(p_executor_id, p_nonce);

  insert into pyengine.step_attempts as a (workflow_id, step_id, attempt, error, failed_at)
  select i.workflow_id, p_step_id, p_attempt, p_error, v_now
  from pyengine.in_flight as i
  where i.workflow_id = p_workflow_id
    and i.fence = p_fence
  on conflict on constraint step_attempts_pkey do nothing;

  if found then
    return 'ok';
  end if;

  v_verdict := pyengine._judge_claim(p_workflow_id, p_fence);
  return case when v_verdict = 'held' then 'ok' else v_verdict end;
end;
$function$;

comment on function pyengine.record_attempt(bigint, bigint, text, bigint, integer, integer, bytea) is
  'Remember a failed attempt of a step: ok, fenced or cancelled. Raises WF001, WF005.';
