-- record_attempts: remember many failed attempts of steps in one transaction; returns the positions (from 1) whose claim is over.
--
-- The batch of record_attempt. An attempt that is remembered already is as good as new; only one whose claim is over comes back as a
--   position and is asked for by itself, where its verdict is found.
-- An argument that is null for all of the batch may be null itself.
-- Fence: as record_attempt, once for all. Repeat: the same answer, the first errors stay.
-- Interleaving: as record_attempt. A row that waits for somebody's open transaction for 50 ms fails the batch, and the caller sends its
--   rows singly.
-- Plans: rows are looked up one by one, each by its key: bounded whatever the planner believes of the tables.
-- Locks: fence (shared), step_attempts rows (insert, by workflow, step and attempt).
-- Raises: WF001, WF005; 55P03 after 50 ms of waiting.
create or replace function pyengine.record_attempts(
  p_executor_id bigint,
  p_nonce bigint,
  p_workflow_ids text[],
  p_fences bigint[],
  p_step_ids integer[],
  p_attempts integer[],
  p_errors bytea[]
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

  insert into pyengine.step_attempts as a (workflow_id, step_id, attempt, error, failed_at)
  select b.workflow_id, b.step_id, b.attempt, b.error, v_now
  from (
    select u.workflow_id, u.fence, u.step_id, u.attempt, u.error
    from unnest(p_workflow_ids, p_fences, p_step_ids, p_attempts, p_errors)
      with ordinality as u (workflow_id, fence, step_id, attempt, error, position)
    order by u.workflow_id collate "C", u.step_id, u.attempt, u.position
  ) as b
  where b.fence = (select i.fence from pyengine.in_flight as i where i.workflow_id = b.workflow_id)
  on conflict on constraint step_attempts_pkey do nothing;

  get diagnostics v_stored = row_count;
  if v_stored = cardinality(p_workflow_ids) then
    return '{}';
  end if;

  -- A later statement: whoever waited for another transaction must see what that one left.
  return array(
    select b.position::integer
    from unnest(p_workflow_ids, p_fences) with ordinality as b (workflow_id, fence, position)
    where b.fence is distinct from (select i.fence from pyengine.in_flight as i where i.workflow_id = b.workflow_id)
    order by b.position
  );
end;
$function$;

comment on function pyengine.record_attempts(bigint, bigint, text[], bigint[], integer[], integer[], bytea[]) is
  'Remember many failed attempts of steps; the positions whose claim is over are to be asked for singly. Raises WF001, WF005.';
