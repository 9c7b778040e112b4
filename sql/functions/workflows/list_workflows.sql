-- list_workflows: the status of the workflows that pass all given filters, oldest first.
--
-- The page is chosen by its keys first, and only its rows are then read whole. A filter that is null lets everything pass; arrays
-- are alternatives. Planned for the very arguments (force_custom_plan), so that filters which are not given cost nothing, and one
-- that only unfinished workflows can pass drives the search from in_flight.
--
-- Fence:  none.
-- Repeat: reads only, in one statement: a workflow is never seen in two places or in none.
-- Locks:  none.
-- Raises: nothing.
create or replace function pyengine.list_workflows(
  p_workflow_ids text[],
  p_id_prefixes text[],
  p_statuses text[],
  p_names text[],
  p_app_versions text[],
  p_queues text[],
  p_users text[],
  p_executor_labels text[],
  p_parent_ids text[],
  p_forked_from text[],
  p_schedule_names text[],
  p_applications text[],
  p_created_after timestamptz,
  p_created_before timestamptz,
  p_completed_after timestamptz,
  p_completed_before timestamptz,
  p_dequeued_after timestamptz,
  p_dequeued_before timestamptz,
  p_attributes jsonb,
  p_queues_only boolean,
  p_has_parent boolean,
  p_is_fork boolean,
  p_limit integer,
  p_offset integer,
  p_sort_desc boolean,
  p_load_input boolean,
  p_load_output boolean
)
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
set plan_cache_mode = force_custom_plan
as $function$
declare
  v_in_flight constant text[] := '{ENQUEUED,DELAYED,PENDING}';
  v_is_unfinished constant boolean := coalesce(p_queues_only, false) or coalesce(p_statuses <@ v_in_flight, false);
  v_is_finished constant boolean := num_nonnulls(p_completed_after, p_completed_before) > 0
    or not coalesce(p_statuses && v_in_flight, true);
  v_prefixes constant text[] := array(
    select replace(replace(replace(x.prefix, '\', '\\'), '%', '\%'), '_', '\_') || '%'
    from unnest(p_id_prefixes) as x(prefix)
  );
begin
  return query
  with page as (
    select w.workflow_id, w.created_at
    from pyengine.workflows as w
    left join pyengine.in_flight as f on f.workflow_id = w.workflow_id
    left join pyengine.outcomes as o on o.workflow_id = w.workflow_id
    where (not v_is_unfinished or f.status = any (v_in_flight))
      and (not v_is_finished or o.completed_at > '-infinity')
      and (not coalesce(p_queues_only, false) or f.queue is not null)
      and (p_workflow_ids is null or w.workflow_id = any (p_workflow_ids))
      and (p_id_prefixes is null or w.workflow_id like any (v_prefixes))
      and (p_statuses is null or coalesce(f.status, o.status) = any (p_statuses))
      and (p_names is null or w.name = any (p_names))
      and (p_app_versions is null or coalesce(f.app_version, o.app_version) = any (p_app_versions))
      and (p_queues is null or coalesce(f.queue, o.queue) = any (p_queues))
      and (p_users is null or w.authenticated_user = any (p_users))
      and (p_executor_labels is null or coalesce(f.executor_id, o.executor_id) in (
        select e.executor_id from pyengine.executors as e where e.label = any (p_executor_labels)
        union all
        select x.executor_id from pyengine.former_executors as x where x.label = any (p_executor_labels)
      ))
      and (p_parent_ids is null or w.parent_id = any (p_parent_ids))
      and (p_forked_from is null or w.forked_from = any (p_forked_from))
      and (p_schedule_names is null or w.schedule_name = any (p_schedule_names))
      and (p_applications is null or w.application = any (p_applications))
      and (p_created_after is null or w.created_at >= p_created_after)
      and (p_created_before is null or w.created_at <= p_created_before)
      and (p_completed_after is null or o.completed_at >= p_completed_after)
      and (p_completed_before is null or o.completed_at <= p_completed_before)
      and (p_dequeued_after is null or coalesce(f.claimed_at, o.claimed_at) >= p_dequeued_after)
      and (p_dequeued_before is null or coalesce(f.claimed_at, o.claimed_at) <= p_dequeued_before)
      and (p_attributes is null or w.attributes @> p_attributes)
      and (p_has_parent is null or (w.parent_id is not null) = p_has_parent)
      and (p_is_fork is null or (w.forked_from is not null) = p_is_fork)
    order by
      case when p_sort_desc then null else w.created_at end, case when p_sort_desc then null else w.workflow_id end,
      case when p_sort_desc then w.created_at end desc, case when p_sort_desc then w.workflow_id end desc
    limit p_limit
    offset p_offset
  )
  select
    v.workflow_id, v.status, v.name, v.class_name, v.config_name, v.authenticated_user, v.assumed_role,
    v.authenticated_roles, case when p_load_input then v.input end, case when p_load_output then v.output end,
    case when p_load_output then v.error end, v.created_at_ms, v.updated_at_ms, v.queue_name, v.executor_id,
    v.app_version, v.app_id, v.application_name, v.workflow_timeout_ms, v.workflow_deadline_epoch_ms,
    v.deduplication_id, v.priority, v.queue_partition_key, v.forked_from, v.parent_workflow_id, v.dequeued_at_ms,
    v.delay_until_epoch_ms, v.completed_at_ms, v.attributes, v.schedule_name, v.recovery_attempts
  from page as p
  join pyengine.workflow_status as v on v.workflow_id = p.workflow_id
  order by
    case when p_sort_desc then null else p.created_at end, case when p_sort_desc then null else p.workflow_id end,
    case when p_sort_desc then p.created_at end desc, case when p_sort_desc then p.workflow_id end desc;
end;
$function$;

comment on function pyengine.list_workflows(
  text[], text[], text[], text[], text[], text[], text[], text[], text[], text[], text[], text[], timestamptz,
  timestamptz, timestamptz, timestamptz, timestamptz, timestamptz, jsonb, boolean, boolean, boolean, integer,
  integer, boolean, boolean, boolean
) is 'The status of the workflows that pass all given filters, oldest first.';
