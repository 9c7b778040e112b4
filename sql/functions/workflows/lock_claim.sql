-- lock_claim: hold a workflow's claim until the end of the caller's own transaction, of any isolation level.
--
-- For users' transactions in the engine's database: when it says 'held', nobody ends, cancels or takes over the workflow before this
-- transaction has ended, so what it writes is written by the owner or not at all. KEY SHARE would not do: a takeover does not change
-- the key and would pass.
-- Fence: the in-flight row with this fence, locked. Time and the dead mark do not matter: what counts is that the row cannot move.
-- Repeat: the same answer; the locks are counted once more.
-- Interleaving: whoever deletes or moves the row comes before, and then the answer is 'fenced' or 'cancelled' (READ COMMITTED) or
--   the transaction fails with 40001 (stricter levels; begin it again); or after, and waits, or skips the row and comes back.
--   A client that froze with the row locked keeps it locked: the shared 'user' lock of its executor tells a takeover whom to end.
-- Locks: user lock of the executor (advisory, shared), in-flight row (no key update), both until the end of the transaction.
-- Returns: 'held' | 'fenced' | 'cancelled'. Raises: 40001 when the row was changed after the transaction's snapshot.
create or replace function pyengine.lock_claim(p_workflow_id text, p_fence bigint)
returns text
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $function$
declare
  v_executor_id bigint;
begin
  select i.executor_id
  into v_executor_id
  from pyengine.in_flight as i
  where i.workflow_id = p_workflow_id
    and i.fence = p_fence;

  if found then
    perform pg_advisory_xact_lock_shared(pyengine._advisory_key('user', v_executor_id::text));

    perform
    from pyengine.in_flight as i
    where i.workflow_id = p_workflow_id
      and i.fence = p_fence
    for no key update;

    if found then
      return 'held';
    end if;
  end if;

  return pyengine._judge_claim(p_workflow_id, p_fence);
end;
$function$;

comment on function pyengine.lock_claim(text, bigint) is
  'Hold a workflow''s claim until the end of the caller''s own transaction: held, fenced or cancelled. Raises 40001 above READ COMMITTED.';
