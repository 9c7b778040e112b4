-- _seize_last_owner: take the fence of whoever ran a workflow last, exclusively, or give up with 55P03 after about a second.
--
-- For what makes a workflow runnable again or removes it. The owner may be alive and writing for other workflows: it is then waited
-- for. If it is dead, or forgotten, and a client of it froze in a transaction, that one is told to end. A living one that froze
-- is marked in time: the caller repeats until then, in new transactions, so that it holds up nobody meanwhile.
--
-- Fence:  this is its other side.
-- Repeat: the lock is counted once more.
-- Locks:  fence (exclusive), before any row. Crash: it goes with the transaction.
-- Raises: WF005 wrong_isolation, 55P03 when the owner still writes.
create or replace function pyengine._seize_last_owner(p_executor_id bigint)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  for v_try in 1 .. 5 loop
    if pyengine._seize_fence(p_executor_id) then
      return;
    end if;

    perform from pyengine.executors as e where e.executor_id = p_executor_id and e.dead_at is null;
    if not found then
      perform pyengine._end_fence_holders(p_executor_id);
    end if;
  end loop;

  raise exception using
    errcode = '55P03',
    message = 'the executor that ran this workflow last is still writing',
    detail = format('executor_id=%s', p_executor_id),
    hint = 'Call again: it ends its writes, or is taken over and its connections are ended.';
end;
$function$;

comment on function pyengine._seize_last_owner(bigint) is
  'Take the fence of whoever ran a workflow last, exclusively. Raises WF005, and 55P03 when it still writes.';
