-- watch_executors: one beat for all executors of a supervisor, and what it must know of them.
--
-- It vouches for processes that it sees: a step that keeps one from beating by itself, for however long, costs it nothing.
-- p_renew: renew the leases of those that are alive; else only look. Either way what housekeeping held against a free liveness lock is
--   dropped: somebody has seen the process. The lock's own columns stay the executor's business: its backend is not this one.
-- One that rests keeps its longer lease: it holds nothing.
-- is_alive: registered and not marked dead; false means that its process must go. has_suspects: work of its application and version
--   waits to be run alone.
-- Fence: the renewal and the dead mark meet on the row, and a mark is final. An expired lease that nobody has acted on is renewed.
-- Repeat: renews again.
-- Interleaving: rows are locked in id order, as _mark_the_dead does, so beats of two supervisors and a housekeeper cannot wait for
--   each other in a circle. A housekeeper that was about to mark one judges the row again and finds a newer lease; one that was
--   first has marked it, and the lock's recheck leaves the row out. An executor's own beat is simply overtaken. Crash: one
--   transaction, nothing is half done.
-- Durability: asynchronous, as any beat.
-- Locks: executors rows by id.
-- Raises: WF101 invalid_argument.
create or replace function pyengine.watch_executors(p_executor_ids bigint[], p_nonces bigint[], p_renew boolean)
returns table (executor_id bigint, is_alive boolean, has_suspects boolean)
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $function$
declare
  v_ids bigint[];
begin
  if coalesce(cardinality(p_executor_ids), 0) <> coalesce(cardinality(p_nonces), 0) then
    raise exception using
      errcode = 'WF101',
      message = 'invalid argument',
      detail = format('%s ids and %s nonces', cardinality(p_executor_ids), cardinality(p_nonces)),
      hint = 'Give each executor with its nonce.';
  end if;

  perform set_config('synchronous_commit', 'off', true);

  -- An array, so that the rows are locked one by one in this order, before any of them changes.
  v_ids := array(
    select e.executor_id
    from pyengine.executors as e
    where e.executor_id = any (p_executor_ids)
      and (e.executor_id, e.nonce) in (select w.id, w.nonce from unnest(p_executor_ids, p_nonces) as w (id, nonce))
      and e.dead_at is null
      and (coalesce(p_renew, false) or e.liveness_missed_at is not null)
    order by e.executor_id
    for no key update of e
  );

  if cardinality(v_ids) > 0 then
    update pyengine.executors as e
    set lease_expires_at = case when p_renew then pyengine._now() + coalesce(e.rests_for, e.lease_ttl) else e.lease_expires_at end,
      beat_at = case when p_renew then pyengine._now() else e.beat_at end,
      liveness_missed_at = null
    where e.executor_id = any (v_ids);
  end if;

  -- A later statement than the locks: a mark that was waited for is seen.
  return query
  select w.id,
    e.executor_id is not null,
    coalesce((
      select true
      from pyengine.in_flight as i
      where i.status = 'ENQUEUED'
        and i.is_suspect
        and i.application = e.application
        and i.app_version = e.app_version
      limit 1
    ), false)
  from unnest(p_executor_ids, p_nonces) with ordinality as w (id, nonce, place)
  left join pyengine.executors as e
    on e.executor_id = w.id
    and e.nonce = w.nonce
    and e.dead_at is null
  order by w.place;
end;
$function$;

comment on function pyengine.watch_executors(bigint[], bigint[], boolean) is
  'Beat for a supervisor''s executors and tell which are alive and whether work waits to be run alone. Raises WF101.';
