-- start_workflow: start a workflow that the calling executor runs at once: header and claimed in-flight row, one transaction.
--
-- Fence: p_fence, minted by the caller, becomes the row's fence. For a child, the parent's claim must stand.
-- Repeat: same start_token and the row still under p_fence → 'yours' again. Once it has an outcome, or was handed over, the
--   answer is 'exists': the caller waits for the result as for anybody else's.
-- Interleaving: of two starts of one id, the second waits on the header's unique index and reads back in a later statement.
--   A header that is deleted between the conflict and the read is tried again. Lost reply: the beat tells of a fence that is
--   not held, and the executor runs it.
-- Child: its header, in-flight row and the parent's checkpoint commit together. An id that exists already is recorded too when it
--   is the same function, so that a recovered parent adopts its child.
-- Locks: fence (shared), header, in-flight row (insert), checkpoint of the parent.
-- Raises: WF001, WF005.
create or replace function pyengine.start_workflow(
  p_executor_id bigint,
  p_nonce bigint,
  p_fence bigint,
  p_start_token bigint,
  p_workflow_id text,
  p_name text,
  p_class_name text,
  p_config_name text,
  p_application text,
  p_app_version text,
  p_inputs bytea,
  p_timeout interval,
  p_deadline timestamptz,
  p_max_recovery_attempts integer,
  p_attributes jsonb,
  p_authenticated_user text,
  p_assumed_role text,
  p_authenticated_roles text[],
  p_parent_id text,
  p_parent_fence bigint,
  p_parent_step_id integer
)
returns table (
  verdict text,
  fence bigint,
  fencing_token bigint,
  deadline timestamptz,
  existing_name text,
  existing_class_name text,
  existing_config_name text,
  existing_status text
)
language plpgsql
volatile
security invoker
as $function$
declare
  v_now timestamptz;
  v_is_new boolean;
  v_recorded text;
begin
  v_now := pyengine._hold_lease(p_executor_id, p_nonce);

  loop
    v_is_new := pyengine._insert_header(
      p_start_token, p_workflow_id, p_name, p_class_name, p_config_name, p_application, p_inputs, p_attributes,
      p_authenticated_user, p_assumed_role, p_authenticated_roles, null, p_parent_id
    );
    if v_is_new then
      v_now := pyengine._now();
      verdict := 'yours';
      fence := p_fence;
      fencing_token := pyengine._fencing_token(v_now, null);
      deadline := least(p_deadline, v_now + p_timeout);
      insert into pyengine.in_flight as i
        (workflow_id, status, application, app_version, timeout, deadline, attempts, max_recovery_attempts,
         executor_id, fence, claimed_at)
      values
        (p_workflow_id, 'PENDING', p_application, p_app_version, p_timeout, deadline, 1, p_max_recovery_attempts,
         p_executor_id, p_fence, v_now);
      exit;
    end if;

    select
      s.verdict, s.fence, s.fencing_token, s.deadline, s.existing_name, s.existing_class_name, s.existing_config_name,
      s.existing_status
    into verdict, fence, fencing_token, deadline, existing_name, existing_class_name, existing_config_name, existing_status
    from pyengine._read_start(p_executor_id, p_fence, p_start_token, p_workflow_id) as s;
    exit when found;
  end loop;

  -- A namesake of another function is the caller's error: the parent must not remember it as its child.
  if p_parent_id is not null and (
    v_is_new or (existing_name, existing_class_name, existing_config_name)
      is not distinct from (p_name, p_class_name, p_config_name)
  ) then
    v_recorded := pyengine._record_child(p_parent_id, p_parent_fence, p_parent_step_id, p_name, p_workflow_id);
    if v_recorded <> 'ok' then
      verdict := v_recorded;
      existing_name := (
        select c.name from pyengine.checkpoints as c where c.workflow_id = p_parent_id and c.step_id = p_parent_step_id);
      if v_is_new then
        fence := null;
        fencing_token := null;
        perform pyengine._discard_start(p_workflow_id, p_start_token);
      end if;
    end if;
  end if;

  return next;
end;
$function$;

comment on function pyengine.start_workflow(
  bigint, bigint, bigint, bigint, text, text, text, text, text, text, bytea, interval, timestamptz, integer, jsonb,
  text, text, text[], text, bigint, integer
) is 'Start a workflow on the calling executor: yours, exists, fenced, cancelled or unexpected_step. Raises WF001, WF005.';
