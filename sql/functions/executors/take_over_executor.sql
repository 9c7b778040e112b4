-- take_over_executor: hand a dead executor's work over, one chunk a call; anybody may call it.
--
-- Fence: the dead mark is committed already, so no new write passes _hold_lease. The fence is taken exclusively first, in a statement
--   earlier than the look at the mark and the rows: writes that had passed have then ended and are seen. None lands afterwards.
-- Repeat: takes what is left; an executor that is handed over answers (0, 0, false).
-- Interleaving: two takeovers follow each other on the fence. Late finishes come before (the row is gone) or never.
--   Cancellations decide by their DELETE. Crash: the chunk is rolled back, the next caller takes it.
-- remaining: call again, at once or at the next round. Also true when the fence could not be had in 200 ms, or when all rows left
--   are locked: the backends that write for the executor are told to end, as far as this role may.
-- Locks: fence (exclusive), lanes, in-flight rows by id, outcomes, executors row.
-- Raises: WF005, WF101 invalid_argument (not marked dead, or a limit out of range); 55P03 when a row lock took 200 ms.
create or replace function pyengine.take_over_executor(p_dead_id bigint, p_limit integer)
returns table (moved integer, quarantined integer, remaining boolean)
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $function$
declare
  v_dead record;
begin
  moved := 0;
  quarantined := 0;
  remaining := true;

  if not coalesce(p_limit between 1 and 10000, false) then
    raise exception using
      errcode = 'WF101',
      message = 'invalid argument',
      detail = format('p_limit=%s', p_limit),
      hint = 'Move between 1 and 10000 workflows a call.';
  end if;

  if not pyengine._seize_fence(p_dead_id) then
    -- Whether it is dead was not looked at yet.
    perform from pyengine.executors as e where e.executor_id = p_dead_id and e.dead_at is not null;
    if found then
      perform pyengine._end_fence_holders(p_dead_id);
      return next;
      return;
    end if;
  end if;

  select e.handed_over_at
  into v_dead
  from pyengine.executors as e
  where e.executor_id = p_dead_id
    and e.dead_at is not null;

  if not found then
    raise exception using
      errcode = 'WF101',
      message = 'invalid argument',
      detail = format('p_dead_id=%s', p_dead_id),
      hint = 'Only an executor that is marked dead can be taken over.';
  end if;

  if v_dead.handed_over_at is null then
    select h.moved, h.quarantined
    into moved, quarantined
    from pyengine._hand_over_rows(p_dead_id, p_limit) as h;

    update pyengine.executors as e
    set handed_over_at = pyengine._now()
    where e.executor_id = p_dead_id
      and not exists (select from pyengine.in_flight as i where i.executor_id = p_dead_id);

    remaining := not found;
    if remaining and moved + quarantined = 0 then
      perform pyengine._end_fence_holders(p_dead_id);
    end if;
    delete from pyengine.interrupts as n where n.executor_id = p_dead_id;
  else
    remaining := false;
  end if;

  return next;
end;
$function$;

comment on function pyengine.take_over_executor(bigint, integer) is
  'Hand a chunk of a dead executor''s work over; remaining says to call again. Raises WF005, WF101.';
