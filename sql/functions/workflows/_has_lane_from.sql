-- _has_lane_from: whether a partition holds, from its low-water mark on, anything that an executor of this version may take.
--
-- Its mark is what p_partitions, p_priorities and p_seqs have of it: they are in order, so that stands together. Suspects are few:
-- they are looked for without it.
--
-- Fence:  none.
-- Repeat: reads only.
-- Locks:  none.
-- Raises: nothing.
create or replace function pyengine._has_lane_from(
  p_application text,
  p_app_version text,
  p_unversioned boolean,
  p_suspects text,
  p_queue text,
  p_partition_key text,
  p_partitions text[],
  p_priorities integer[],
  p_seqs bigint[]
)
returns boolean
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  v_turn integer := array_position(p_partitions, p_partition_key);
  v_until integer;
begin
  while p_partitions[v_turn] = p_partition_key loop
    v_until := case when p_partitions[v_turn + 1] = p_partition_key then p_priorities[v_turn + 1] - 1 else 2147483647 end;
    if (
      select true from pyengine.in_flight as f
      where f.status = 'ENQUEUED' and f.queue = p_queue and f.application = p_application
        and f.partition_key = p_partition_key
        and coalesce(f.app_version, '') = p_app_version and f.app_version is not distinct from p_app_version
        and (f.priority, f.seq) >= (p_priorities[v_turn], p_seqs[v_turn]) and f.priority <= v_until
        and not f.is_suspect
      order by f.priority, f.seq
      limit 1
    ) or p_unversioned and (
      select true from pyengine.in_flight as f
      where f.status = 'ENQUEUED' and f.queue = p_queue and f.application = p_application
        and f.partition_key = p_partition_key
        and coalesce(f.app_version, '') = '' and f.app_version is null
        and (f.priority, f.seq) >= (p_priorities[v_turn], p_seqs[v_turn]) and f.priority <= v_until
        and not f.is_suspect
      order by f.priority, f.seq
      limit 1
    ) then
      return true;
    end if;
    v_turn := v_turn + 1;
  end loop;

  return p_suspects = 'any' and coalesce((
    select true from pyengine.in_flight as f
    where f.status = 'ENQUEUED' and f.is_suspect and f.queue = p_queue and f.application = p_application
      and f.partition_key = p_partition_key and f.app_version = p_app_version
    limit 1
  ), false);
end;
$function$;

comment on function pyengine._has_lane_from(text, text, boolean, text, text, text, text[], integer[], bigint[]) is
  'Whether a partition holds, from its low-water mark on, anything that an executor of this version may take.';
