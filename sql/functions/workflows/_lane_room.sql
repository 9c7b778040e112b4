-- _lane_room: how many more workflows of one partition may start now, by the limits per partition; at most p_limit.
--
-- Each listed number is looked for by itself (see _queue_room); `offset 0` keeps that subquery one.
--
-- Fence:  none.
-- Repeat: sets the lane aside again.
-- Locks:  the caller holds the lane, and the queue's lock when there are limits, since earlier statements.
-- Raises: nothing.
create or replace function pyengine._lane_room(
  p_application text,
  p_queue text,
  p_partition_key text,
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
  v_queue record;
  v_room integer := p_limit;
  v_started integer;
  v_oldest timestamptz;
begin
  select q.partition_concurrency, q.partition_worker_concurrency, q.partition_rate_limit, q.partition_rate_period,
    coalesce(q.counted_from, 0) as counted_from,
    case when q.counted_from is null then '{}' else 0::bigint || q.counted_also end as counted_also
  into v_queue
  from pyengine.queues as q
  where q.application = p_application
    and q.queue = p_queue;

  if num_nonnulls(v_queue.partition_concurrency, v_queue.partition_worker_concurrency) > 0 then
    select least(
      v_room,
      v_queue.partition_concurrency - count(*),
      v_queue.partition_worker_concurrency - count(*) filter (where f.executor_id = p_executor_id)
    )
    into v_room
    from (
      select r.executor_id
      from pyengine.in_flight as r
      where r.status = 'PENDING' and r.queue = p_queue and r.application = p_application
        and coalesce(r.partition_key, '') = p_partition_key and r.claim_seq >= v_queue.counted_from
      union all
      select listed.executor_id
      from unnest(v_queue.counted_also) as n (claim_seq)
      cross join lateral (
        select r.executor_id
        from pyengine.in_flight as r
        where r.status = 'PENDING' and r.queue = p_queue and r.application = p_application
          and coalesce(r.partition_key, '') = p_partition_key and r.claim_seq = n.claim_seq
        offset 0
      ) as listed
    ) as f;
  end if;

  if v_queue.partition_rate_limit is not null then
    select count(*), min(s.started_at)
    into v_started, v_oldest
    from pyengine.queue_starts as s
    where s.queue = p_queue
      and s.application = p_application
      and s.partition_key = p_partition_key
      and s.started_at > p_now - v_queue.partition_rate_period;
    v_room := least(v_room, v_queue.partition_rate_limit - v_started);

    -- Out of the way until its window opens, so that many such lanes do not hide the others.
    if v_started >= v_queue.partition_rate_limit then
      update pyengine.lanes as l
      set served_at = v_oldest + v_queue.partition_rate_period
      where l.queue = p_queue
        and l.application = p_application
        and l.partition_key = p_partition_key;
    end if;
  end if;
  return v_room;
end;
$function$;

comment on function pyengine._lane_room(text, text, text, bigint, integer, timestamptz) is
  'How many more workflows of one partition may start now, by the limits per partition; at most p_limit.';
