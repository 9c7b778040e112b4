-- enqueue_workflows: put many workflows on queues in one transaction; returns the positions (from 1) that it did not enqueue.
--
-- The batch of enqueue_workflow: an id that is taken, a deduplication key that is held, a parent whose claim is over, or what
--   enqueue_workflow would refuse comes back as a position and is asked for by itself, where its verdict or error is found.
-- An argument that is null for all of the batch may be null itself. p_authenticated_roles: of each row a JSON array.
-- Fence: as enqueue_workflow, once for all. Repeat: all positions that the first call enqueued come back.
-- Interleaving: batches that meet on ids or on deduplication keys take them in one order: all headers by id first, then all keys by
--   queue and key; in a batch nothing is released. A row that waits for somebody's open transaction for 50 ms fails the batch.
-- Plans: rows are looked up one by one, each by its key: bounded whatever the planner believes of the tables.
-- Locks: fence (shared), headers by id, lanes by key, in-flight rows (insert, by queue and deduplication key), checkpoints of parents
--   (insert).
-- Raises: WF001, WF005; 55P03 after 50 ms of waiting; 23505 when a parent's step was taken meanwhile.
create or replace function pyengine.enqueue_workflows(
  p_executor_id bigint,
  p_nonce bigint,
  p_application text,
  p_start_tokens bigint[],
  p_workflow_ids text[],
  p_names text[],
  p_class_names text[],
  p_config_names text[],
  p_app_versions text[],
  p_inputs bytea[],
  p_queues text[],
  p_partition_keys text[],
  p_priorities integer[],
  p_deduplication_ids text[],
  p_delays interval[],
  p_timeouts interval[],
  p_deadlines timestamptz[],
  p_max_recovery_attempts integer[],
  p_attributes jsonb[],
  p_authenticated_users text[],
  p_assumed_roles text[],
  p_authenticated_roles jsonb[],
  p_schedule_names text[],
  p_parent_ids text[],
  p_parent_fences bigint[],
  p_parent_step_ids integer[]
)
returns integer[]
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set lock_timeout = '50ms'
as $function$
declare
  v_now timestamptz;
  v_lane record;
  v_partitioned text[];
  v_untried integer[];
  v_left_over integer[];
  v_held integer[];
  v_count integer;
