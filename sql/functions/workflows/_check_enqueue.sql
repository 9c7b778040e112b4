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
returns void
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  -- Null when the queue is not declared (yet): a client may be there before the executors.
  v_is_partitioned constant boolean := (
    select q.is_partitioned from pyengine.queues as q where q.application = p_application and q.queue = p_queue
  );
  v_problem text;
  v_hint text;
begin
  select c.problem, c.hint
  into v_problem, v_hint
  from (values
    (coalesce(p_workflow_id, '') !~ '\S', 'the workflow id is blank', 'Give an id, or let the engine make one.'),
    (p_start_token is null, 'the start token is missing', 'Mint a random 63-bit number for each start.'),
    (coalesce(p_name, '') = '', 'the workflow has no name', null),
    (coalesce(p_application, '') = '', 'the application has no name', null),
    (coalesce(p_queue, '') !~ '\S', 'the queue has no name', null),
    (p_priority < 0, 'the priority is negative', 'Priorities start at 0, the highest.'),
    (p_deduplication_id = '', 'the deduplication id is empty', 'Leave it out, or give a text.'),
    (p_delay < interval '0', 'the delay is negative', 'A delay is a duration from now.'),
    (p_timeout <= interval '0', 'the timeout is not positive', 'A timeout is a duration that starts at the claim.'),
    (p_partition_key = '', 'the partition key is empty', 'Leave it out, or give a text.'),
    (v_is_partitioned and p_partition_key is null, 'the queue is partitioned and the partition key is missing',
      'Give a partition key: SetEnqueueOptions(queue_partition_key=...).'),
    (not v_is_partitioned and p_partition_key is not null, 'the queue is not partitioned and a partition key is given',
      'Declare the queue as partitioned, or leave the partition key out.'),
    (num_nonnulls(p_parent_id, p_parent_fence, p_parent_step_id) not in (0, 3)
      or p_parent_id is not null and p_executor_id is null, 'the parent is incomplete',
      'A child is enqueued by the executor that runs its parent, with the parent''s fence and step id.')
  ) as c(is_wrong, problem, hint)
  where c.is_wrong
  limit 1;

  if found then
    raise exception using
      errcode = 'WF101',
      message = 'cannot enqueue: ' || v_problem,
      detail = format('workflow_id=%s queue=%s name=%s', p_workflow_id, p_queue, p_name),
      hint = coalesce(v_hint, 'Give a text that is not empty.');
  end if;
end;
$function$;

comment on function pyengine._check_enqueue(
  bigint, bigint, text, text, text, text, text, integer, text, interval, interval, text, bigint, integer
) is 'Refuse what cannot be enqueued. Raises WF101.';
