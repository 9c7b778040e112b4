-- _read_start: what is known of a workflow whose id was taken: 'yours' for the start that carries its token and still runs it
-- under the same fence, else 'exists' with its name and status. No row: it was deleted meanwhile.
--
-- One statement over header, in_flight and outcomes, later than the conflict, so it sees what the other transaction committed.
-- Fence: none. Repeat: reads only. Locks: none. Raises: nothing.
create or replace function pyengine._read_start(
  p_executor_id bigint,
  p_fence bigint,
  p_start_token bigint,
  p_workflow_id text
)
returns table (
  verdict text,
  fence bigint,
  fencing_token bigint,
  deadline timestamptz,
  existing_name text,
  existing_class_name text,
  existing_config_name text,
  existing_status text
)
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $function$
begin
  return query
  select case when own.is_mine then 'yours' else 'exists' end,
    case when own.is_mine then p_fence end,
    case when own.is_mine then pyengine._fencing_token(i.claimed_at, i.token_floor) end,
    coalesce(i.deadline, o.deadline),
    h.name,
    h.class_name,
    h.config_name,
    coalesce(i.status, o.status)
  from pyengine.workflows as h
  left join pyengine.in_flight as i on i.workflow_id = h.workflow_id
  left join pyengine.outcomes as o on o.workflow_id = h.workflow_id
  cross join lateral (
    select h.start_token = p_start_token and coalesce(i.fence = p_fence and i.executor_id = p_executor_id, false)
  ) as own (is_mine)
  where h.workflow_id = p_workflow_id;
end;
$function$;

comment on function pyengine._read_start(bigint, bigint, bigint, text) is
  'What is known of a workflow whose id was taken: yours or exists, with its name and status.';
