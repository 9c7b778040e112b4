-- _doctor_limits: invariant 6: limits are not exceeded by what holds a valid fence.
--
-- Only claims since the limits were declared are counted: lowering a limit stops nobody who runs already.
--
-- Fence:  none.
-- Repeat: reads only.
-- Locks:  none.
-- Raises: nothing.
create or replace function pyengine._doctor_limits(p_now timestamptz)
returns table (invariant integer, subject text, problem text, remedy text)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  v_remedy constant text := 'Report this as a bug of the engine, with the server log.';
begin
  return query
  select 6, format('queue %s of application %s', q.queue, q.application),
    format('%s run%s, and the limit is %s', r.running, r.place, r.most), v_remedy
  from pyengine.queues as q
  cross join lateral (
    select count(*), '', q.concurrency
    from pyengine.in_flight as f
    where f.status = 'PENDING' and f.queue = q.queue and f.application = q.application and f.claimed_at > q.declared_at
    union all
    select count(*), format(' on executor %s', f.executor_id), q.worker_concurrency
    from pyengine.in_flight as f
    where f.status = 'PENDING' and f.queue = q.queue and f.application = q.application and f.claimed_at > q.declared_at
    group by f.executor_id
    union all
    select count(*), format(' in partition %s', f.partition_key), q.partition_concurrency
    from pyengine.in_flight as f
    where f.status = 'PENDING' and f.queue = q.queue and f.application = q.application and f.claimed_at > q.declared_at
      and f.partition_key is not null
    group by f.partition_key
    union all
    select count(*), format(' in partition %s on executor %s', f.partition_key, f.executor_id), q.partition_worker_concurrency
    from pyengine.in_flight as f
    where f.status = 'PENDING' and f.queue = q.queue and f.application = q.application and f.claimed_at > q.declared_at
      and f.partition_key is not null
    group by f.partition_key, f.executor_id
  ) as r(running, place, most)
  where r.running > r.most
  limit 1000;

  return query
  select 6, format('queue %s of application %s', q.queue, q.application),
    format('%s were started within %s, and the limit is %s', count(*), q.rate_period, q.rate_limit), v_remedy
  from pyengine.queues as q
  join pyengine.queue_starts as s on s.queue = q.queue and s.application = q.application
  where s.started_at > greatest(q.declared_at, p_now - q.rate_period)
  group by q.queue, q.application, q.rate_period, q.rate_limit
  having count(*) > q.rate_limit
  limit 1000;

  return query
  select 6, format('deduplication id %s on queue %s', f.deduplication_id, f.queue),
    format('%s unfinished workflows hold it', count(*)), v_remedy
  from pyengine.in_flight as f
  where f.deduplication_id is not null
  group by f.queue, f.application, f.deduplication_id
  having count(*) > 1
  limit 1000;
end;
$function$;

comment on function pyengine._doctor_limits(timestamptz) is
  'Invariant 6: limits are not exceeded by what holds a valid fence.';
