-- _choose_rows: lock the first p_limit claimable rows of a queue, or of one of its partitions, by priority and arrival.
--
-- One index scan per acceptable version, so that other versions' rows never stand in the way, and one for suspects. A suspect is
-- to be claimed alone (is_alone): it comes by itself when it is first, else it waits for its turn.
--
-- p_from_priorities, p_from_seqs: the low-water mark of the queue, or of this partition (_lock_queue_from); null: it is looked
--   through from its head.
--
-- Fence:  the caller holds the lease.
-- Repeat: the caller's.
-- Locks:  in-flight rows (skip locked).
-- Raises: nothing.
create or replace function pyengine._choose_rows(
  p_application text,
  p_app_version text,
  p_unversioned boolean,
  p_suspects text,
  p_queue text,
  p_partition_key text,
  p_limit integer,
  p_from_priorities integer[],
  p_from_seqs bigint[]
)
returns table (chosen tid[], is_alone boolean)
language plpgsql
volatile
security invoker
as $function$
declare
  v_suspects tid[] := '{}';
  v_own tid[];
  v_unversioned tid[] := '{}';
begin
  if p_suspects <> 'none' then
    v_suspects := pyengine._lock_suspects_head(p_application, p_app_version, p_queue, p_partition_key);
  end if;

  if p_suspects = 'only' then
    chosen := v_suspects;
    is_alone := true;
    return next;
    return;
  end if;

  if p_from_priorities is not null and p_partition_key is null then
    v_own := pyengine._lock_queue_from(p_application, p_app_version, p_queue, p_from_priorities, p_from_seqs, p_limit);
    if p_unversioned then
      v_unversioned := pyengine._lock_queue_from(p_application, null, p_queue, p_from_priorities, p_from_seqs, p_limit);
    end if;
  elsif p_from_priorities is not null then
    v_own := pyengine._lock_lane_from(
      p_application, p_app_version, p_queue, p_partition_key, p_from_priorities, p_from_seqs, p_limit
    );
    if p_unversioned then
      v_unversioned := pyengine._lock_lane_from(
        p_application, null, p_queue, p_partition_key, p_from_priorities, p_from_seqs, p_limit
      );
    end if;
  elsif p_partition_key is null then
    v_own := pyengine._lock_queue_head(p_application, p_app_version, p_queue, p_limit);
    if p_unversioned then
      v_unversioned := pyengine._lock_queue_head(p_application, null, p_queue, p_limit);
    end if;
  else
    v_own := pyengine._lock_lane_head(p_application, p_app_version, p_queue, p_partition_key, p_limit);
    if p_unversioned then
      v_unversioned := pyengine._lock_lane_head(p_application, null, p_queue, p_partition_key, p_limit);
    end if;
  end if;

  -- One scan found all there is, in its order: nothing to merge.
  if v_suspects = '{}' and (v_own = '{}' or v_unversioned = '{}') then
    chosen := v_own || v_unversioned;
    is_alone := false;
    return next;
    return;
  end if;

  -- The rows stay locked until the end of the claim, so their addresses do not change.
  select
    array_agg(h.ctid order by h.turn) filter (where not h.is_suspect or h.turn = 1),
    bool_or(h.turn = 1 and h.is_suspect)
  into chosen, is_alone
  from (
    select f.ctid, f.is_suspect, row_number() over (order by f.priority, f.seq) as turn
    from pyengine.in_flight as f
    where f.ctid = any (v_suspects || v_own || v_unversioned)
  ) as h
  where h.turn <= p_limit;

  chosen := case when is_alone then chosen[1:1] else coalesce(chosen, '{}') end;
  is_alone := coalesce(is_alone, false);
  return next;
end;
$function$;

comment on function pyengine._choose_rows(text, text, boolean, text, text, text, integer, integer[], bigint[]) is
  'Lock the first claimable rows of a queue, or of one of its partitions, by priority and arrival.';
