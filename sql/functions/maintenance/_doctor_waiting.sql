-- _doctor_waiting: invariant 5: what waits can go on, and what no live executor can run is shown.
--
-- Fence:  none.
-- Repeat: reads only.
-- Locks:  none.
-- Raises: nothing.
create or replace function pyengine._doctor_waiting(p_now timestamptz)
returns table (invariant integer, subject text, problem text, remedy text)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  return query
  select 5, format('application %s, version %s', s.application, coalesce(s.app_version, '(any)')),
    format('%s unfinished workflow(s), and no live executor can run them', s.unfinished),
    case
      when s.app_version is null then format('Start an executor of application %s.', s.application)
      else format(
        'Start an executor of application %s with version %s (DBOS__APPVERSION=%s), or cancel them.',
        s.application, s.app_version, s.app_version
      )
    end
  from pyengine._stranded() as s
  order by s.application, s.app_version
  limit 1000;

  -- A supervisor gives them a process within seconds. While one of its processes has ended just now, it may be doing so.
  return query
  select 5, format('application %s, version %s', s.application, s.app_version),
    format('%s workflow(s) that brought their processes down wait to be run alone, and no live executor may do so', s.waiting),
    'Look at the log of the supervisor, which starts a process of its own for them; or start an executor without a supervisor,'
      || ' or cancel them.'
  from (
    select f.application, f.app_version, count(*) as waiting
    from pyengine.in_flight as f
    where f.status = 'ENQUEUED'
      and f.is_suspect
    group by f.application, f.app_version
  ) as s
  where exists (
      select
      from pyengine.executors as e
      where e.application = s.application
        and e.app_version = s.app_version
        and e.dead_at is null
        and e.lease_expires_at > p_now
    )
    and not exists (
      select
      from pyengine.executors as e
      where e.application = s.application
        and e.app_version = s.app_version
        and (
          e.dead_at is null and e.lease_expires_at > p_now and (e.is_isolated or not e.is_supervised)
          or coalesce(e.handed_over_at, e.dead_at) > p_now - interval '1 minute'
        )
    )
  limit 1000;

  return query
  select 5, 'workflow ' || f.workflow_id,
    format('it was due %s ago and is still delayed', date_trunc('second', p_now - f.run_at)),
    'Look at the logs of the executors: their housekeeping releases delayed workflows, and does not get to it.'
  from pyengine.in_flight as f
  where f.status = 'DELAYED'
    and f.run_at + interval '30 seconds' < p_now
    and exists (
      select from pyengine.executors as e where e.dead_at is null and e.lease_expires_at > p_now
    )
  limit 1000;

  return query
  select 5, 'workflow ' || f.workflow_id, case
      when f.partition_key is null then format('it has no partition key, on the partitioned queue %s', f.queue)
      else format('partition %s of queue %s is not on the list of partitions with work', f.partition_key, f.queue)
    end,
    'Resume the workflow: it then runs on the internal queue.'
  from pyengine.in_flight as f
  join pyengine.queues as q on q.application = f.application and q.queue = f.queue
  left join pyengine.lanes as l
    on l.queue = f.queue and l.application = f.application and l.partition_key = f.partition_key
  where f.status = 'ENQUEUED'
    and q.is_partitioned
    and l.queue is null
  limit 1000;
end;
$function$;

comment on function pyengine._doctor_waiting(timestamptz) is
  'Invariant 5: what waits can go on, and what no live executor can run is shown.';
