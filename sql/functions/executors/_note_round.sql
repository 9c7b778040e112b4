-- _note_round: write down this round of housekeeping and judge what happened since the last one; how far apart two looks at a free
-- liveness lock must lie, null: do not look at any.
--
-- An outage is no mass death. After a restart of the server, a failover, or a step of the clock (back, or a jump although the caller
--   was registered and awake all along and would have come every second), all executors get one TTL and no liveness lock is looked at
--   meanwhile: they are still reconnecting. After a mere gap, with the server up and nobody there to look, leases get
--   that TTL too, since those who would have seen them end were away; liveness locks are believed, at looks 2 s apart.
-- Not yet marked dead at the last round is what 'alive at the last tick' means; so everybody not marked is extended.
-- The instants of a clock that stepped back are worthless: leases are set, not lengthened.
-- Fence: the caller holds its lease and the housekeeping lock, so rounds follow each other.
-- Repeat: a round with nothing to judge. Crash: the round is rolled back, the next one judges the longer gap.
-- Locks: executors rows by id, housekeeping row. Raises: nothing.
create or replace function pyengine._note_round(p_executor_id bigint)
returns interval
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  v_now constant timestamptz := pyengine._now();
  v_identity constant text := pyengine._server_identity();
  v_last record;
  v_is_gap boolean;
  v_is_outage boolean;
  v_ttl interval;
begin
  select h.ticked_at, h.server_started_at, h.timeline, h.grace_until, h.careful_until
  into v_last
  from pyengine.housekeeping as h
  where h.singleton;

  if not found then
    insert into pyengine.housekeeping as h (ticked_at, server_started_at, timeline)
    values (v_now, pg_postmaster_start_time(), v_identity)
    on conflict on constraint housekeeping_pkey do nothing;
    return interval '0.5 seconds';
  end if;

  v_is_gap := v_now - v_last.ticked_at > interval '3 seconds';
  v_is_outage := v_last.server_started_at <> pg_postmaster_start_time()
    or not pyengine._same_history(v_last.timeline, v_identity)
    or v_now < v_last.ticked_at
    or v_is_gap and exists (
      select
      from pyengine.executors as e
      where e.executor_id = p_executor_id
        and greatest(e.registered_at, e.woke_at) <= v_last.ticked_at
    );

  if v_is_outage or v_is_gap then
    -- handed_over_at says nothing new, but its index serves: a forbidden scan without an alternative would be compiled (0.2 s).
    v_ttl := coalesce(
      (select max(e.lease_ttl) from pyengine.executors as e where e.dead_at is null and e.handed_over_at is null),
      interval '15 seconds'
    );
    v_last.grace_until := case when v_is_outage then v_now + v_ttl else v_last.grace_until end;
    v_last.careful_until := case when not v_is_outage then v_now + v_ttl end;

    -- Locked by id first: a supervisor renews the leases of its children at the same time, and in that order.
    update pyengine.executors as e
    set lease_expires_at = v_now + coalesce(e.rests_for, e.lease_ttl),
      liveness_missed_at = null
    where e.executor_id = any (array(
      select x.executor_id
      from pyengine.executors as x
      where x.dead_at is null
        and x.handed_over_at is null
      order by x.executor_id
      for no key update
    ));
  end if;

  update pyengine.housekeeping as h
  set ticked_at = v_now,
    server_started_at = pg_postmaster_start_time(),
    timeline = v_identity,
    grace_until = v_last.grace_until,
    careful_until = v_last.careful_until
  where h.singleton;

  return case
    when v_last.grace_until > v_now then null
    when v_last.careful_until > v_now then interval '2 seconds'
    else interval '0.5 seconds'
  end;
end;
$function$;

comment on function pyengine._note_round(bigint) is
  'Note a round of housekeeping, give grace after an outage; how far apart two looks at a liveness lock must lie.';
