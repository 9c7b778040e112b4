-- _claim_lanes: take claimable rows of a partitioned queue, the longest unserved partitions first, each its fair share.
--
-- Fence:  the caller holds the lease.
-- Repeat: the caller's.
-- Locks:  lanes (no key update, skip locked: enqueues hold key share and are not in the way), in-flight rows (skip locked).
--         An emptied lane is deleted by _drop_lanes, under a stronger lock.
-- Raises: nothing.
create or replace function pyengine._claim_lanes(
  p_executor_id bigint,
  p_fence bigint,
  p_application text,
  p_app_version text,
  p_unversioned boolean,
  p_queue text,
  p_limit integer,
  p_now timestamptz
)
returns text[]
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  v_lanes text[];
  v_served text[] := '{}';
  v_ids text[] := '{}';
  v_taken text[];
  v_room integer;
begin
  v_lanes := pyengine._lock_lanes(
    p_executor_id, p_application, p_app_version, p_unversioned, p_queue, least(p_limit, 100), p_now
  );

  -- Statements of their own: the counts and reads see what the last holder of a lane has committed.
  for v_turn in 1 .. cardinality(v_lanes) loop
    exit when cardinality(v_ids) >= p_limit;
    -- What early lanes leave of their share goes to the later ones.
    v_room := pyengine._lane_room(
      p_application, p_queue, v_lanes[v_turn], p_executor_id,
      ceil((p_limit - cardinality(v_ids))::numeric / (cardinality(v_lanes) - v_turn + 1))::integer, p_now
    );
    continue when v_room <= 0;

    v_taken := pyengine._claim_rows(
      p_executor_id, p_fence, p_application, p_app_version, p_unversioned, p_queue, v_lanes[v_turn], v_room,
      cardinality(v_ids) = 0, p_now
    );
    continue when cardinality(v_taken) = 0;
    v_served := v_served || v_lanes[v_turn];
    v_ids := v_ids || v_taken;
    -- A row that brings executors down is claimed alone, by the whole call.
    exit when cardinality(v_ids) = 1 and exists (
      select from pyengine.in_flight as f where f.workflow_id = v_ids[1] and f.crashes >= 3
    );
  end loop;

  perform pyengine._leave_lanes(p_application, p_queue, v_served, cardinality(v_lanes) < least(p_limit, 100), p_now);
  if cardinality(v_ids) = 0 and pyengine._rotate_lanes(p_application, p_queue, p_now) then
    return null;
  end if;
  return v_ids;
end;
$function$;

comment on function pyengine._claim_lanes(bigint, bigint, text, text, boolean, text, integer, timestamptz) is
  'Take claimable rows of a partitioned queue, the longest unserved partitions first, each its fair share.';
