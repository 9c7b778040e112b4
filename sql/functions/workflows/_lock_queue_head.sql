-- _lock_queue_head: lock the first rows of a queue that have one version (null: none), but no suspects, and return their addresses.
--
-- Two statements, because an index serves "= version" and "is null" but not "is not distinct from". Sorting by the version that is
-- null anyway lets the planner see that the index is in order: else it reads and sorts all of them.
--
-- Fence:  the caller's.
-- Repeat: a second call finds rows that this transaction has locked itself.
-- Locks:  in-flight rows (skip locked).
-- Raises: nothing.
create or replace function pyengine._lock_queue_head(
  p_application text,
  p_app_version text,
  p_queue text,
  p_limit integer
)
returns tid[]
language plpgsql
volatile
security invoker
as $function$
begin
  if p_app_version is null then
    return array(
      select f.ctid
      from pyengine.in_flight as f
      where f.status = 'ENQUEUED'
        and f.queue = p_queue
        and f.application = p_application
        and f.app_version is null
        and not f.is_suspect
      order by f.app_version, f.priority, f.seq
      limit p_limit
      for update skip locked
    );
  end if;

  return array(
    select f.ctid
    from pyengine.in_flight as f
    where f.status = 'ENQUEUED'
      and f.queue = p_queue
      and f.application = p_application
      and f.app_version = p_app_version
      and not f.is_suspect
    order by f.priority, f.seq
    limit p_limit
    for update skip locked
  );
end;
$function$;

comment on function pyengine._lock_queue_head(text, text, text, integer) is
  'Lock the first rows of a queue that have one version and return their addresses.';
