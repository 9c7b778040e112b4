-- list_steps: a workflow's recorded steps in order.
--
-- Fence:  none.
-- Repeat: reads only.
-- Locks:  none.
-- Raises: nothing; an unknown workflow has no steps.
create or replace function pyengine.list_steps(
  p_workflow_id text,
  p_load_output boolean,
  p_limit integer,
  p_offset integer
)
returns table (
  step_id integer,
  name text,
  output bytea,
  error bytea,
  child_id text,
  wake_at timestamptz,
  started_at_ms bigint,
  completed_at_ms bigint
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
    c.step_id,
    c.name,
    case when p_load_output then c.output end,
    case when p_load_output then c.error end,
    c.child_id,
    c.wake_at,
    floor(extract(epoch from c.started_at) * 1000)::bigint,
    floor(extract(epoch from c.completed_at) * 1000)::bigint
  from pyengine.checkpoints as c
  where c.workflow_id = p_workflow_id
  order by c.step_id
  limit p_limit
  offset p_offset;
end;
$function$;

comment on function pyengine.list_steps(text, boolean, integer, integer) is
  'A workflow''s recorded steps in order.';
