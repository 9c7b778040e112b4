-- _requeue: let an enqueued or delayed workflow go on at once on another queue; null when it is neither any more.
--
-- Its deduplication key stays behind: it belongs to the queue that was left.
--
-- Fence:  none: nobody runs the row.
-- Repeat: 'resumed' again; a row that is enqueued there already is left in its place.
-- Locks:  lane, in-flight row.
-- Raises: WF101 invalid_argument.
create or replace function pyengine._requeue(p_workflow_id text, p_queue text)
returns text
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  v_row record;
  v_key text;
begin
  select f.status, f.queue, f.application, f.partition_key
  into v_row
  from pyengine.in_flight as f
  where f.workflow_id = p_workflow_id
    and f.status in ('ENQUEUED', 'DELAYED');
  if not found then
    return null;
  elsif v_row.status = 'ENQUEUED' and v_row.queue = p_queue then
    return 'resumed';
  end if;

  v_key := pyengine._enter_lane(p_workflow_id, v_row.application, p_queue, v_row.partition_key);
  update pyengine.in_flight as f
  set
    status = 'ENQUEUED',
    queue = p_queue,
    partition_key = v_key,
    run_at = null,
    deduplication_id = case when f.queue = p_queue then f.deduplication_id end
  where f.workflow_id = p_workflow_id
    and f.status in ('ENQUEUED', 'DELAYED');
  return case when found then 'resumed' end;
end;
$function$;

comment on function pyengine._requeue(text, text) is
  'Let an enqueued or delayed workflow go on at once on another queue. Raises WF101.';
