-- start_workflows: start many workflows that the calling executor runs at once, in one transaction.
--
-- The batch of start_workflow: an id that is taken, or a parent whose claim is over, comes back as a position (from 1) in `left_over`
--   and is asked for by itself, where its verdict is found.
-- An argument that is null for all of the batch may be null itself.
-- server_time is the instant from which timeouts count: the deadline of a row is least(its deadline, server_time + its timeout).
-- Fence: as start_workflow, once for all; p_fences become the rows' fences. Repeat: all positions come back.
-- Interleaving: as start_workflow. A parent cannot leave this executor meanwhile (its fence is held); it can be cancelled, and
--   then its child was started just before. A row that waits for somebody's open transaction for 50 ms fails the batch.
-- Plans: rows are looked up one by one, each by its key: bounded whatever the planner believes of the tables.
-- Locks: fence (shared), headers by id, in-flight rows (insert), checkpoints of parents (insert).
-- Raises: WF001, WF005; 55P03 after 50 ms of waiting; 23505 when a parent's step was taken meanwhile.
create or replace function pyengine.start_workflows(
  p_executor_id bigint,
  p_nonce bigint,
  p_application text,
  p_app_version text,
  p_fences bigint[],
  p_start_tokens bigint[],
  p_workflow_ids text[],
  p_names text[],
  p_class_names text[],
  p_config_names text[],
  p_inputs bytea[],
  p_timeouts interval[],
  p_deadlines timestamptz[],
  p_max_recovery_attempts integer[],
  p_authenticated_users text[],
  p_assumed_roles text[],
  p_parent_ids text[],
  p_parent_fences bigint[],
  p_parent_step_ids integer[]
)
returns table (left_over integer[], server_time timestamptz, fencing_token bigint)
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set lock_timeout = '50ms'
as $function$
declare
  v_created timestamptz;
  v_orphans integer[] := '{}';
  v_started integer;
begin
  perform pyengine._hold_lease(p_executor_id, p_nonce);
  v_created := pyengine._now();
  left_over := '{}';

  if p_parent_ids is not null then
    v_orphans := array(
      select b.position::integer
      from unnest(p_parent_ids, p_parent_fences, p_parent_step_ids) with ordinality as b (parent_id, fence, step_id, position)
      where b.parent_id is not null
        and (
          b.fence is distinct from (select i.fence from pyengine.in_flight as i where i.workflow_id = b.parent_id)
          or (select c.started_at from pyengine.checkpoints as c where c.workflow_id = b.parent_id and c.step_id = b.step_id)
            is not null
        )
    );
  end if;

  insert into pyengine.workflows as h
    (workflow_id, name, class_name, config_name, application, inputs, parent_id, authenticated_user, assumed_role, start_token,
     created_at)
  select b.workflow_id, b.name, b.class_name, b.config_name, p_application, b.inputs, b.parent_id, b.authenticated_user,
    b.assumed_role, b.start_token, v_created
  from (
    select u.workflow_id, u.name, u.class_name, u.config_name, u.inputs, u.parent_id, u.authenticated_user, u.assumed_role,
      u.start_token
    from unnest(
      p_workflow_ids, p_names, p_class_names, p_config_names, p_inputs, p_parent_ids, p_authenticated_users, p_assumed_roles,
      p_start_tokens
    ) with ordinality as u (workflow_id, name, class_name, config_name, inputs, parent_id, authenticated_user, assumed_role,
      start_token, position)
    where u.position <> all (v_orphans)
    order by u.workflow_id collate "C", u.position
  ) as b
  on conflict on constraint workflows_pkey do nothing;

  get diagnostics v_started = row_count;
  if v_started < cardinality(p_workflow_ids) then
    -- What this transaction wrote is known by its id, and of two rows with one id by the token.
    left_over := array(
      select b.position::integer
      from unnest(p_workflow_ids, p_start_tokens) with ordinality as b (workflow_id, start_token, position)
      where pg_current_xact_id()::xid is distinct from (
        select h.xmin from pyengine.workflows as h where h.workflow_id = b.workflow_id and h.start_token = b.start_token)
      order by b.position
    );
  end if;

  -- After the headers, which may have had to wait: a workflow of this id that was deleted meanwhile had smaller tokens.
  server_time := pyengine._now();
  fencing_token := pyengine._fencing_token(server_time, null);

  insert into pyengine.in_flight as i
    (workflow_id, status, application, app_version, timeout, deadline, attempts, max_recovery_attempts, executor_id, fence,
     claimed_at)
  select b.workflow_id, 'PENDING', p_application, p_app_version, b.timeout, least(b.deadline, server_time + b.timeout), 1,
    b.max_recovery_attempts, p_executor_id, b.fence, server_time
  from unnest(p_workflow_ids, p_fences, p_timeouts, p_deadlines, p_max_recovery_attempts)
    with ordinality as b (workflow_id, fence, timeout, deadline, max_recovery_attempts, position)
  where b.position <> all (left_over);

  if p_parent_ids is not null then
    insert into pyengine.checkpoints as c (workflow_id, step_id, name, child_id, started_at, completed_at)
    select b.parent_id, b.parent_step_id, b.name, b.workflow_id, server_time, server_time
    from (
      select u.parent_id, u.parent_step_id, u.name, u.workflow_id
      from unnest(p_parent_ids, p_parent_step_ids, p_names, p_workflow_ids)
        with ordinality as u (parent_id, parent_step_id, name, workflow_id, position)
      where u.parent_id is not null
        and u.position <> all (left_over)
      order by u.parent_id collate "C", u.parent_step_id
    ) as b;
  end if;

  return next;
end;
$function$;

comment on function pyengine.start_workflows(
  bigint, bigint, text, text, bigint[], bigint[], text[], text[], text[], text[], bytea[], interval[], timestamptz[], integer[],
  text[], text[], text[], bigint[], integer[]
) is 'Start many workflows on the calling executor; the positions left over are to be asked for singly. Raises WF001, WF005.';
