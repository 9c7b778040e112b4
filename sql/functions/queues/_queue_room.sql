-- _queue_room: how many more workflows of a queue may start now, by its queue-wide limits; at most p_limit.
--
-- Counts are bounded by the limit they are compared with, so their cost does not grow with the backlog.
--
-- Fence:  none.
-- Repeat: removes claims that have left the rolling window, and only those.
-- Locks:  the caller holds the queue's advisory lock, taken in an earlier statement than these counts.
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
  v_queue record;
  v_room integer := p_limit;
begin
  -- Read again under the lock: put_queue changes limits under it.
  select
    q.concurrency, q.worker_concurrency, q.rate_limit, q.rate_period,
    greatest(q.rate_period, q.partition_rate_period) as window_length
  into v_queue
  from pyengine.queues as q
  where q.application = p_application
    and q.queue = p_queue;

  if v_queue.concurrency is not null then
    v_room := least(v_room, v_queue.concurrency - (
      select count(*)
      from (
        select
        from pyengine.in_flight as f
        where f.status = 'PENDING'
          and f.queue = p_queue
          and f.application = p_application
        limit v_queue.concurrency + 1
      ) as running
    ));
  end if;

  if v_queue.worker_concurrency is not null then
    v_room := least(v_room, v_queue.worker_concurrency - (
      select count(*)
      from (
        select
        from pyengine.in_flight as f
        where f.executor_id = p_executor_id
          and f.queue = p_queue
          and f.application = p_application
        limit v_queue.worker_concurrency + 1
      ) as mine
    ));
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
