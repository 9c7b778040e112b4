-- rest_executor: let an executor that has nothing to do be silent for p_rests_for, if nobody is the worse for it.
--
-- may_rest: its lease lasts that long now; due_in: but not beyond that many seconds (null: nothing is due), when a delay, a deadline or
--   retention wants a housekeeper. Else why not: somebody's claims stand ('running': a death would have to be found in time), there is
--   something to claim here ('work'; also by the isolated seat of its fleet) or to take over ('takeover'), something is due ('due'), or a call of its own is under way ('busy').
-- Its next beat gives it its ordinary lease again: that is how it ends. Before the beat it claims and starts nothing.
-- Fence: the dead mark, judged on the row itself. The executor's lock is taken exclusively (try): each of its own writes has committed
--   and is seen here, or comes later, from a process that knows whether it may.
-- Repeat: rests anew from now on.
-- Interleaving: who claims right after the look is seen by the next one. Crash: it rests, and holds nothing.
-- Durability: asynchronous, as any beat.
-- Locks: fence (exclusive, try), executors row.
-- Raises: WF001 executor_fenced.
create or replace function pyengine.rest_executor(
  p_executor_id bigint,
  p_nonce bigint,
  p_queues text[],
  p_accepts_unversioned boolean,
  p_rests_for interval
)
returns table (
  may_rest boolean,
  reason text,
  due_in double precision,
  server_time timestamptz,
  server_identity text,
  oldest_protocol integer
)
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
as $function$
declare
  v_is_alone constant boolean := pg_try_advisory_xact_lock(pyengine._advisory_key('fence', p_executor_id::text));
  v_me record;
  v_due timestamptz;
begin
  perform set_config('synchronous_commit', 'off', true);

  -- A later statement than the lock.
  select e.application, e.app_version,
    case when e.is_isolated then 'only' else 'any' end as suspects
  into v_me
  from pyengine.executors as e
  where e.executor_id = p_executor_id
    and e.nonce = p_nonce
    and e.dead_at is null;

  if not found then
    perform pyengine._refuse_fenced(p_executor_id);
  end if;

  server_time := pyengine._now();
  server_identity := pyengine._server_identity();
  oldest_protocol := (select g.oldest_protocol from pyengine.engine as g where g.singleton);
  v_due := pyengine._next_due();
  due_in := extract(epoch from v_due - server_time);
  reason := case
    when not v_is_alone then 'busy'
    when (
      select true from pyengine.in_flight as i where i.executor_id is not null order by i.executor_id limit 1
    ) then 'running'
    when cardinality(pyengine._ready_queues(
      v_me.application, v_me.app_version, p_queues,
      coalesce(p_accepts_unversioned, true) and pyengine._accepts_unversioned(v_me.application, v_me.app_version), v_me.suspects
    )) > 0 then 'work'
    when exists (
      select from pyengine.executors as e where e.handed_over_at is null and e.dead_at is not null
    ) then 'takeover'
    when v_due <= server_time then 'due'
  end;
  may_rest := reason is null;

  if may_rest then
    update pyengine.executors as e
    set rests_for = p_rests_for,
      lease_expires_at = server_time + p_rests_for,
      beat_at = server_time,
      liveness_missed_at = null
    where e.executor_id = p_executor_id
      and e.nonce = p_nonce
      and e.dead_at is null;

    -- Somebody was first to mark it.
    if not found then
      perform pyengine._refuse_fenced(p_executor_id);
    end if;
  end if;
  return next;
end;
$function$;

comment on function pyengine.rest_executor(bigint, bigint, text[], boolean, interval) is
  'Let an executor that has nothing to do be silent for so long, if nobody is the worse for it. Raises WF001.';
