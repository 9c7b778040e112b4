-- housekeep: one round of housekeeping, in whichever executor comes first; what is to be done comes back as rows.
--
-- The duties are calls of their own, each its own transaction: ('take_over', executor) → take_over_executor,
--   ('release_delayed', null) → release_delayed, ('expire_deadlines', null) → expire_deadlines, ('prune_executors', null) →
--   prune_executors, ('look_again', null) → come back in half a second, not in a whole one: somebody may be dead. So a housekeeper
--   that freezes between them holds nothing, and the mark of the dead is committed before anything is moved.
-- p_looks_for_the_dead: false when the caller lost its own connection a moment ago: others may have lost theirs too and are only slower
--   to come back. It then leaves rounds to others, unless nobody else does them, and marks nobody.
-- Fence: the caller must be alive itself.
-- Repeat: nothing, for half a second; and nothing while another session is at it.
-- Interleaving: rounds follow each other on the housekeeping lock; the state is read after it. Duties of two rounds may overlap:
--   each of them can be done twice.
-- Durability: asynchronous. A later transaction acts on a mark, and its commit makes the mark durable too.
-- Locks: fence (shared), housekeeping (try), liveness (try, shared), executors rows, housekeeping row.
-- Raises: WF001, WF005.
create or replace function pyengine.housekeep(p_executor_id bigint, p_nonce bigint, p_looks_for_the_dead boolean)
returns table (duty text, subject bigint)
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $function$
declare
  v_now timestamptz := pyengine._now();
  v_pause constant interval := case when p_looks_for_the_dead then interval '0.5 seconds' else interval '1.5 seconds' end;
  v_look_gap interval;
begin
  perform
  from pyengine.housekeeping as h
  where h.singleton
    and h.ticked_at > v_now - v_pause
    and h.ticked_at <= v_now
    and h.server_started_at = pg_postmaster_start_time();

  if found then
    return;
  end if;

  perform pyengine._hold_lease(p_executor_id, p_nonce);

  if not pg_try_advisory_xact_lock(pyengine._advisory_key('housekeeping', 'round')) then
    return;
  end if;

  perform set_config('synchronous_commit', 'off', true);
  v_look_gap := pyengine._note_round(p_executor_id);
  if p_looks_for_the_dead then
    perform pyengine._mark_the_dead(p_executor_id, v_look_gap);
  end if;
  v_now := pyengine._now();

  return query
  select 'take_over', e.executor_id
  from pyengine.executors as e
  where e.handed_over_at is null
    and e.dead_at is not null
  order by e.executor_id
  limit 64;

  -- In order, so that the index of instants serves, whatever was known of the tables when this was planned.
  if (select true from pyengine.in_flight as i where i.status = 'DELAYED' and i.run_at <= v_now order by i.run_at limit 1) then
    duty := 'release_delayed';
    return next;
  end if;

  if (select true from pyengine.in_flight as i where i.deadline <= v_now order by i.deadline limit 1) then
    duty := 'expire_deadlines';
    return next;
  end if;

  if p_looks_for_the_dead and exists (
    select
    from pyengine.executors as e
    where e.handed_over_at is null
      and e.dead_at is null
      and e.liveness_missed_at is not null
  ) then
    duty := 'look_again';
    return next;
  end if;

  if (
    select true from pyengine.executors as e where e.handed_over_at <= v_now - interval '1 day' order by e.handed_over_at limit 1
  ) then
    duty := 'prune_executors';
    return next;
  end if;

  if (
    select true from pyengine.retention as r where r.keep_for is not null and r.due_at <= v_now order by r.application limit 1
  ) then
    duty := 'prune_workflows';
    return next;
  end if;
end;
$function$;

comment on function pyengine.housekeep(bigint, bigint, boolean) is
  'One round of housekeeping: mark the dead, and tell what is to be done. Raises WF001, WF005.';
