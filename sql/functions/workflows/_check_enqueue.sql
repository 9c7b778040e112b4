-- _check_enqueue: refuse what cannot be enqueued, before anything is written.
--
-- Fence:  none.
-- Repeat: reads only.
-- Locks:  none.
-- Raises: WF101 invalid_argument.
create or replace function pyengine._check_enqueue(
  p_executor_id bigint,
  p_start_token bigint,
  p_workflow_id text,
  p_name text,
  p_application text,
  p_queue text,
  p_partition_key text,
  p_priority integer,
  p_deduplication_id text,
  p_delay interval,
  p_timeout interval,
  p_parent_id text,
  p_parent_fence bigint,
  p_parent_step_id integer
)
returns integer
language plpgsql
stable
security invoker
as $function$
declare
  -- Null when the queue is not declared (yet): a client may be there before the executors.
  v_is_partitioned constant boolean := (
    select q.is_partitioned from pyengine.queues as q where q.application = p_application and q.queue = p_queue
  );
  -- An expression and no query over a list of conditions: this runs with every enqueue.
  v_problem constant text := case
    when coalesce(p_workflow_id, '') !~ '\S' then 'the workflow id is blank'
    when p_start_token is null then 'the start token is missing'
    when coalesce(p_name, '') = '' then 'the workflow has no name'
    when coalesce(p_application, '') = '' then 'the application has no name'
    when coalesce(p_queue, '') !~ '\S' then 'the queue has no name'
    when p_priority < 0 then 'the priority is negative'
    when p_deduplication_id = '' then 'the deduplication id is empty'
    when p_delay < interval '0' then 'the delay is negative'
    when p_timeout <= interval '0' then 'the timeout is not positive'
    when p_partition_key = '' then 'the partition key is empty'
    when v_is_partitioned and p_partition_key is null then 'the queue is partitioned and the partition key is missing'
    when not v_is_partitioned and p_partition_key is not null then 'the queue is not partitioned and a partition key is given'
    when num_nonnulls(p_parent_id, p_parent_fence, p_parent_step_id) not in (0, 3)
      or p_parent_id is not null and p_executor_id is null then 'the parent is incomplete'
  end;
begin
  if v_problem is not null then
    raise exception using
      errcode = 'WF101',
      message = 'cannot enqueue: ' || v_problem,
      detail = format('workflow_id=%s queue=%s name=%s', p_workflow_id, p_queue, p_name),
      hint = case v_problem
        when 'the workflow id is blank' then 'Give an id, or let the engine make one.'
        when 'the start token is missing' then 'Mint a random 63-bit number for each start.'
        when 'the priority is negative' then 'Priorities start at 0, the highest.'
        when 'the deduplication id is empty' then 'Leave it out, or give a text.'
        when 'the delay is negative' then 'A delay is a duration from now.'
        when 'the timeout is not positive' then 'A timeout is a duration that starts at the claim.'
        when 'the partition key is empty' then 'Leave it out, or give a text.'
        when 'the queue is partitioned and the partition key is missing'
          then 'Give a partition key: SetEnqueueOptions(queue_partition_key=...).'
        when 'the queue is not partitioned and a partition key is given'
          then 'Declare the queue as partitioned, or leave the partition key out.'
        when 'the parent is incomplete'
          then 'A child is enqueued by the executor that runs its parent, with the parent''s fence and step id.'
        else 'Give a text that is not empty.'
      end;
  end if;
  return coalesce(p_priority, 0);
end;
$function$;

comment on function pyengine._check_enqueue(
  bigint, bigint, text, text, text, text, text, integer, text, interval, interval, text, bigint, integer
) is 'Refuse what cannot be enqueued; the priority it is enqueued with. Raises WF101.';
