-- _claim_lanes: take claimable rows of a partitioned queue, the longest unserved partitions first, each its fair share.
--
-- p_is_limited: the caller holds the queue's lock.
-- p_from_…: a low-water mark, see claim_workflows. The lanes in it are known by their keys; those before p_from_served_at are not
--   looked for. Empty, and '-infinity': all from the head.
--
-- Fence:  the caller holds the lease.
-- Repeat: the caller's.
-- Locks:  lanes (no key update, skip locked: enqueues hold key share and are not in the way), in-flight rows (skip locked); queues
--         row (only under the queue's lock, see _count_from_here). An emptied lane is deleted by _leave_lanes, under a stronger lock.
-- Raises: nothing.
create or replace function pyengine._claim_lanes(
  p_executor_id bigint,
  p_fence bigint,
  p_application text,
  p_app_version text,
  p_unversioned boolean,
  p_suspects text,
  p_queue text,
  p_is_limited boolean,
  p_limit integer,
  p_from_partitions text[],
  p_from_priorities integer[],
  p_from_seqs bigint[],
  p_from_served_at timestamptz,
  p_now timestamptz
)
returns text[]
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  -- More than a look at a thousand lanes needs.
  c_waded constant integer := 4000;
  v_before constant bigint := coalesce(pg_stat_get_xact_tuples_returned('pyengine.lanes_served_idx'::regclass), 0);
  v_wanted constant integer := least(p_limit, 100);
  v_is_limited constant boolean := (
    select num_nonnulls(q.partition_concurrency, q.partition_worker_concurrency, q.partition_rate_limit) > 0
    from pyengine.queues as q
    where q.application = p_application and q.queue = p_queue
  );
  -- Once for all that looks at lanes: with less than a thousand, it is a walk over all of them.
  v_horizon timestamptz := pyengine._lanes_horizon(p_application, p_queue, p_from_served_at);
  v_is_wading boolean;
  v_dead_before bigint;
  v_lanes text[];
  v_places tid[];
  v_mark integer[];
  v_served text[] := '{}';
  v_served_places tid[] := '{}';
  v_rows tid[] := '{}';
  v_ids text[];
  v_choice record;
  v_room integer;
begin
  if p_suspects = 'only' then
    v_lanes := pyengine._lock_suspects_lanes(p_application, p_app_version, p_queue);
    v_places := pyengine._find_lanes(p_application, p_queue, v_lanes);
  else
    select l.keys, l.places
    into strict v_lanes, v_places
    from pyengine._lock_lanes(
      p_executor_id, p_application, p_app_version, p_unversioned, p_suspects, p_queue, v_wanted,
      p_from_partitions, p_from_priorities, p_from_seqs, p_from_served_at, v_horizon, p_now
    ) as l;
  end if;
  v_is_wading := p_from_served_at > '-infinity'
    or pg_stat_get_xact_tuples_returned('pyengine.lanes_served_idx'::regclass) - v_before > c_waded;

  v_dead_before := pyengine._dead_walked();
  -- Statements of their own: the counts and reads see what the last holder of a lane has committed.
  for v_turn in 1 .. cardinality(v_lanes) loop
    -- What early lanes leave of their share goes to the later ones.
    v_room := ceil((p_limit - cardinality(v_rows))::numeric / (cardinality(v_lanes) - v_turn + 1));
    if v_is_limited then
      v_room := pyengine._lane_room(p_application, p_queue, v_lanes[v_turn], p_executor_id, v_room, p_now);
    end if;
    continue when v_room <= 0;

    v_mark := array_positions(p_from_partitions, v_lanes[v_turn]);
    select c.chosen, c.is_alone
    into v_choice
    from pyengine._choose_rows(
      p_application, p_app_version, p_unversioned, p_suspects, p_queue, v_lanes[v_turn], v_room,
      p_from_priorities[v_mark[1]:v_mark[cardinality(v_mark)]], p_from_seqs[v_mark[1]:v_mark[cardinality(v_mark)]]
    ) as c;
    -- A row that brings executors down is claimed alone, by the whole call: else its lane keeps its place for the next one.
    continue when cardinality(v_choice.chosen) = 0 or v_choice.is_alone and cardinality(v_rows) > 0;
    v_served := v_served || v_lanes[v_turn];
    v_served_places := v_served_places || v_places[v_turn];
    v_rows := v_rows || v_choice.chosen;
    exit when v_choice.is_alone or cardinality(v_rows) >= p_limit;
  end loop;

  if p_suspects <> 'only'
    and pyengine._rotate_lanes(
      p_application, p_queue, v_lanes, v_places, v_wanted, v_is_wading, p_from_partitions, p_from_served_at, v_horizon, p_now
    )
  then
    if cardinality(v_rows) = 0 then
      return null;
    end if;
    v_horizon := pyengine._lanes_horizon(p_application, p_queue, p_from_served_at);
  end if;
  if p_is_limited and v_is_limited and pyengine._dead_walked() - v_dead_before > c_waded then
    perform pyengine._count_from_here(p_application, p_queue);
  end if;
  v_ids := pyengine._take_rows(p_executor_id, p_fence, p_app_version, case
    when p_is_limited then pyengine._claim_seq(p_application, p_queue) else 0 end, v_rows);
  perform pyengine._leave_lanes(
    p_application, p_queue, v_served, v_served_places, p_suspects <> 'only' and cardinality(v_lanes) < v_wanted,
    p_from_partitions, p_from_served_at, v_horizon, p_now
  );
  return v_ids;
end;
$function$;

comment on function pyengine._claim_lanes(
  bigint, bigint, text, text, boolean, text, text, boolean, integer, text[], integer[], bigint[], timestamptz, timestamptz
) is 'Take claimable rows of a partitioned queue, the longest unserved partitions first, each its fair share.';
