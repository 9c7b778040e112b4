-- record_checkpoints: store the results of many steps in one transaction; returns the positions (from 1) that it did not store.
--
-- The batch of record_checkpoint. It does what is usual and leaves what is not: a step that is stored already, or whose claim is
--   over, comes back as a position and is asked for by itself, where its verdict is found. So one such step delays nobody.
-- An argument that is null for all of the batch may be null itself. p_elapsed: seconds.
-- Fence: as record_checkpoint, once for all. Repeat: all positions that the first call stored come back.
-- Interleaving: as record_checkpoint. A row that waits for somebody's open transaction for 50 ms fails the batch, and the caller
--   sends its rows singly.
-- Plans: rows are looked up one by one, each by its key: bounded whatever the planner believes of the tables.
-- Locks: fence (shared), checkpoints (insert, by workflow and step).
-- Raises: WF001, WF005; 55P03 after 50 ms of waiting.
create or replace function pyengine.record_checkpoints(
  p_executor_id bigint,
  p_nonce bigint,
  p_workflow_ids text[],
  p_fences bigint[],
  p_step_ids integer[],
  p_names text[],
  p_outputs bytea[],
  p_errors bytea[],
  p_child_ids text[],
  p_elapsed double precision[]
)
returns integer[]
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set lock_timeout = '50ms'
as $function$
declare
  v_now timestamptz;
  v_stored integer;
begin
  v_now := pyengine._hold_lease(p_executor_id, p_nonce);

  insert into pyengine.checkpoints as c
    (workflow_id, step_id, name, output, error, child_id, started_at, completed_at)
  select b.workflow_id, b.step_id, b.name, b.output, b.error, b.child_id, v_now - make_interval(secs => coalesce(b.elapsed, 0)), v_now
  from (
    select distinct on (u.workflow_id collate "C", u.step_id, u.fence)
      u.workflow_id, u.fence, u.step_id, u.name, u.output, u.error, u.child_id, u.elapsed
    from unnest(p_workflow_ids, p_fences, p_step_ids, p_names, p_outputs, p_errors, p_child_ids, p_elapsed)
      with ordinality as u (workflow_id, fence, step_id, name, output, error, child_id, elapsed, position)
    order by u.workflow_id collate "C", u.step_id, u.fence, u.position
  ) as b
  where b.fence = (select i.fence from pyengine.in_flight as i where i.workflow_id = b.workflow_id)
  on conflict on constraint checkpoints_pkey do nothing;

  get diagnostics v_stored = row_count;
  if v_stored = cardinality(p_workflow_ids) then
    return '{}';
  end if;

  -- What this transaction wrote is known by its id. A row of another claim for a step that was stored is none of it, nor is a second
  -- one for the same step.
  return array(
    select b.position::integer
    from (
      select u.workflow_id, u.fence, u.step_id, u.position,
        row_number() over (partition by u.workflow_id, u.fence, u.step_id order by u.position) as turn
      from unnest(p_workflow_ids, p_fences, p_step_ids) with ordinality as u (workflow_id, fence, step_id, position)
    ) as b
    where b.turn > 1
      or b.fence is distinct from (select i.fence from pyengine.in_flight as i where i.workflow_id = b.workflow_id)
      or pg_current_xact_id()::xid is distinct from (
        select c.xmin from pyengine.checkpoints as c where c.workflow_id = b.workflow_id and c.step_id = b.step_id)
    order by b.position
  );
end;
$function$;

comment on function pyengine.record_checkpoints(
  bigint, bigint, text[], bigint[], integer[], text[], bytea[], bytea[], text[], double precision[]
) is 'Store the results of many steps; the positions that were not stored, to be asked for singly. Raises WF001, WF005.';