begin
  if p_executor_id is not null then
    perform pyengine._hold_lease(p_executor_id, p_nonce);
  end if;
  v_now := pyengine._now();

  v_partitioned := array(
    select q.queue
    from pyengine.queues as q
    where q.application = p_application
      and q.queue = any (p_queues)
      and q.is_partitioned
  );

  -- What is to be refused, or has its verdict already, writes nothing here: above all no header that would be dead at once.
  v_untried := array(
    select b.position::integer
    from unnest(
      p_start_tokens, p_workflow_ids, p_names, p_queues, p_partition_keys, p_priorities, p_deduplication_ids, p_delays, p_timeouts,
      p_parent_ids, p_parent_fences, p_parent_step_ids
    ) with ordinality as b (start_token, workflow_id, name, queue, partition_key, priority, deduplication_id, delay, timeout,
      parent_id, parent_fence, parent_step_id, position)
    where b.start_token is null
      or coalesce(b.workflow_id, '') !~ '\S'
      or coalesce(b.name, '') = ''
      or coalesce(p_application, '') = ''
      or coalesce(b.queue, '') !~ '\S'
      or b.priority < 0
      or b.deduplication_id = ''
      or b.delay < interval '0'
      or b.timeout <= interval '0'
      or b.partition_key = ''
      or (b.queue = any (v_partitioned)) <> (b.partition_key is not null)
      or num_nonnulls(b.parent_id, b.parent_fence, b.parent_step_id) not in (0, 3)
      or b.deduplication_id is not null and (
        select f.workflow_id
        from pyengine.in_flight as f
        where f.queue = b.queue
          and f.application = p_application
          and f.deduplication_id = b.deduplication_id
      ) is not null
      or b.parent_id is not null and (
        p_executor_id is null
        or b.parent_fence is distinct from (
          select i.fence from pyengine.in_flight as i where i.workflow_id = b.parent_id)
        or (
          select c.started_at from pyengine.checkpoints as c where c.workflow_id = b.parent_id and c.step_id = b.parent_step_id
        ) is not null
      )
  );

  v_left_over := pyengine._insert_headers(
    p_start_tokens, p_workflow_ids, p_names, p_class_names, p_config_names, p_application, p_inputs, p_authenticated_users,
    p_assumed_roles, p_authenticated_roles, p_attributes, p_schedule_names, p_parent_ids, v_untried
  );

  if p_partition_keys is not null then
    -- A delayed row gets its lane when it is released.
    for v_lane in
      select distinct b.queue, b.partition_key
      from unnest(p_queues, p_partition_keys, p_delays) with ordinality as b (queue, partition_key, delay, position)
      where b.partition_key is not null
        and not coalesce(b.delay > interval '0', false)
        and b.position <> all (v_left_over)
      order by b.queue, b.partition_key
    loop
      perform pyengine._open_lane(v_lane.queue, p_application, v_lane.partition_key);
    end loop;
  end if;

  insert into pyengine.in_flight as f
    (workflow_id, status, queue, partition_key, priority, application, app_version, run_at, timeout, deadline,
     max_recovery_attempts, deduplication_id)
  select b.workflow_id, case when b.delay > interval '0' then 'DELAYED' else 'ENQUEUED' end, b.queue, b.partition_key,
    coalesce(b.priority, 0), p_application, b.app_version, case when b.delay > interval '0' then v_now + b.delay end, b.timeout,
    b.deadline, b.max_recovery_attempts, b.deduplication_id
  from (
    select u.workflow_id, u.queue, u.partition_key, u.priority, u.app_version, u.delay, u.timeout, u.deadline,
      u.max_recovery_attempts, u.deduplication_id
    from unnest(
      p_workflow_ids, p_queues, p_partition_keys, p_priorities, p_app_versions, p_delays, p_timeouts, p_deadlines,
      p_max_recovery_attempts, p_deduplication_ids
    ) with ordinality as u (workflow_id, queue, partition_key, priority, app_version, delay, timeout, deadline,
      max_recovery_attempts, deduplication_id, position)
    where u.position <> all (v_left_over)
    -- Without a key: in the order given, which is the order of the queue.
    order by u.queue collate "C", u.deduplication_id collate "C", u.position
  ) as b
  on conflict (queue, application, deduplication_id) where deduplication_id is not null do nothing;

  get diagnostics v_count = row_count;
  if v_count < cardinality(p_workflow_ids) - cardinality(v_left_over) then
    v_held := array(
      select b.position::integer
      from unnest(p_workflow_ids) with ordinality as b (workflow_id, position)
      where b.position <> all (v_left_over)
        and (select f.status from pyengine.in_flight as f where f.workflow_id = b.workflow_id) is null
    );
    delete from pyengine.workflows as h
    where h.workflow_id = any (array(
      select b.workflow_id
      from unnest(p_workflow_ids) with ordinality as b (workflow_id, position)
      where b.position = any (v_held)
    ));
    v_left_over := v_left_over || v_held;
  end if;

  if p_parent_ids is not null then
    perform pyengine._record_children(p_parent_ids, p_parent_step_ids, p_names, p_workflow_ids, v_left_over);
  end if;

  return v_left_over;
end;
$function$;

comment on function pyengine.enqueue_workflows(
  bigint, bigint, text, bigint[], text[], text[], text[], text[], text[], bytea[], text[], text[], integer[], text[],
  interval[], interval[], timestamptz[], integer[], jsonb[], text[], text[], jsonb[], text[], text[], bigint[], integer[]
) is 'Put many workflows on queues; the positions that were not enqueued are to be asked for singly. Raises WF001, WF005.';
