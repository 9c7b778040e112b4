-- _lock_suspects_head: lock the first suspect of a queue, or of one of its partitions, and return its address in an array.
--
-- A suspect was claimed before, so it has a version: there is no second scan for those that have none.
--
-- Fence:  the caller's.
-- Repeat: a second call finds the row that this transaction has locked itself.
-- Locks:  in-flight row (skip locked).
-- Raises: nothing.
create or replace function pyengine._lock_suspects_head(
  p_application text,
  p_app_version text,
  p_queue text,
  p_partition_key text
)
returns tid[]
language plpgsql
volatile
security invoker
as $function$
begin
  if p_partition_key is null then
    return array(
      select f.ctid
      from pyengine.in_flight as f
      where f.status = 'ENQUEUED'
        and f.is_suspect
        and f.application = p_application
        and f.app_version = p_app_version
        and f.queue = p_queue
      order by f.priority, f.seq
      limit 1
      for update skip locked
    );
  end if;

  return array(
    select f.ctid
    from pyengine.in_flight as f
    where f.status = 'ENQUEUED'
      and f.is_suspect
      and f.application = p_application
      and f.app_version = p_app_version
      and f.queue = p_queue
      and f.partition_key = p_partition_key
    order by f.priority, f.seq
    limit 1
    for update skip locked
  );
end;
$function$;

comment on function pyengine._lock_suspects_head(text, text, text, text) is
  'Lock the first suspect of a queue, or of one of its partitions, and return its address.';
