-- put_queue: declare a queue and its limits, for every executor of the application.
--
-- Fence:  none; a declaration is not work of an executor.
-- Repeat: the same declaration writes nothing.
-- Locks:  the queue's advisory lock (only when something changes), then the queues row.
-- Raises: WF101 invalid_argument.
create or replace function pyengine.put_queue(
  p_application text,
  p_queue text,
  p_concurrency integer,
  p_worker_concurrency integer,
  p_rate_limit integer,
  p_rate_period interval,
  p_is_partitioned boolean,
  p_partition_concurrency integer,
  p_partition_worker_concurrency integer,
  p_partition_rate_limit integer,
  p_partition_rate_period interval
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  -- Limits per partition make no sense without partitions: to give one is to ask for them.
  v_is_partitioned constant boolean := coalesce(p_is_partitioned, false)
    or num_nonnulls(p_partition_concurrency, p_partition_worker_concurrency, p_partition_rate_limit) > 0;
begin
  perform pyengine._check_queue(
    p_application, p_queue, p_concurrency, p_worker_concurrency, p_rate_limit, p_rate_period
  );
  perform pyengine._check_queue(
    p_application, p_queue, p_partition_concurrency, p_partition_worker_concurrency,
    p_partition_rate_limit, p_partition_rate_period
  );

  perform
  from pyengine.queues as q
  where q.application = p_application
    and q.queue = p_queue
    and (
      q.concurrency, q.worker_concurrency, q.rate_limit, q.rate_period, q.is_partitioned, q.partition_concurrency,
      q.partition_worker_concurrency, q.partition_rate_limit, q.partition_rate_period
    ) is not distinct from (
      p_concurrency, p_worker_concurrency, p_rate_limit, p_rate_period, v_is_partitioned, p_partition_concurrency,
      p_partition_worker_concurrency, p_partition_rate_limit, p_partition_rate_period
    );
  if found then
    return;
  end if;

  -- A claim reads the limits under this lock: from our commit on, none goes by the old ones.
  perform pg_advisory_xact_lock(pyengine._advisory_key('queue', p_application || '/' || p_queue));

  insert into pyengine.queues as q (
    application, queue, concurrency, worker_concurrency, rate_limit, rate_period, is_partitioned, partition_concurrency,
    partition_worker_concurrency, partition_rate_limit, partition_rate_period, declared_at
  )
  values (
    p_application, p_queue, p_concurrency, p_worker_concurrency, p_rate_limit, p_rate_period, v_is_partitioned,
    p_partition_concurrency, p_partition_worker_concurrency, p_partition_rate_limit, p_partition_rate_period,
    pyengine._now()
  )
  on conflict on constraint queues_pkey do update
  set
    concurrency = excluded.concurrency,
    worker_concurrency = excluded.worker_concurrency,
    rate_limit = excluded.rate_limit,
    rate_period = excluded.rate_period,
    is_partitioned = excluded.is_partitioned,
    partition_concurrency = excluded.partition_concurrency,
    partition_worker_concurrency = excluded.partition_worker_concurrency,
    partition_rate_limit = excluded.partition_rate_limit,
    partition_rate_period = excluded.partition_rate_period,
    declared_at = excluded.declared_at;

  -- Lanes set aside until an old rate window opens are judged anew.
  update pyengine.lanes as l
  set served_at = pyengine._now()
  where l.queue = p_queue
    and l.application = p_application
    and l.served_at > pyengine._now();
end;
$function$;

comment on function pyengine.put_queue(
  text, text, integer, integer, integer, interval, boolean, integer, integer, integer, interval
) is 'Declare a queue and its limits; an unchanged declaration writes nothing. Raises WF101.';
