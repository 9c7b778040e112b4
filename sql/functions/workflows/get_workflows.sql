-- get_workflows: the status of the given workflows, inputs and results included.
--
-- Fence:  none.
-- Repeat: reads only, in one statement: a workflow is never seen in two places or in none.
-- Locks:  none.
-- Raises: nothing; unknown ids have no row.
create or replace function pyengine.get_workflows(p_workflow_ids text[])
returns table (
  workflow_id text,
  status text,
  name text,
  class_name text,
  config_name text,
  authenticated_user text,
  assumed_role text,
  authenticated_roles text[],
  input bytea,
  output bytea,
  error bytea,
  created_at_ms bigint,
  updated_at_ms bigint,
  queue_name text,
  executor_id text,
  app_version text,
  app_id text,
  application_name text,
  workflow_timeout_ms bigint,
  workflow_deadline_epoch_ms bigint,
  deduplication_id text,
  priority integer,
  queue_partition_key text,
  forked_from text,
  parent_workflow_id text,
  dequeued_at_ms bigint,
  delay_until_epoch_ms bigint,
  completed_at_ms bigint,
  attributes jsonb,
  schedule_name text,
  recovery_attempts integer
)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $function$
begin
  return query
  select
    v.workflow_id, v.status, v.name, v.class_name, v.config_name, v.authenticated_user, v.assumed_role,
    v.authenticated_roles, v.input, v.output, v.error, v.created_at_ms, v.updated_at_ms, v.queue_name, v.executor_id,
    v.app_version, v.app_id, v.application_name, v.workflow_timeout_ms, v.workflow_deadline_epoch_ms,
    v.deduplication_id, v.priority, v.queue_partition_key, v.forked_from, v.parent_workflow_id, v.dequeued_at_ms,
    v.delay_until_epoch_ms, v.completed_at_ms, v.attributes, v.schedule_name, v.recovery_attempts
  from pyengine.workflow_status as v
  where v.workflow_id = any (p_workflow_ids);
end;
$function$;

comment on function pyengine.get_workflows(text[]) is
  'The status of the given workflows, inputs and results included.';
