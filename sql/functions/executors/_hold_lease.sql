-- _hold_lease: the fence. Let the caller's transaction write for an executor, or refuse it. Returns the instant, read when it is held.
--
-- Fence: first the executor's advisory lock, shared; then, in a second statement and therefore with a newer snapshot, the look at
--   its dead mark. A takeover marks, commits, takes the same lock exclusively, and only then moves rows: so either this
--   transaction ends before the rows move, or it sees the mark here. Time never refuses a write, only the mark does.
--   Under REPEATABLE READ the second statement would look through the old snapshot and miss the mark, hence WF005.
--   Behind a transaction pooler a failover can go unseen by the client: there the server is compared with that of the registration.
-- Repeat: no writes; the lock is counted once more.
-- Locks: fence (shared, until the end of the transaction). Waits only while a takeover of this very executor moves rows.
-- Crash: nothing to clean up, the lock goes with the transaction.
-- Raises: WF001 executor_fenced, WF005 wrong_isolation.
create or replace function pyengine._hold_lease(p_executor_id bigint, p_nonce bigint)
returns timestamptz
language plpgsql
volatile
security invoker
as $function$
declare
  v_lock text;
begin
  if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    perform pyengine._refuse_isolation();
  end if;

  -- An assignment is an expression; `perform` would be a query, and this runs with every write. For callers the same holds.
  v_lock := pg_advisory_xact_lock_shared(pyengine._advisory_key('fence', p_executor_id::text));

  perform
  from pyengine.executors as e
  where e.executor_id = p_executor_id
    and e.nonce = p_nonce
    and e.dead_at is null
    and (not e.is_pooled or e.server_identity = pyengine._server_identity());

  if not found then
    perform pyengine._refuse_fenced(p_executor_id);
  end if;
  return pyengine._now();
end;
$function$;

comment on function pyengine._hold_lease(bigint, bigint) is
  'Hold the executor''s fence for this transaction, and return the instant. Raises WF001 when it is dead or unknown, WF005 outside READ COMMITTED.';
