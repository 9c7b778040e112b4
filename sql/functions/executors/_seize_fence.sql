-- _seize_fence: take an executor's fence exclusively, waiting at most 200 ms; false when somebody still holds it.
--
-- Called before any row lock. When it returns true, every write that passed _hold_lease has ended, and the caller's next statement
-- sees what it left. Under REPEATABLE READ it would not, hence WF005.
-- The wait is bounded because a frozen client can keep its transaction open for ever; while the caller waits, new writers queue
-- behind it. lock_timeout stays at 200 ms until the transaction ends, for the row locks that follow.
-- Fence: this is its other side. Repeat: the lock is counted once more. Crash: the lock goes with the transaction.
-- Locks: fence (exclusive). Raises: WF005 wrong_isolation.
create or replace function pyengine._seize_fence(p_executor_id bigint)
returns boolean
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    perform pyengine._refuse_isolation();
  end if;

  perform set_config('lock_timeout', '200ms', true);

  begin
    perform pg_advisory_xact_lock(pyengine._advisory_key('fence', p_executor_id::text));
  exception
    when lock_not_available then
      return false;
  end;

  return true;
end;
$function$;

comment on function pyengine._seize_fence(bigint) is
  'Take an executor''s fence exclusively, waiting at most 200 ms; false when somebody still holds it. Raises WF005.';
