-- start_workflows: start many workflows that the calling executor runs at once, in one transaction.
--
-- The batch of start_workflow: an id that is taken, or a parent whose claim is over, comes back as a position (from 1) in `left_over`
--   and is asked for by itself, where its verdict is found.
-- An argument that is null for all of the batch may be null itself. p_authenticated_roles: of each row a JSON array.
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
  p_attributes jsonb[],
  p_authenticated_users text[],
  p_assumed_roles text[],
  p_authenticated_roles jsonb[],
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
  v_orphans integer[] := '{}';
begin
  perform pyengine._hold_lease(p_executor_id, p_nonce);

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

  left_over := pyengine._insert_headers(
    p_start_tokens, p_workflow_ids, p_names, p_class_names, p_config_names, p_application, p_inputs, p_authenticated_users,
    p_assumed_roles, p_authenticated_roles, p_attributes, null, p_parent_ids, v_orphans
  );

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
    perform pyengine._record_children(p_parent_ids, p_parent_step_ids, p_names, p_workflow_ids, left_over);
  end if;

  return next;
end;
$function$;

comment on function pyengine.start_workflows(
  bigint, bigint, text, text, bigint[], bigint[], text[], text[], text[], text[], bytea[], interval[], timestamptz[], integer[],
  jsonb[], text[], text[], jsonb[], text[], bigint[], integer[]
) is 'Start many workflows on the calling executor; the positions left over are to be asked for singly. Raises WF001, WF005.';
