-- What users may read: the peer's status names and columns, over the engine's own tables.
--
-- Replaced on every install, after the functions. Reads of one workflow are one statement here, hence one snapshot: it is never
-- seen in two places or in none.
-- Instants are rounded down to milliseconds: who asks for workflows not older than what is read here finds that one, too.

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
  e.label as executor_id,
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
left join pyengine.executors as e on e.executor_id = coalesce(f.executor_id, o.executor_id);

comment on view pyengine.workflow_status is
  'Every workflow with its status, as the API tells it; executor_id is the label of the executor that runs or ran it last.';
