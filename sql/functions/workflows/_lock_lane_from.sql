-- _lock_lane_from: as _lock_lane_head, but begin at the partition's low-water mark: _lock_queue_from says what that is.
--
-- Fence:  the caller's.
-- Repeat: a second call finds rows that this transaction has locked itself.
-- Locks:  in-flight rows (skip locked).
-- Raises: nothing.
create or replace function pyengine._lock_lane_from(
  p_application text,
  p_app_version text,
  p_queue text,
  p_partition_key text,
  p_priorities integer[],
  p_seqs bigint[],
  p_limit integer
)
returns tid[]
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  v_rows tid[] := '{}';
begin
  for v_turn in 1 .. cardinality(p_priorities) loop
    v_rows := v_rows || array(
      select f.ctid
      from pyengine.in_flight as f
      where f.status = 'ENQUEUED'
        and f.queue = p_queue
        and f.application = p_application
        and f.partition_key = p_partition_key
        and coalesce(f.app_version, '') = coalesce(p_app_version, '')
        and f.app_version is not distinct from p_app_version
        and (f.priority, f.seq) >= (p_priorities[v_turn], p_seqs[v_turn])
        and f.priority <= coalesce(p_priorities[v_turn + 1] - 1, 2147483647)
        and not f.is_suspect
      order by f.priority, f.seq
      limit p_limit - cardinality(v_rows)
      for update skip locked
    );
    exit when cardinality(v_rows) >= p_limit;
  end loop;
  return v_rows;
end;
$function$;

comment on function pyengine._lock_lane_from(text, text, text, text, integer[], bigint[], integer) is
  'Lock the first rows of a partition from a low-water mark on and return their addresses.';
