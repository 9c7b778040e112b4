-- _claim: decide how many rows a claim may take, and take them; null means that the queue's lock was lost.
--
-- p_from_…: see claim_workflows. A queue that was declared otherwise since it was told has no use for a mark.
--
-- Fence:  the caller holds the lease.
-- Repeat: the caller has looked for rows that carry p_fence.
-- Locks:  queue (try only, limited queues); then as _choose_rows or _claim_lanes.
-- Raises: nothing.
create or replace function pyengine._claim(
  p_executor_id bigint,
  p_fence bigint,
  p_queue text,
  p_limit integer,
  p_unversioned boolean,
  p_suspects text,
  p_from_partitions text[],
  p_from_priorities integer[],
  p_from_seqs bigint[],
  p_from_served_at timestamptz
)
returns text[]
language plpgsql
volatile
security invoker
as $function$
declare
  v_executor record;
  v_queue record;
  v_limit integer := case when p_suspects = 'only' then 1 else p_limit end;
  v_now timestamptz;
  v_ids text[];
begin
  select e.application, e.app_version
  into strict v_executor
  from pyengine.executors as e
  where e.executor_id = p_executor_id;

  select
    q.is_partitioned,
    num_nonnulls(q.rate_limit, q.partition_rate_limit) > 0 as is_rated,
    num_nonnulls(
      q.concurrency, q.worker_concurrency, q.rate_limit,
      q.partition_concurrency, q.partition_worker_concurrency, q.partition_rate_limit
    ) > 0 as is_limited
  into v_queue
  from pyengine.queues as q
  where q.application = v_executor.application
    and q.queue = p_queue;

  -- An empty queue is not worth its lock, or a walk through its lanes: its pollers would only tell each other 'busy'. From a
  -- low-water mark the probe could walk over what the claim need not.
  if (v_queue.is_limited and num_nonnulls(p_from_priorities, p_from_served_at) = 0 or p_suspects = 'only')
    and not pyengine._has_enqueued(v_executor.application, v_executor.app_version, p_unversioned, p_queue, p_suspects)
  then
    return '{}';
  end if;

  if v_queue.is_limited then
    if not pg_try_advisory_xact_lock(pyengine._advisory_key('queue', v_executor.application || '/' || p_queue)) then
      return null;
    end if;
  end if;

  -- Later statements than the lock: they see whatever its last holder has committed.
  v_now := pyengine._now();
  if v_queue.is_limited then
    v_limit := pyengine._queue_room(v_executor.application, p_queue, p_executor_id, v_limit, v_now);
    if v_limit <= 0 then
      return '{}';
    end if;
  end if;

  if v_queue.is_partitioned then
    v_ids := pyengine._claim_lanes(
      p_executor_id, p_fence, v_executor.application, v_executor.app_version, p_unversioned, p_suspects, p_queue,
      v_queue.is_limited, v_limit, coalesce(p_from_partitions, '{}'), p_from_priorities, p_from_seqs,
      coalesce(p_from_served_at, '-infinity'), v_now
    );
    -- Without limits, only other claims stand in the way of a lane that has work.
    if v_ids = '{}' and not v_queue.is_limited and p_suspects <> 'only'
      and pyengine._has_open_lane(
        v_executor.application, v_executor.app_version, p_unversioned, p_suspects, p_queue,
        coalesce(p_from_partitions, '{}'), p_from_priorities, p_from_seqs, coalesce(p_from_served_at, '-infinity')
      )
    then
      return null;
    end if;
  else
    v_ids := pyengine._take_rows(p_executor_id, p_fence, v_executor.app_version, case
      when v_queue.is_limited then pyengine._claim_seq(v_executor.application, p_queue) else 0 end, (
      select c.chosen
      from pyengine._choose_rows(
        v_executor.application, v_executor.app_version, p_unversioned, p_suspects, p_queue, null, v_limit,
        case when p_from_partitions is null then p_from_priorities end, p_from_seqs
      ) as c
    ));
  end if;

  if v_queue.is_rated then
    insert into pyengine.queue_starts (queue, application, partition_key, workflow_id, started_at)
    select f.queue, f.application, f.partition_key, f.workflow_id, f.claimed_at
    from pyengine.in_flight as f
    where f.workflow_id = any (v_ids);
  end if;
  return v_ids;
end;
$function$;

comment on function pyengine._claim(bigint, bigint, text, integer, boolean, text, text[], integer[], bigint[], timestamptz) is
  'Decide how many rows a claim may take, and take them; null when the queue''s lock was lost.';
