-- _leave_lanes: end a claim's visit: served lanes go to the back, empty ones go for good.
--
-- A lane is deleted only under its own lock and after another look, in a new statement: an enqueue that is still open holds the
-- lane in key share (we skip it), one that has committed is seen by that look, and a later one waits for us and opens a new lane.
--
-- p_from_partitions: they were looked at from a low-water mark, to save the walk that it takes to know that one is empty. They stay
--   until a look from the head finds nothing in them. The mark of an empty one is as good for what is put there next.
--
-- Fence:  the caller holds the lease.
-- Repeat: finds nothing more to delete.
-- Locks:  lanes (for update, skip locked).
-- Raises: nothing.
create or replace function pyengine._leave_lanes(
  p_application text,
  p_queue text,
  p_served text[],
  p_places tid[],
  p_sweep boolean,
  p_from_partitions text[],
  p_from_served_at timestamptz,
  p_horizon timestamptz,
  p_now timestamptz
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  v_empty tid[];
begin
  v_empty := array(
    select l.ctid
    from pyengine.lanes as l
    where l.ctid = any (p_places)
      and l.partition_key <> all (p_from_partitions)
      and (
        select true from pyengine.in_flight as f
        where f.status = 'ENQUEUED' and not f.is_suspect and f.queue = p_queue and f.application = p_application
          and f.partition_key = l.partition_key
        order by coalesce(f.app_version, ''), f.priority, f.seq
        limit 1
      ) is null
      and (
        select true from pyengine.in_flight as f
        where f.status = 'ENQUEUED' and f.is_suspect and f.queue = p_queue and f.application = p_application
          and f.partition_key = l.partition_key
        limit 1
      ) is null
    for update of l skip locked
  );

  -- Lanes that were emptied by others (cancelled, expired, resumed elsewhere) are found when there is little else to do.
  if p_sweep then
    v_empty := v_empty || array(
      select l.ctid
      from pyengine.lanes as l
      where l.queue || '/' || l.application = p_queue || '/' || p_application
        and (l.queue, l.application) is not distinct from (p_queue, p_application)
        and l.served_at >= p_from_served_at
        and l.served_at <= coalesce(p_horizon, 'infinity')
        and l.partition_key <> all (p_served)
        and l.partition_key <> all (p_from_partitions)
        and (
          select true from pyengine.in_flight as f
          where f.status = 'ENQUEUED' and not f.is_suspect and f.queue = p_queue and f.application = p_application
            and f.partition_key = l.partition_key
          order by coalesce(f.app_version, ''), f.priority, f.seq
          limit 1
        ) is null
        and (
          select true from pyengine.in_flight as f
          where f.status = 'ENQUEUED' and f.is_suspect and f.queue = p_queue and f.application = p_application
            and f.partition_key = l.partition_key
          limit 1
        ) is null
      order by l.served_at
      limit 100
      for update of l skip locked
    );
  end if;

  if cardinality(v_empty) > 0 then
    delete from pyengine.lanes as l
    where l.ctid = any (v_empty)
      and (
        select true from pyengine.in_flight as f
        where f.status = 'ENQUEUED' and not f.is_suspect and f.queue = p_queue and f.application = p_application
          and f.partition_key = l.partition_key
        order by coalesce(f.app_version, ''), f.priority, f.seq
        limit 1
      ) is null
      and (
        select true from pyengine.in_flight as f
        where f.status = 'ENQUEUED' and f.is_suspect and f.queue = p_queue and f.application = p_application
          and f.partition_key = l.partition_key
        limit 1
      ) is null;
  end if;

  update pyengine.lanes as l
  set served_at = p_now
  where l.ctid = any (p_places);
end;
$function$;

comment on function pyengine._leave_lanes(text, text, text[], tid[], boolean, text[], timestamptz, timestamptz, timestamptz) is
  'End a claim''s visit: served lanes go to the back, empty ones go for good.';
