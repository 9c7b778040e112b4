-- _has_open_lane: whether one of a queue's first partitions holds anything that an executor of this version may take.
--
-- p_from_…: a low-water mark, see claim_workflows.
--
-- Fence:  none.
-- Repeat: reads only.
-- Locks:  none.
-- Raises: nothing.
create or replace function pyengine._has_open_lane(
  p_application text,
  p_app_version text,
  p_unversioned boolean,
  p_suspects text,
  p_queue text,
  p_from_partitions text[],
  p_from_priorities integer[],
  p_from_seqs bigint[],
  p_from_served_at timestamptz
)
returns boolean
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  v_until constant timestamptz := coalesce(pyengine._lanes_horizon(p_application, p_queue, p_from_served_at), 'infinity');
begin
  return exists (
    select
    from pyengine.lanes as l
    where l.queue || '/' || l.application = p_queue || '/' || p_application
      and (l.queue, l.application) is not distinct from (p_queue, p_application)
      and l.served_at >= p_from_served_at
      and l.served_at <= v_until
      and case when l.partition_key = any (p_from_partitions) then pyengine._has_lane_from(
        p_application, p_app_version, p_unversioned, p_suspects, p_queue, l.partition_key,
        p_from_partitions, p_from_priorities, p_from_seqs
      ) else (
        (
          select true from pyengine.in_flight as f
          where f.status = 'ENQUEUED' and f.queue = p_queue and f.application = p_application
            and f.partition_key = l.partition_key
            and coalesce(f.app_version, '') = p_app_version and f.app_version is not distinct from p_app_version
            and not f.is_suspect
          order by f.priority, f.seq
          limit 1
        ) or p_unversioned and (
          select true from pyengine.in_flight as f
          where f.status = 'ENQUEUED' and f.queue = p_queue and f.application = p_application
            and f.partition_key = l.partition_key
            and coalesce(f.app_version, '') = '' and f.app_version is null
            and not f.is_suspect
          order by f.priority, f.seq
          limit 1
        ) or p_suspects = 'any' and (
          select true from pyengine.in_flight as f
          where f.status = 'ENQUEUED' and f.queue = p_queue and f.application = p_application
            and f.partition_key = l.partition_key and f.app_version = p_app_version
            and f.is_suspect
          limit 1
        )
      ) end
  );
end;
$function$;

comment on function pyengine._has_open_lane(text, text, boolean, text, text, text[], integer[], bigint[], timestamptz) is
  'Whether one of a queue''s first partitions holds anything that an executor of this version may take.';
