-- _lock_lane_head: lock the first rows of a partition that have one version (null: none), but no suspects, and return their addresses.
--
-- The index knows no version as an empty one. The second condition is exact.
--
-- Fence:  the caller's.
-- Repeat: a second call finds rows that this transaction has locked itself.
-- Locks:  in-flight rows (skip locked).
-- Raises: nothing.
create or replace function pyengine._lock_lane_head(
  p_application text,
  p_app_version text,
  p_queue text,
  p_partition_key text,
  p_limit integer
)
returns tid[]
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  return array(
    select f.ctid
    from pyengine.in_flight as f
    where f.status = 'ENQUEUED'
      and f.queue = p_queue
      and f.application = p_application
      and f.partition_key = p_partition_key
      and coalesce(f.app_version, '') = coalesce(p_app_version, '')
      and f.app_version is not distinct from p_app_version
      and not f.is_suspect
    order by f.priority, f.seq
    limit p_limit
    for update skip locked
  );
end;
$function$;

comment on function pyengine._lock_lane_head(text, text, text, text, integer) is
  'Lock the first rows of a partition that have one version and return their addresses.';
