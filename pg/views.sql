-- What users may read: the peer's status names and columns, over the engine's own tables.
--
-- Replaced on every install, after the functions. Reads of one workflow are one statement here, hence one snapshot: it is never
-- seen in two places or in none.
-- Instants are rounded down to milliseconds: who asks for workflows not older than what is read here finds that one, too.
-- Views call no function of the engine: one that a view uses could not be dropped and made anew by an install.

create or replace view pyengine.workflow_status as
select
  w.workflow_id,
  coalesce(f.status, o.status) as status,
  w.name,
  w.class_name,
  w.config_name,
  w.authenticated_user,
  w.assumed_role,
  w.authenticated_roles,
  w.inputs as input,
  o.output,
  o.error,
  floor(extract(epoch from w.created_at) * 1000)::bigint as created_at_ms,
  floor(extract(epoch from coalesce(o.completed_at, f.claimed_at, w.created_at)) * 1000)::bigint as updated_at_ms,
  coalesce(f.queue, o.queue) as queue_name,
  coalesce(e.label, x.label) as executor_id,
  coalesce(f.app_version, o.app_version) as app_version,
  null::text as app_id,
  w.application as application_name,
  (extract(epoch from coalesce(f.timeout, o.timeout)) * 1000)::bigint as workflow_timeout_ms,
  floor(extract(epoch from coalesce(f.deadline, o.deadline)) * 1000)::bigint as workflow_deadline_epoch_ms,
  coalesce(f.deduplication_id, o.deduplication_id) as deduplication_id,
  coalesce(f.priority, o.priority) as priority,
  coalesce(f.partition_key, o.partition_key) as queue_partition_key,
  w.forked_from,
  w.parent_id as parent_workflow_id,
  case
    when coalesce(f.queue, o.queue) is not null then floor(extract(epoch from coalesce(f.claimed_at, o.claimed_at)) * 1000)::bigint
  end as dequeued_at_ms,
  floor(extract(epoch from coalesce(f.run_at, o.run_at)) * 1000)::bigint as delay_until_epoch_ms,
  floor(extract(epoch from o.completed_at) * 1000)::bigint as completed_at_ms,
  w.attributes,
  w.schedule_name,
  coalesce(f.attempts, o.attempts) as recovery_attempts
from pyengine.workflows as w
left join pyengine.in_flight as f on f.workflow_id = w.workflow_id
left join pyengine.outcomes as o on o.workflow_id = w.workflow_id
left join pyengine.executors as e on e.executor_id = coalesce(f.executor_id, o.executor_id)
left join pyengine.former_executors as x on x.executor_id = coalesce(f.executor_id, o.executor_id);

comment on view pyengine.workflow_status is
  'Every workflow with its status, as the API tells it; executor_id is the label of the executor that runs or ran it last.';

create or replace view pyengine.executor_status as
select
  e.executor_id,
  case
    when e.dead_at is not null then 'DEAD'
    when e.lease_expires_at <= clock_timestamp() then 'SILENT'
    else 'ALIVE'
  end as state,
  e.label,
  e.host,
  e.pid,
  e.application,
  e.app_version,
  (select count(*) from pyengine.in_flight as f where f.executor_id = e.executor_id) as running,
  e.registered_at,
  e.beat_at,
  e.lease_expires_at,
  e.liveness_pid is not null as holds_liveness,
  e.dead_at,
  e.dead_reason,
  e.dead_detail,
  e.handed_over_at,
  e.seat,
  e.is_isolated,
  e.rests_for is not null as is_resting
from pyengine.executors as e;

comment on view pyengine.executor_status is
  'Every executor that is known, living or not: ALIVE, SILENT (its lease is over, nobody has marked it yet) or DEAD, and why.';

-- Counts what is unfinished, so it costs as much as there is: for a look a minute, not for one a request.
create or replace view pyengine.queue_status as
select
  f.application,
  f.queue as queue_name,
  f.enqueued,
  f.delayed,
  f.running,
  f.crashed,
  coalesce(extract(epoch from clock_timestamp() - greatest(w.created_at, h.run_at)), 0)::double precision as oldest_seconds,
  h.workflow_id as oldest_id
from (
  select
    i.application,
    i.queue,
    count(*) filter (where i.status = 'ENQUEUED') as enqueued,
    count(*) filter (where i.status = 'DELAYED') as delayed,
    count(*) filter (where i.status = 'PENDING') as running,
    count(*) filter (where i.crashes > 0) as crashed
  from pyengine.in_flight as i
  where i.queue is not null
  group by i.application, i.queue
) as f
left join lateral (
  select i.workflow_id, i.run_at
  from pyengine.in_flight as i
  where i.queue = f.queue
    and i.application = f.application
    and i.status = 'ENQUEUED'
  order by i.seq
  limit 1
) as h on true
left join pyengine.workflows as w on w.workflow_id = h.workflow_id;

comment on view pyengine.queue_status is
  'Unfinished work by queue: how much waits, is delayed, runs, has crashed its process, and for how long the oldest has waited.';
