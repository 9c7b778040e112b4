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
  p_suspects text,
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
  v_wanted constant integer := least(p_limit, 100);
  v_is_limited constant boolean := (
    select num_nonnulls(q.partition_concurrency, q.partition_worker_concurrency, q.partition_rate_limit) > 0
    from pyengine.queues as q
    where q.application = p_application and q.queue = p_queue
  );
  v_lanes text[];
  v_served text[] := '{}';
  v_rows tid[] := '{}';
  v_ids text[];
  v_choice record;
  v_room integer;
begin
  v_lanes := case
    when p_suspects = 'only' then pyengine._lock_suspects_lanes(p_application, p_app_version, p_queue)
    else pyengine._lock_lanes(
      p_executor_id, p_application, p_app_version, p_unversioned, p_suspects, p_queue, v_wanted, p_now
    )
  end;

  -- Statements of their own: the counts and reads see what the last holder of a lane has committed.
  for v_turn in 1 .. cardinality(v_lanes) loop
    -- What early lanes leave of their share goes to the later ones.
    v_room := ceil((p_limit - cardinality(v_rows))::numeric / (cardinality(v_lanes) - v_turn + 1));
    if v_is_limited then
      v_room := pyengine._lane_room(p_application, p_queue, v_lanes[v_turn], p_executor_id, v_room, p_now);
    end if;
    continue when v_room <= 0;

    select c.chosen, c.is_alone
    into v_choice
    from pyengine._choose_rows(
      p_application, p_app_version, p_unversioned, p_suspects, p_queue, v_lanes[v_turn], v_room, null, null
    ) as c;
    -- A row that brings executors down is claimed alone, by the whole call: else its lane keeps its place for the next one.
    continue when cardinality(v_choice.chosen) = 0 or v_choice.is_alone and cardinality(v_rows) > 0;
    v_served := v_served || v_lanes[v_turn];
    v_rows := v_rows || v_choice.chosen;
    exit when v_choice.is_alone or cardinality(v_rows) >= p_limit;
  end loop;

  if p_suspects <> 'only'
    and pyengine._rotate_lanes(p_application, p_queue, v_lanes, v_wanted, p_now)
    and cardinality(v_rows) = 0
  then
    return null;
  end if;
  v_ids := pyengine._take_rows(p_executor_id, p_fence, p_app_version, v_rows);
  perform pyengine._leave_lanes(p_application, p_queue, v_served, p_suspects <> 'only' and cardinality(v_lanes) < v_wanted, p_now);
  return v_ids;
end;
$function$;

comment on function pyengine._claim_lanes(bigint, bigint, text, text, boolean, text, text, integer, timestamptz) is
  'Take claimable rows of a partitioned queue, the longest unserved partitions first, each its fair share.';
