-- _enter_lane: the partition key a workflow has on the queue it is moved to, with its lane open; null on an ordinary queue.
--
-- Fence:  the caller's.
-- Repeat: opens the lane again.
-- Locks:  lane.
-- Raises: WF101 invalid_argument.
create or replace function pyengine._enter_lane(
  p_workflow_id text,
  p_application text,
  p_queue text,
  p_partition_key text
)
returns text
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  perform
  from pyengine.queues as q
  where q.application = p_application
    and q.queue = p_queue
    and q.is_partitioned;
  if not found then
    return null;
  elsif p_partition_key is null then
    raise exception using
      errcode = 'WF101',
      message = 'cannot resume on a partitioned queue: the workflow has no partition key',
      detail = format('workflow_id=%s queue=%s', p_workflow_id, p_queue),
      hint = 'Resume it on a queue without partitions, or leave the queue out.';
  end if;

  perform pyengine._open_lane(p_queue, p_application, p_partition_key);
  return p_partition_key;
end;
$function$;

comment on function pyengine._enter_lane(text, text, text, text) is
  'The partition key a workflow has on the queue it is moved to, with its lane open. Raises WF101.';
