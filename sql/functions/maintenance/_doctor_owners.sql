-- _doctor_owners: invariant 2: who runs something is alive, or is taken over in time.
--
-- Only where somebody has been there for long enough to take over; with nobody alive, _doctor_waiting says what is stranded.
--
-- Fence:  none.
-- Repeat: reads only.
-- Locks:  none.
-- Raises: nothing.
create or replace function pyengine._doctor_owners(p_now timestamptz)
returns table (invariant integer, subject text, problem text, remedy text)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  v_remedy constant text :=
    'Look at the logs of the other executors: their housekeeping takes over for the dead, and does not get to it.';
  v_is_watched constant boolean := exists (
    select
    from pyengine.executors as e
    where e.dead_at is null
      and e.lease_expires_at > p_now
      and e.registered_at + e.lease_ttl + interval '2 seconds' < p_now
  );
  -- An outage or a failover gives every lease one TTL more.
  v_in_grace constant boolean := exists (select from pyengine.housekeeping as h where h.grace_until > p_now);
begin
  return query
  select 2, 'workflow ' || f.workflow_id, case
      when e.executor_id is null then format('it is run by executor %s, which is unknown', f.executor_id)
      else format('it is run by executor %s, whose work was handed over', f.executor_id)
    end,
    'Report this as a bug of the engine, with the server log; cancel and resume the workflow to have it run.'
  from pyengine.in_flight as f
  left join pyengine.executors as e on e.executor_id = f.executor_id
  where f.status = 'PENDING'
    and (e.executor_id is null or e.handed_over_at is not null)
  limit 1000;

  return query
  select 2, 'executor ' || e.executor_id,
    format('dead (%s) for %s and its work was not taken over', e.dead_reason, date_trunc('second', p_now - e.dead_at)),
    v_remedy
  from pyengine.executors as e
  where v_is_watched
    and e.handed_over_at is null
    and e.dead_at + e.lease_ttl + interval '2 seconds' < p_now
    and exists (select from pyengine.in_flight as f where f.executor_id = e.executor_id)
  limit 1000;

  -- Its own lease and then as long again as a takeover may take; a process that holds its liveness lock may be silent for longer.
  return query
  select 2, 'executor ' || e.executor_id,
    format('its lease has been over for %s and it is not marked dead', date_trunc('second', p_now - e.lease_expires_at)),
    v_remedy
  from pyengine.executors as e
  where v_is_watched
    and not v_in_grace
    and e.handed_over_at is null
    and e.dead_at is null
    and e.lease_expires_at
      + case when e.liveness_pid is null then 1 else 4 end * e.lease_ttl + interval '2 seconds' < p_now
    and exists (select from pyengine.in_flight as f where f.executor_id = e.executor_id)
  limit 1000;
end;
$function$;

comment on function pyengine._doctor_owners(timestamptz) is
  'Invariant 2: who runs something is alive, or is taken over in time.';
