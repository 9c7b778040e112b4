-- _insert_enqueued: the in-flight row of a new workflow on a queue; returns the holder when its deduplication key is taken.
--
-- Fence:  the caller's.
-- Repeat: the caller's: only called for a header that the same transaction has inserted.
-- Locks:  lane (key share), in-flight insert by deduplication key.
-- Raises: 40001 when the key changes hands without end.
create or replace function pyengine._insert_enqueued(
  p_workflow_id text,
  p_queue text,
  p_application text,
  p_partition_key text,
  p_priority integer,
  p_deduplication_id text,
  p_app_version text,
  p_delay interval,
  p_timeout interval,
  p_deadline timestamptz,
  p_max_recovery_attempts integer
)
returns text
language plpgsql
volatile
security invoker
as $function$
declare
  v_is_delayed constant boolean := coalesce(p_delay > interval '0', false);
  v_holder_id text;
begin
  -- A delayed row gets its lane when it is released.
  if p_partition_key is not null and not v_is_delayed then
    perform pyengine._open_lane(p_queue, p_application, p_partition_key);
  end if;

  for v_round in 1 .. 100 loop
    insert into pyengine.in_flight (
      workflow_id, status, queue, partition_key, priority, application, app_version, run_at, timeout, deadline,
      max_recovery_attempts, deduplication_id
    )
    values (
      p_workflow_id, case when v_is_delayed then 'DELAYED' else 'ENQUEUED' end, p_queue, p_partition_key, p_priority,
      p_application, p_app_version, case when v_is_delayed then pyengine._now() + p_delay end, p_timeout, p_deadline,
      p_max_recovery_attempts, p_deduplication_id
    )
    on conflict (queue, application, deduplication_id) where deduplication_id is not null do nothing;
    if found then
      return null;
    end if;

    -- A statement of its own: the holder may have been committed while the insert waited for it.
    select f.workflow_id
    into v_holder_id
    from pyengine.in_flight as f
    where f.queue = p_queue
      and f.application = p_application
      and f.deduplication_id = p_deduplication_id;
    if found then
      return v_holder_id;
    end if;
  end loop;

  raise exception using
    errcode = '40001',
    message = 'the deduplication key changes hands too fast',
    detail = format('queue=%s deduplication_id=%s', p_queue, p_deduplication_id);
end;
$function$;

comment on function pyengine._insert_enqueued(
  text, text, text, text, integer, text, text, interval, interval, timestamptz, integer
) is 'Insert the in-flight row of a new workflow on a queue, or return who holds its deduplication key.';
