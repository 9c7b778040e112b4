-- _queue_room: how many more workflows of a queue may start now, by its queue-wide limits; at most p_limit.
--
-- Counts are bounded by the limit they are compared with, so their cost does not grow with the backlog. What is left of earlier runs
-- while somebody holds a snapshot is walked over once, see _count_from_here; but for a partitioned queue as a whole: there each
-- partition has a place of its own in the index. Each listed number is looked for by itself, in a subquery with a limit: `= any` would
-- be a filter in a plan that was made while the table was empty, and walk over all of it.
--
-- Fence:  none.
-- Repeat: removes claims that have left the rolling window, and only those.
-- Locks:  the caller holds the queue's advisory lock, taken in an earlier statement than these counts; queues row (see _count_from_here).
-- Raises: nothing.
create or replace function pyengine._queue_room(
  p_application text,
  p_queue text,
  p_executor_id bigint,
  p_limit integer,
  p_now timestamptz
)
returns integer
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  -- More entries than are worth a write.
  c_waded constant integer := 4000;
  v_before constant bigint := pyengine._dead_walked();
  v_queue record;
  v_room integer := p_limit;
  v_running integer;
  v_counted integer := 0;
begin
  -- Read again under the lock: put_queue changes limits under it.
  select
    q.concurrency, q.worker_concurrency, q.rate_limit, q.rate_period,
    greatest(q.rate_period, q.partition_rate_period) as window_length, q.is_partitioned,
    coalesce(q.counted_from, 0) as counted_from,
    case when q.counted_from is null then '{}' else 0::bigint || q.counted_also end as counted_also
  into v_queue
  from pyengine.queues as q
  where q.application = p_application
    and q.queue = p_queue;

  if v_queue.concurrency is not null then
    v_running := (
      select count(*)
      from (
        (
          select
          from pyengine.in_flight as f
          where f.status = 'PENDING' and f.queue = p_queue and f.application = p_application
            and coalesce(f.partition_key, '') = '' and f.claim_seq >= v_queue.counted_from
          limit v_queue.concurrency + 1
        )
        union all
        (
          select
          from unnest(v_queue.counted_also) as n (claim_seq)
          cross join lateral (
            select
            from pyengine.in_flight as f
            where f.status = 'PENDING' and f.queue = p_queue and f.application = p_application
              and coalesce(f.partition_key, '') = '' and f.claim_seq = n.claim_seq
            limit v_queue.concurrency + 1
          ) as listed
          limit v_queue.concurrency + 1
        )
        union all
        (
          select
          from pyengine.in_flight as f
          where f.status = 'PENDING' and f.queue = p_queue and f.application = p_application
            and coalesce(f.partition_key, '') > ''
          limit v_queue.concurrency + 1
        )
      ) as running
    );
    v_counted := v_running;
    v_room := least(v_room, v_queue.concurrency - v_running);
  end if;

  if v_queue.worker_concurrency is not null then
    if v_queue.counted_from = 0 or v_queue.is_partitioned then
      v_running := (
        select count(*)
        from (
          select
          from pyengine.in_flight as f
          where f.executor_id = p_executor_id
            and f.queue = p_queue
            and f.application = p_application
          limit v_queue.worker_concurrency + 1
        ) as mine
      );
    else
      -- What others run of the queue is walked over, too, but not what this one has run before.
      v_running := (
        select count(*)
        from (
          (
            select
            from pyengine.in_flight as f
            where f.status = 'PENDING' and f.queue = p_queue and f.application = p_application
              and coalesce(f.partition_key, '') = '' and f.claim_seq >= v_queue.counted_from and f.executor_id = p_executor_id
          )
          union all
          (
            select
            from unnest(v_queue.counted_also) as n (claim_seq)
            cross join lateral (
              select
              from pyengine.in_flight as f
              where f.status = 'PENDING' and f.queue = p_queue and f.application = p_application
                and coalesce(f.partition_key, '') = '' and f.claim_seq = n.claim_seq and f.executor_id = p_executor_id
              limit v_queue.worker_concurrency + 1
            ) as listed
          )
          union all
          (
            select
            from pyengine.in_flight as f
            where f.status = 'PENDING' and f.queue = p_queue and f.application = p_application
              and coalesce(f.partition_key, '') > '' and f.executor_id = p_executor_id
          )
        ) as mine
      );
    end if;
    v_room := least(v_room, v_queue.worker_concurrency - v_running);
  end if;

  -- Rows that an index alone can count are taken for dead ones.
  if not v_queue.is_partitioned and pyengine._dead_walked() - v_before > c_waded + v_counted then
    perform pyengine._count_from_here(p_application, p_queue);
  end if;

  if v_queue.window_length is not null then
    perform pyengine._forget_starts(p_application, p_queue, p_now - v_queue.window_length);
  end if;

  if v_queue.rate_limit is not null then
    v_room := least(v_room, v_queue.rate_limit - (
      select count(*)
      from (
        select
        from pyengine.queue_starts as s
        where s.queue = p_queue
          and s.application = p_application
          and s.started_at > p_now - v_queue.rate_period
        limit v_queue.rate_limit + 1
      ) as started
    ));
  end if;
  return v_room;
end;
$function$;

comment on function pyengine._queue_room(text, text, bigint, integer, timestamptz) is
  'How many more workflows of a queue may start now, by its queue-wide limits; at most p_limit.';
