-- _revive: turn the outcome of a cancelled or exhausted workflow back into an enqueued row; null when it changed meanwhile.
--
-- Fence:  the caller holds the last owner's fence lock (p_executor_id, p_fence as it has seen them in the outcome).
-- Repeat: null: there is no such outcome any more, and the caller looks again.
-- Locks:  header (orders it with other resumes, rewinds and deletes), lane, in-flight row (insert), outcome.
-- Raises: WF101 invalid_argument.
create or replace function pyengine._revive(
  p_workflow_id text,
  p_queue text,
  p_executor_id bigint,
  p_fence bigint
)
returns text
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  v_application text;
  v_key text;
begin
  select w.application
  into v_application
  from pyengine.workflows as w
  where w.workflow_id = p_workflow_id
  for no key update;

  -- A later statement than the lock: the outcome can no longer be removed under us.
  select o.partition_key
  into v_key
  from pyengine.outcomes as o
  where o.workflow_id = p_workflow_id
    and o.status in ('CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED')
    and o.executor_id is not distinct from p_executor_id
    and o.fence is not distinct from p_fence;
  if not found then
    return null;
  end if;

  v_key := pyengine._enter_lane(p_workflow_id, v_application, p_queue, v_key);
  insert into pyengine.in_flight (
    workflow_id, status, queue, partition_key, priority, application, app_version, max_recovery_attempts, replay,
    token_floor
  )
  select
    o.workflow_id, 'ENQUEUED', p_queue, v_key, o.priority, v_application, o.app_version, o.max_recovery_attempts, true,
    pyengine._fencing_token(o.claimed_at, o.token_floor)
  from pyengine.outcomes as o
  where o.workflow_id = p_workflow_id;

  delete from pyengine.outcomes as o
  where o.workflow_id = p_workflow_id;
  return 'resumed';
end;
$function$;

comment on function pyengine._revive(text, text, bigint, bigint) is
  'Turn the outcome of a cancelled or exhausted workflow back into an enqueued row. Raises WF101.';
