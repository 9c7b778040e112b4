-- enqueue_workflow: put a workflow on a queue, for an executor or a client, as a child or on its own, once per id.
--
-- Fence:  the executor's lease when one is given; a child also needs its parent's claim (p_parent_fence).
-- Repeat: the same start token gets 'yours' again; another token gets 'exists'. Deduplication is judged only for rows that are
--         new, so the repeat of a 'deduplicated' call, which left nothing, is judged anew.
-- Locks:  fence (shared), header, lane (key share), in-flight insert by deduplication key, the parent's checkpoint.
-- Raises: WF001, WF005 (from the lease), WF101 invalid_argument, 40001 when a deduplication key changes hands without end.
create or replace function pyengine.enqueue_workflow(
  p_executor_id bigint,
  p_nonce bigint,
  p_start_token bigint,
  p_workflow_id text,
  p_name text,
  p_class_name text,
  p_config_name text,
  p_application text,
  p_app_version text,
  p_inputs bytea,
  p_queue text,
  p_partition_key text,
  p_priority integer,
  p_deduplication_id text,
  p_delay interval,
  p_timeout interval,
  p_deadline timestamptz,
  p_max_recovery_attempts integer,
  p_attributes jsonb,
  p_authenticated_user text,
  p_assumed_role text,
  p_authenticated_roles text[],
  p_schedule_name text,
  p_parent_id text,
  p_parent_fence bigint,
  p_parent_step_id integer
)
returns table (
  verdict text,
  holder_id text,
  existing_name text,
  existing_class_name text,
  existing_config_name text,
  existing_queue text,
  existing_status text
)
language plpgsql
volatile
security invoker
as $function$
declare
  v_held_at timestamptz;
  v_priority integer;
  v_is_new boolean;
  v_recorded text;
begin
  v_priority := pyengine._check_enqueue(
    p_executor_id, p_start_token, p_workflow_id, p_name, p_application, p_queue, p_partition_key, p_priority,
    p_deduplication_id, p_delay, p_timeout, p_parent_id, p_parent_fence, p_parent_step_id
  );
  if p_executor_id is not null then
    v_held_at := pyengine._hold_lease(p_executor_id, p_nonce);
  end if;

  -- A glance first, so that the usual collision leaves no dead header (and its inputs) behind.
  if p_deduplication_id is not null then
    holder_id := pyengine._deduplication_holder(p_queue, p_application, p_deduplication_id, p_workflow_id);
  end if;
  if holder_id is not null then
    verdict := 'deduplicated';
    return next;
    return;
  end if;

  loop
    v_is_new := pyengine._insert_header(
      p_start_token, p_workflow_id, p_name, p_class_name, p_config_name, p_application, p_inputs, p_attributes,
      p_authenticated_user, p_assumed_role, p_authenticated_roles, p_schedule_name, p_parent_id
    );
    if v_is_new then
      holder_id := pyengine._insert_enqueued(
        p_workflow_id, p_queue, p_application, p_partition_key, v_priority, p_deduplication_id, p_app_version,
        p_delay, p_timeout, p_deadline, p_max_recovery_attempts
      );
      verdict := case when holder_id is null then 'yours' else 'deduplicated' end;
      exit;
    end if;

    select e.verdict, e.name, e.class_name, e.config_name, e.queue, e.status
    into verdict, existing_name, existing_class_name, existing_config_name, existing_queue, existing_status
    from pyengine._existing_start(p_workflow_id, p_start_token) as e;
    exit when found;
  end loop;

  -- A namesake of another function is the caller's error: the parent must not remember it as its child.
  if p_parent_id is not null and verdict <> 'deduplicated' and (
    v_is_new or (existing_name, existing_class_name, existing_config_name)
      is not distinct from (p_name, p_class_name, p_config_name)
  ) then
    v_recorded := pyengine._record_child(p_parent_id, p_parent_fence, p_parent_step_id, p_name, p_workflow_id);
    if v_recorded <> 'ok' then
      verdict := v_recorded;
      existing_name := (
        select c.name from pyengine.checkpoints as c where c.workflow_id = p_parent_id and c.step_id = p_parent_step_id
      );
    end if;
  end if;

  if v_is_new and verdict <> 'yours' then
    perform pyengine._discard_start(p_workflow_id, p_start_token);
  end if;
  return next;
end;
$function$;

comment on function pyengine.enqueue_workflow(
  bigint, bigint, bigint, text, text, text, text, text, text, bytea, text, text, integer, text, interval, interval,
  timestamptz, integer, jsonb, text, text, text[], text, text, bigint, integer
) is 'Put a workflow on a queue once per id; the verdict says whether it is yours, exists or is deduplicated. Raises WF001, WF101.';
