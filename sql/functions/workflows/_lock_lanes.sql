-- _lock_lanes: lock the partitions that have waited longest and can be served by this executor now; keys and addresses, in order.
--
-- Blocked partitions (running at their limit, or holding only other versions' work, or suspects that are not asked for) are passed
-- over, not locked. Only those up to p_horizon are looked at, the first thousand; _rotate_lanes turns the page when none of them can
-- be served.
--
-- p_from_…: a low-water mark, see claim_workflows. A partition that is in it is looked at from there on.
--
-- Probes are scalar subqueries with a limit: an "exists" under "or" may be planned as one hash of everything that is enqueued.
-- They ask for the order of in_flight_lane_idx, so that none is planned with another index.
--
-- Runs are counted as in _queue_room: each listed number by itself.
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
  p_from_partitions text[],
  p_from_priorities integer[],
  p_from_seqs bigint[],
  p_from_served_at timestamptz,
  p_horizon timestamptz,
  p_now timestamptz
)
returns table (keys text[], places tid[])
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
    coalesce(q.counted_from, 0) as counted_from,
    case when q.counted_from is null then '{}' else 0::bigint || q.counted_also end as counted_also,
    least(
      case when q.partition_rate_limit is null then timestamptz 'infinity' else p_now end,
      p_horizon
    ) as served_until
  into v_queue
  from pyengine.queues as q
  where q.application = p_application
    and q.queue = p_queue;

  select coalesce(array_agg(x.partition_key order by x.turn), '{}'), coalesce(array_agg(x.ctid order by x.turn), '{}')
  into keys, places
  from (
    select l.partition_key, l.ctid, (l.served_at, l.partition_key) as turn
    from pyengine.lanes as l
    where l.queue || '/' || l.application = p_queue || '/' || p_application
      and (l.queue, l.application) is not distinct from (p_queue, p_application)
      and l.served_at >= p_from_served_at
      and l.served_at <= v_queue.served_until
      and case when l.partition_key = any (p_from_partitions) then pyengine._has_lane_from(
        p_application, p_app_version, p_unversioned, p_suspects, p_queue, l.partition_key,
        p_from_partitions, p_from_priorities, p_from_seqs
      ) else (
        (
          select true from pyengine.in_flight as f
          where f.status = 'ENQUEUED' and f.queue = p_queue and f.application = p_application
            and f.partition_key = l.partition_key
            and coalesce(f.app_version, '') = p_app_version and f.app_version is not distinct from p_app_version
            and not f.is_suspect
          order by f.priority, f.seq
          limit 1
        ) or p_unversioned and (
          select true from pyengine.in_flight as f
          where f.status = 'ENQUEUED' and f.queue = p_queue and f.application = p_application
            and f.partition_key = l.partition_key
            and coalesce(f.app_version, '') = '' and f.app_version is null
            and not f.is_suspect
          order by f.priority, f.seq
          limit 1
        ) or p_suspects = 'any' and (
          select true from pyengine.in_flight as f
          where f.status = 'ENQUEUED' and f.queue = l.queue and f.application = l.application
            and f.partition_key = l.partition_key and f.app_version = p_app_version
            and f.is_suspect
          limit 1
        )
      ) end
      and (v_queue.partition_concurrency is null or v_queue.partition_concurrency > (
        select count(*) from (
          (
            select from pyengine.in_flight as f
            where f.status = 'PENDING' and f.queue = l.queue and f.application = l.application
              and coalesce(f.partition_key, '') = l.partition_key and f.claim_seq >= v_queue.counted_from
            limit v_queue.partition_concurrency
          ) union all (
            select from unnest(v_queue.counted_also) as n (claim_seq)
            cross join lateral (
              select from pyengine.in_flight as f
              where f.status = 'PENDING' and f.queue = l.queue and f.application = l.application
                and coalesce(f.partition_key, '') = l.partition_key and f.claim_seq = n.claim_seq
              limit v_queue.partition_concurrency
            ) as listed
            limit v_queue.partition_concurrency
          )
        ) as running
      ))
      and (v_queue.partition_worker_concurrency is null or v_queue.partition_worker_concurrency > (
        select count(*) from (
          (
            select from pyengine.in_flight as f
            where f.status = 'PENDING' and f.queue = l.queue and f.application = l.application
              and coalesce(f.partition_key, '') = l.partition_key and f.claim_seq >= v_queue.counted_from
              and f.executor_id = p_executor_id
            limit v_queue.partition_worker_concurrency
          ) union all (
            select from unnest(v_queue.counted_also) as n (claim_seq)
            cross join lateral (
              select from pyengine.in_flight as f
              where f.status = 'PENDING' and f.queue = l.queue and f.application = l.application
                and coalesce(f.partition_key, '') = l.partition_key and f.claim_seq = n.claim_seq
                and f.executor_id = p_executor_id
              limit v_queue.partition_worker_concurrency
            ) as listed
            limit v_queue.partition_worker_concurrency
          )
        ) as mine
      ))
    order by l.served_at
    limit p_limit
    for no key update of l skip locked
  ) as x;
  return next;
end;
$function$;

comment on function pyengine._lock_lanes(
  bigint, text, text, boolean, text, text, integer, text[], integer[], bigint[], timestamptz, timestamptz, timestamptz
) is 'Lock the partitions that have waited longest and can be served by this executor now.';
