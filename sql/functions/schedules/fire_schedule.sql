-- fire_schedule: start the workflow of a due slot, once over all hosts, and set the next slot.
--
-- Compare-and-set: whoever finds the schedule still at p_slot advances it and enqueues, in one transaction. A slot that is older
-- than 5 s is passed over: the schedule only advances.
--
-- Fence:  the executor's lease.
-- Repeat: 'fired' again for the same start token; 'lost' after a 'missed'.
-- Locks:  fence (shared), schedules row; then as enqueue_workflow.
-- Raises: WF001, WF005 (from the lease), WF101 invalid_argument.
create or replace function pyengine.fire_schedule(
  p_executor_id bigint,
  p_nonce bigint,
  p_application text,
  p_schedule_name text,
  p_slot timestamptz,
  p_next_slot timestamptz,
  p_start_token bigint,
  p_workflow_id text,
  p_name text,
  p_class_name text,
  p_app_version text,
  p_inputs bytea,
  p_max_recovery_attempts integer
)
returns table (verdict text, next_at timestamptz, seconds_until double precision, server_time timestamptz)
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  if p_slot is null or p_next_slot is null or p_next_slot <= p_slot then
    raise exception using
      errcode = 'WF101',
      message = 'cannot fire: the next slot must come after this one',
      detail = format('schedule_name=%s slot=%s next_slot=%s', p_schedule_name, p_slot, p_next_slot),
      hint = 'Compute the next slot from the one that fires.';
  end if;
  perform pyengine._hold_lease(p_executor_id, p_nonce);

  select s.next_at
  into next_at
  from pyengine.schedules as s
  where s.application = p_application
    and s.schedule_name = p_schedule_name
  for update;
  server_time := pyengine._now();

  if next_at is distinct from p_slot then
    -- Null when the schedule is gone. Our own lost reply is known by its token.
    verdict := case
      when exists (
        select from pyengine.workflows as w where w.workflow_id = p_workflow_id and w.start_token = p_start_token
      ) then 'fired'
      else 'lost'
    end;
  elsif p_slot > server_time then
    verdict := 'early';
  else
    verdict := case when p_slot >= server_time - interval '5 seconds' then 'fired' else 'missed' end;
    next_at := p_next_slot;
    update pyengine.schedules as s
    set
      next_at = p_next_slot,
      last_fired_at = case when verdict = 'fired' then p_slot else s.last_fired_at end
    where s.application = p_application
      and s.schedule_name = p_schedule_name;
    if verdict = 'fired' then
      perform
      from pyengine.enqueue_workflow(
        p_executor_id => p_executor_id, p_nonce => p_nonce, p_start_token => p_start_token, p_workflow_id => p_workflow_id,
        p_name => p_name, p_class_name => p_class_name, p_config_name => null, p_application => p_application,
        p_app_version => p_app_version, p_inputs => p_inputs, p_queue => '_dbos_internal_queue', p_partition_key => null,
        p_priority => null, p_deduplication_id => null, p_delay => null, p_timeout => null, p_deadline => null,
        p_max_recovery_attempts => p_max_recovery_attempts, p_attributes => null, p_authenticated_user => null,
        p_assumed_role => null, p_authenticated_roles => null, p_schedule_name => p_schedule_name, p_parent_id => null,
        p_parent_fence => null, p_parent_step_id => null
      );
    end if;
  end if;

  seconds_until := extract(epoch from next_at - server_time);
  return next;
end;
$function$;

comment on function pyengine.fire_schedule(
  bigint, bigint, text, text, timestamptz, timestamptz, bigint, text, text, text, text, bytea, integer
) is 'Start the workflow of a due slot once over all hosts and set the next slot: fired, missed, lost or early. Raises WF001, WF101.';
