-- _claim_rows: take the first p_limit claimable rows of a queue, or of one of its partitions, in order of priority and arrival.
--
-- One index scan per acceptable version, so that other versions' rows never stand in the way. A row that has already brought
-- down three executors is taken alone, and only by a claim that has nothing else yet (p_may_be_alone).
--
-- Fence:  the caller holds the lease.
-- Repeat: the caller's.
-- Locks:  in-flight rows (skip locked).
-- Raises: nothing.
create or replace function pyengine._claim_rows(
  p_executor_id bigint,
  p_fence bigint,
  p_application text,
  p_app_version text,
  p_unversioned boolean,
  p_queue text,
  p_partition_key text,
  p_limit integer,
  p_may_be_alone boolean,
  p_now timestamptz
)
returns text[]
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  v_rows tid[];
  v_is_alone boolean;
begin
  if p_partition_key is null then
    v_rows := pyengine._lock_queue_head(p_application, p_app_version, p_queue, p_limit);
    if p_unversioned then
      v_rows := v_rows || pyengine._lock_queue_head(p_application, null, p_queue, p_limit);
    end if;
  else
    v_rows := pyengine._lock_lane_head(p_application, p_app_version, p_queue, p_partition_key, p_limit);
    if p_unversioned then
      v_rows := v_rows || pyengine._lock_lane_head(p_application, null, p_queue, p_partition_key, p_limit);
    end if;
  end if;
  if cardinality(v_rows) = 0 then
    return '{}';
  end if;

  -- The rows stay locked until the end of the claim, so their addresses do not change.
  select
    array_agg(h.ctid order by h.turn) filter (where h.crashes < 3 or h.turn = 1),
    bool_or(h.turn = 1 and h.crashes >= 3)
  into v_rows, v_is_alone
  from (
    select f.ctid, f.crashes, row_number() over (order by f.priority, f.seq) as turn
    from pyengine.in_flight as f
    where f.ctid = any (v_rows)
  ) as h
  where h.turn <= p_limit;

  if v_is_alone and not p_may_be_alone then
    return '{}';
  end if;
  return pyengine._take_rows(
    p_executor_id, p_fence, p_app_version, case when v_is_alone then v_rows[1:1] else v_rows end, p_now
  );
end;
$function$;

comment on function pyengine._claim_rows(
  bigint, bigint, text, text, boolean, text, text, integer, boolean, timestamptz
) is 'Take the first claimable rows of a queue, or of one of its partitions, in order of priority and arrival.';
