-- _existing_start: what is known of a workflow whose id was taken, and whether this start token took it.
--
-- Fence:  none.
-- Repeat: reads only.
-- Locks:  none.
-- Raises: nothing. No row means that the workflow was deleted meanwhile: the caller starts again.
create or replace function pyengine._existing_start(p_workflow_id text, p_start_token bigint)
returns table (verdict text, name text, class_name text, config_name text, queue text, status text)
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  return query
  select
    case when w.start_token = p_start_token then 'yours' else 'exists' end,
    w.name,
    w.class_name,
    w.config_name,
    coalesce(f.queue, o.queue),
    coalesce(f.status, o.status)
  from pyengine.workflows as w
  left join pyengine.in_flight as f on f.workflow_id = w.workflow_id
  left join pyengine.outcomes as o on o.workflow_id = w.workflow_id
  where w.workflow_id = p_workflow_id;
end;
$function$;

comment on function pyengine._existing_start(text, bigint) is
  'What is known of a workflow whose id was taken, and whether this start token took it.';
