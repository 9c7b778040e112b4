-- _beat: renew an executor's lease, forget what housekeeping held against it, and drop its old interrupts.
--
-- One that rested is awake from now on, with its ordinary lease.
-- An executor that is dead or unknown is left as it is: the caller looks.
-- The liveness lock counts only while the beat runs on the backend that took it: pid and start, since pids are used again.
-- An interrupt stays while its fence is held: a claim that arrives late must not run the workflow under it again (_take_rows).
-- Fence: the dead mark, judged on the row itself. Repeat: renews again. Locks: executors row, interrupts rows of this executor. Raises: nothing.
create or replace function pyengine._beat(p_executor_id bigint, p_nonce bigint, p_held_fences bigint[])
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $function$
declare
  v_backend_start timestamptz;
begin
  select a.backend_start
  into v_backend_start
  from pg_stat_get_activity(pg_backend_pid()) as a;

  update pyengine.executors as e
  set lease_expires_at = pyengine._now() + e.lease_ttl,
    beat_at = pyengine._now(),
    woke_at = case when e.rests_for is null then e.woke_at else pyengine._now() end,
    rests_for = null,
    liveness_missed_at = null,
    liveness_pid = case
      when e.liveness_pid = pg_backend_pid() and e.liveness_started_at = v_backend_start then e.liveness_pid
    end,
    liveness_started_at = case
      when e.liveness_pid = pg_backend_pid() and e.liveness_started_at = v_backend_start then e.liveness_started_at
    end
  where e.executor_id = p_executor_id
    and e.nonce = p_nonce
    and e.dead_at is null;

  delete from pyengine.interrupts as n
  where n.executor_id = p_executor_id
    and n.raised_at < pyengine._now() - interval '60 seconds'
    and n.fence <> all (p_held_fences);
end;
$function$;

comment on function pyengine._beat(bigint, bigint, bigint[]) is 'Renew an executor''s lease and drop its old interrupts.';
