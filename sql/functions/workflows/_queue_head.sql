-- _queue_head: the place of the first row of a queue that has the version of this executor, or (p_unversioned) none; nothing of a
-- partitioned queue, where each partition has a head of its own.
--
-- What is locked counts: a claim that holds it may be rolled back.
--
-- Fence:  none.
-- Repeat: reads only.
-- Locks:  none.
-- Raises: nothing.
create or replace function pyengine._queue_head(p_executor_id bigint, p_queue text, p_unversioned boolean)
returns table (priority integer, seq bigint)
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  v_executor record;
begin
  select e.application, e.app_version
  into strict v_executor
  from pyengine.executors as e
  where e.executor_id = p_executor_id;

  if exists (select from pyengine.queues as q where q.application = v_executor.application and q.queue = p_queue and q.is_partitioned) then
    return;
  end if;

  return query
  select h.priority, h.seq
  from (
    (
      select f.priority, f.seq
      from pyengine.in_flight as f
      where f.status = 'ENQUEUED'
        and f.queue = p_queue
        and f.application = v_executor.application
        and f.app_version = v_executor.app_version
        and not f.is_suspect
      order by f.priority, f.seq
      limit 1
    )
    union all
    (
      select f.priority, f.seq
      from pyengine.in_flight as f
      where p_unversioned
        and f.status = 'ENQUEUED'
        and f.queue = p_queue
        and f.application = v_executor.application
        and f.app_version is null
        and not f.is_suspect
      order by f.app_version, f.priority, f.seq
      limit 1
    )
  ) as h
  order by h.priority, h.seq
  limit 1;
end;
$function$;

comment on function pyengine._queue_head(bigint, text, boolean) is
  'The place of the first row of a queue that an executor of this version may take.';
