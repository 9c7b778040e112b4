-- _pass_fence: wait until every write that an executor has begun is over, at most 200 ms; false when one is not.
--
-- The barrier of a takeover without its mark: the fence is taken exclusively and let go of at once, with a subtransaction. For whoever
-- removes what has ended: a later write of the executor looks for its claim with a newer snapshot and finds none.
-- Called before any row lock.
-- Fence:  this is its other side, for a moment: the executor goes on.
-- Repeat: waits again.
-- Interleaving: writers that come meanwhile queue behind it, for as long as one write takes. Crash: it goes with the transaction.
-- Locks:  fence (exclusive, let go of).
-- Raises: WF005 wrong_isolation.
create or replace function pyengine._pass_fence(p_executor_id bigint)
returns boolean
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  begin
    if not pyengine._seize_fence(p_executor_id) then
      return false;
    end if;
    -- Nothing else lets go of a transaction's lock before its end.
    raise exception using errcode = 'P0001', message = 'the fence was passed';
  exception
    when raise_exception then
      return true;
  end;
end;
$function$;

comment on function pyengine._pass_fence(bigint) is
  'Wait until every write that an executor has begun is over; false when one is not, after 200 ms. Raises WF005.';
