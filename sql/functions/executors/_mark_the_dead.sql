-- _mark_the_dead: mark executors whose lease has expired, whose liveness lock is free at two looks, or whose server is no more.
--
-- p_look_gap: how far apart the two looks must lie; null: no lock is looked at. Where the lock is held, the lease has three more TTLs
--   (a step may keep the process from beating). One that never held the lock is judged by its lease alone; where lease and lock are
--   both gone, one look is enough.
-- One that registered on another line of history (before a failover or a restore) is dead: if its process lives, it registers anew
--   before it writes here. So its work goes on at once.
-- Fence: from the caller's commit on, writes of those marked are refused.
-- Repeat: they are marked already.
-- Interleaving: a beat or a new liveness lock between the look and the mark changes the row; the mark waits for it, judges the row
--   again and finds it changed. A look takes the lock shared until the transaction ends: an executor that wants it just then
--   tries again. Locks of this very session always look free, so its own are not looked at.
-- Locks: liveness (try, shared), executors rows by id. Raises: nothing.
create or replace function pyengine._mark_the_dead(p_executor_id bigint, p_look_gap interval)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  v_now constant timestamptz := pyengine._now();
  v_identity constant text := pyengine._server_identity();
  v_own_start constant timestamptz := (select a.backend_start from pg_stat_get_activity(pg_backend_pid()) as a);
  v_other record;
  v_missed_at timestamptz;
  v_reason text;
begin
  for v_other in
    select e.executor_id, e.lease_expires_at, e.lease_ttl, e.liveness_pid, e.liveness_started_at, e.liveness_missed_at,
      e.server_identity
    from pyengine.executors as e
    where e.handed_over_at is null
      and e.dead_at is null
      and e.executor_id <> p_executor_id
    order by e.executor_id
  loop
    v_reason := null;
    v_missed_at := v_other.liveness_missed_at;

    if not pyengine._same_history(v_other.server_identity, v_identity) then
      v_reason := 'server_changed';
    elsif v_other.lease_expires_at + (case when v_other.liveness_pid is null then 0 else 3 end) * v_other.lease_ttl <= v_now then
      v_reason := 'lease_expired';
    elsif v_other.liveness_pid is not null
      and p_look_gap is not null
      and (v_other.liveness_pid, v_other.liveness_started_at) is distinct from (pg_backend_pid(), v_own_start)
    then
      if not pg_try_advisory_xact_lock_shared(pyengine._advisory_key('liveness', v_other.executor_id::text)) then
        v_missed_at := null;
      elsif v_other.lease_expires_at <= v_now then
        v_reason := 'lease_expired';
      elsif v_missed_at is null then
        v_missed_at := v_now;
      elsif v_now - v_missed_at >= p_look_gap then
        v_reason := 'liveness_lost';
      end if;
    end if;

    if v_reason is not null or v_missed_at is distinct from v_other.liveness_missed_at then
      update pyengine.executors as e
      set liveness_missed_at = v_missed_at,
        dead_at = case when v_reason is not null then pyengine._now() end,
        dead_reason = v_reason
      where e.executor_id = v_other.executor_id
        and e.dead_at is null
        and e.lease_expires_at = v_other.lease_expires_at
        and e.liveness_pid is not distinct from v_other.liveness_pid
        and e.liveness_started_at is not distinct from v_other.liveness_started_at
        and e.liveness_missed_at is not distinct from v_other.liveness_missed_at;
    end if;
  end loop;
end;
$function$;

comment on function pyengine._mark_the_dead(bigint, interval) is
  'Mark executors whose lease has expired or whose liveness lock is free at two looks.';
