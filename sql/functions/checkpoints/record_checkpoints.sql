-- record_checkpoints: store the results of many steps in one transaction; returns the positions (from 1) that it did not store.
--
-- The batch of record_checkpoint. It does what is usual and leaves what is not: a step that is stored already, or whose claim is
--   over, comes back as a position and is asked for by itself, where its verdict is found. So one such step delays nobody.
-- An argument that is null for all of the batch may be null itself. p_elapsed: seconds.
-- Fence: as record_checkpoint, once for all. Repeat: all positions that the first call stored come back.
-- Interleaving: as record_checkpoint. A row that waits for somebody's open transaction for 50 ms fails the batch, and the caller
--   sends its rows singly.
-- Plans: rows are found by `= any (ids)` and matched by a hash of the batch: bounded whatever the planner believes of the tables.
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
set enable_nestloop = off
set lock_timeout = '50ms'
as $function$
declare
  v_now timestamptz;
  v_stored integer;
begin
  perform pyengine._hold_lease(p_executor_id, p_nonce);
  v_now := pyengine._now();

  insert into pyengine.checkpoints as c
    (workflow_id, step_id, name, output, error, child_id, started_at, completed_at)
  select b.workflow_id, b.step_id, b.name, b.output, b.error, b.child_id, v_now - make_interval(secs => b.elapsed), v_now
  from (
    select u.workflow_id, u.fence, u.step_id, u.name, u.output, u.error, u.child_id, u.elapsed
    from unnest(p_workflow_ids, p_fences, p_step_ids, p_names, p_outputs, p_errors, p_child_ids, p_elapsed)
      as u (workflow_id, fence, step_id, name, output, error, child_id, elapsed)
    order by u.workflow_id collate "C", u.step_id
  ) as b
  join pyengine.in_flight as i
    on i.workflow_id = b.workflow_id
    and i.fence = b.fence
  where i.workflow_id = any (p_workflow_ids)
  on conflict on constraint checkpoints_pkey do nothing;

  get diagnostics v_stored = row_count;
  if v_stored = cardinality(p_workflow_ids) then
    return '{}';
  end if;

  -- What this transaction wrote is known by its id.
  return array(
    select b.position::integer
    from unnest(p_workflow_ids, p_step_ids) with ordinality as b (workflow_id, step_id, position)
    where not exists (
      select
      from pyengine.checkpoints as c
      where c.workflow_id = b.workflow_id
        and c.workflow_id = any (p_workflow_ids)
        and c.step_id = b.step_id
        and c.xmin = pg_current_xact_id()::xid
    )
    order by b.position
  );
end;
$function$;

comment on function pyengine.record_checkpoints(
  bigint, bigint, text[], bigint[], integer[], text[], bytea[], bytea[], text[], double precision[]
) is 'Store the results of many steps; the positions that were not stored, to be asked for singly. Raises WF001, WF005.';
