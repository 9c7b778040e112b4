-- retire_executor: an executor ends in good order and marks itself dead.
--
-- Its work is moved by take_over_executor afterwards, and no crash is counted for it.
-- Fence: from the commit on, every write of this executor is refused. It need not hold the fence itself: writes under way end
--   before the takeover gets the lock.
-- Repeat: changes nothing; the first reason stays. An unknown executor is nothing to retire.
-- Interleaving: a housekeeper that marks it dead at the same moment meets it on the row; the first mark stays.
-- Locks: executors row.
-- Raises: WF101 invalid_argument.
create or replace function pyengine.retire_executor(p_executor_id bigint, p_nonce bigint, p_reason text)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  -- These two reasons are what tells the takeover that there was no crash.
  if coalesce(p_reason, '') not in ('retired', 'handed_over') then
    raise exception using
      errcode = 'WF101',
      message = 'invalid argument',
      detail = format('p_reason=%s', p_reason),
      hint = 'An executor retires with the reason ''retired'' or ''handed_over''.';
  end if;

  update pyengine.executors as e
  set dead_at = pyengine._now(),
    dead_reason = p_reason
  where e.executor_id = p_executor_id
    and e.nonce = p_nonce
    and e.dead_at is null;
end;
$function$;

comment on function pyengine.retire_executor(bigint, bigint, text) is
  'Mark the calling executor dead in good order; its work is then handed over uncounted. Raises WF101.';
