-- _quarantine_is_due: whether what crashed with this executor, and too often, is to be ended now.
--
-- Not before it has crashed while it ran alone, where that can be: innocents share a process with what kills it. Alone it runs in an
-- isolated executor, which only supervisors provide; where none is, of this application and version, the count has to do.
-- Not while most of the fleet crashes: then it is not the workflows. Of at least three seats known in the last minute, more than
-- half have crashed in it; isolated ones do not count, since crashing is what they are for.
--
-- Fence:  none: a judgement by what is committed now. Two takeovers may judge differently, and each is right by what it knew.
-- Repeat: reads only.
-- Locks:  none.
-- Raises: nothing.
create or replace function pyengine._quarantine_is_due(p_dead_id bigint)
returns boolean
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $function$
declare
  v_since constant timestamptz := pyengine._now() - interval '1 minute';
  v_dead record;
  v_seats integer;
  v_crashed integer;
  v_has_supervisor boolean;
begin
  select e.application, e.app_version, e.is_supervised, e.is_isolated
  into strict v_dead
  from pyengine.executors as e
  where e.executor_id = p_dead_id;

  select
    count(distinct f.seat) filter (where not f.is_isolated),
    count(distinct f.seat) filter (
      where not f.is_isolated
        and f.dead_at > v_since
        and f.dead_reason not in ('retired', 'handed_over', 'killed')
    ),
    coalesce(bool_or(f.is_supervised and f.dead_at is null), false)
  into v_seats, v_crashed, v_has_supervisor
  from (
    -- Two scans, one of each partial index.
    select e.application, e.app_version, e.seat, e.is_supervised, e.is_isolated, e.dead_at, e.dead_reason
    from pyengine.executors as e
    where e.handed_over_at is null
    union all
    select e.application, e.app_version, e.seat, e.is_supervised, e.is_isolated, e.dead_at, e.dead_reason
    from pyengine.executors as e
    where e.handed_over_at > v_since
  ) as f
  where f.application = v_dead.application
    and f.app_version = v_dead.app_version
    and (f.dead_at is null or f.dead_at > v_since);

  return (v_dead.is_isolated or not v_dead.is_supervised and not v_has_supervisor)
    and not (v_seats >= 3 and v_crashed * 2 > v_seats);
end;
$function$;

comment on function pyengine._quarantine_is_due(bigint) is
  'Whether what crashed too often is to be ended: not before it crashed alone, not while most of the fleet crashes.';
