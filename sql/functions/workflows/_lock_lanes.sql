-- _lock_lanes: lock the partitions that have waited longest and can be served by this executor now; their keys, in order.
--
-- Blocked partitions (running at their limit, or holding only other versions' work, or suspects that are not asked for) are passed over, not locked. Only the first
-- thousand are looked at; _rotate_lanes turns the page when none of them can be served.
--
-- Probes are scalar subqueries with a limit: an "exists" under "or" may be planned as one hash of everything that is enqueued.
--
-- Fence:  the caller holds the lease.
-- Repeat: a second call finds lanes that this transaction has locked itself.
-- Locks:  lanes (no key update, skip locked).
-- Raises: nothing.
create or replace function pyengine._lock_lanes(
  p_executor_id bigint,
  p_application text,
  p_app_version text,
  p_unversioned boolean,
  p_suspects text,
  p_queue text,
  p_limit integer,
  p_now timestamptz
)
returns text[]
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  v_queue record;
begin
  select
    q.partition_concurrency,
    q.partition_worker_concurrency,
    least(
      case when q.partition_rate_limit is null then timestamptz 'infinity' else p_now end,
      pyengine._lanes_horizon(p_application, p_queue)
    ) as served_until
  into v_queue
  from pyengine.queues as q
  where q.application = p_application
    and q.queue = p_queue;

  return array(
    select l.partition_key
    from pyengine.lanes as l
    where l.queue || '/' || l.application = p_queue || '/' || p_application
      and (l.queue, l.application) is not distinct from (p_queue, p_application)
      and l.served_at <= v_queue.served_until
      and (
        (
          select true from pyengine.in_flight as f
          where f.status = 'ENQUEUED' and f.queue = l.queue and f.application = l.application
            and f.partition_key = l.partition_key and f.app_version = p_app_version
            and not f.is_suspect
          limit 1
        ) or p_unversioned and (
          select true from pyengine.in_flight as f
          where f.status = 'ENQUEUED' and f.queue = l.queue and f.application = l.application
            and f.partition_key = l.partition_key and f.app_version is null
            and not f.is_suspect
          limit 1
        ) or p_suspects = 'any' and (
          select true from pyengine.in_flight as f
          where f.status = 'ENQUEUED' and f.queue = l.queue and f.application = l.application
            and f.partition_key = l.partition_key and f.app_version = p_app_version
            and f.is_suspect
          limit 1
        )
      )
      and (v_queue.partition_concurrency is null or v_queue.partition_concurrency > (
        select count(*) from (
          select from pyengine.in_flight as f
          where f.status = 'PENDING' and f.queue = l.queue and f.application = l.application
            and f.partition_key = l.partition_key
          limit v_queue.partition_concurrency
        ) as running
      ))
      and (v_queue.partition_worker_concurrency is null or v_queue.partition_worker_concurrency > (
        select count(*) from (
          select from pyengine.in_flight as f
          where f.status = 'PENDING' and f.queue = l.queue and f.application = l.application
            and f.partition_key = l.partition_key and f.executor_id = p_executor_id
          limit v_queue.partition_worker_concurrency
        ) as mine
      ))
    order by l.served_at
    limit p_limit
    for no key update of l skip locked
  );
end;
$function$;

comment on function pyengine._lock_lanes(bigint, text, text, boolean, text, text, integer, timestamptz) is
  'Lock the partitions that have waited longest and can be served by this executor now.';
