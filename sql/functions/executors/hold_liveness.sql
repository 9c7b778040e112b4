-- hold_liveness: take the executor's liveness lock on this very connection, and say so in its row.
--
-- While it is held, the executor expires only after four TTLs; once it is free, at two looks and without a beat in between.
-- The lock lives as long as the session, whatever becomes of this transaction, so only for connections that stay the caller's.
-- A host without power says no goodbye. So the server asks after this connection's other end (keepalives, which the kernel answers
--   whatever the process does) and lets go of it, and of the lock, after nine tenths of the TTL without an answer.
-- Fence: the dead mark, judged on the row itself.
-- Repeat: on the same backend true, and nothing is taken twice.
-- Interleaving: an old connection of this executor that the server has not given up yet still holds the lock, or a housekeeper is
--   just looking (shared): then the column is cleared, the lease alone decides, and the caller tries again later.
-- Locks: liveness (try, session), executors row.
-- Returns: whether the lock is held by this connection. Raises: WF001 executor_fenced.
create or replace function pyengine.hold_liveness(p_executor_id bigint, p_nonce bigint)
returns boolean
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  v_key constant bigint := pyengine._advisory_key('liveness', p_executor_id::text);
  v_backend_start timestamptz;
  v_is_held boolean;
  v_ttl numeric;
begin
  select a.backend_start
  into v_backend_start
  from pg_stat_get_activity(pg_backend_pid()) as a;

  perform
  from pyengine.executors as e
  where e.executor_id = p_executor_id
    and e.nonce = p_nonce
    and e.dead_at is null
    and e.liveness_pid = pg_backend_pid()
    and e.liveness_started_at = v_backend_start;

  if found then
    return true;
  end if;

  v_is_held := pg_try_advisory_lock(v_key);

  update pyengine.executors as e
  set liveness_pid = case when v_is_held then pg_backend_pid() end,
    liveness_started_at = case when v_is_held then v_backend_start end,
    liveness_missed_at = null
  where e.executor_id = p_executor_id
    and e.nonce = p_nonce
    and e.dead_at is null
  returning extract(epoch from e.lease_ttl)
  into v_ttl;

  if not found then
    if v_is_held then
      perform pg_advisory_unlock(v_key);
    end if;
    perform pyengine._refuse_fenced(p_executor_id);
  end if;

  -- Where the system knows no tcp_user_timeout, idle + count x interval comes to the same.
  perform set_config('tcp_keepalives_idle', k.idle::text, false),
    set_config('tcp_keepalives_interval', k.interval_::text, false),
    set_config('tcp_keepalives_count', greatest(1, floor((0.9 * v_ttl - k.idle) / k.interval_))::text, false),
    set_config('tcp_user_timeout', ceil(900 * v_ttl)::text, false)
  from (select greatest(1, floor(v_ttl / 3)), greatest(1, floor(v_ttl / 15))) as k(idle, interval_);

  return v_is_held;
end;
$function$;

comment on function pyengine.hold_liveness(bigint, bigint) is
  'Hold the executor''s liveness lock on this connection; false when somebody still holds it. Raises WF001.';
