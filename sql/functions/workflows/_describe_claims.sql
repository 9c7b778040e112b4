-- _describe_claims: everything a run needs of claimed workflows, in the order in which they are to start.
--
-- Inputs come along up to 64 KB in total; a row whose inputs do not fit says 'claimed_large' and they are read by get_inputs.
--
-- Callers pin the planner and the search_path: a clause of its own would cost as much as the reading.
--
-- Fence:  none: the rows tell their fence.
-- Repeat: reads only.
-- Locks:  none.
-- Raises: nothing.
create or replace function pyengine._describe_claims(p_workflow_ids text[])
returns table (
  verdict text,
  workflow_id text,
  fence bigint,
  fencing_token bigint,
  name text,
  class_name text,
  config_name text,
  inputs bytea,
  queue text,
  partition_key text,
  priority integer,
  app_version text,
  attempts integer,
  crashes integer,
  replay boolean,
  deadline timestamptz,
  parent_id text,
  authenticated_user text,
  assumed_role text,
  authenticated_roles text[],
  attributes jsonb,
  schedule_name text,
  seq bigint
)
language plpgsql
volatile
security invoker
as $function$
begin
  return query
  with claims as (
    -- octet_length knows the size of a stored value without fetching it.
    select
      f.workflow_id, f.seq, f.fence, f.claimed_at, f.token_floor, f.queue, f.partition_key, f.priority, f.app_version, f.attempts,
      f.crashes, f.replay, f.deadline, w.name, w.class_name, w.config_name, w.inputs, w.parent_id, w.authenticated_user, w.assumed_role,
      w.authenticated_roles, w.attributes, w.schedule_name,
      coalesce(octet_length(w.inputs), 0) <= 65536 and sum(
        case when octet_length(w.inputs) <= 65536 then octet_length(w.inputs) else 0 end
      ) over (order by f.priority, f.seq) <= 65536 as has_inputs
    from pyengine.in_flight as f
    join pyengine.workflows as w on w.workflow_id = f.workflow_id
    where f.workflow_id = any (p_workflow_ids)
  )
  select
    case when c.has_inputs then 'claimed' else 'claimed_large' end,
    c.workflow_id, c.fence, pyengine._fencing_token(c.claimed_at, c.token_floor), c.name, c.class_name, c.config_name,
    case when c.has_inputs then c.inputs end,
    c.queue, c.partition_key, c.priority, c.app_version, c.attempts, c.crashes, c.replay, c.deadline, c.parent_id,
    c.authenticated_user, c.assumed_role, c.authenticated_roles, c.attributes, c.schedule_name, c.seq
  from claims as c
  order by c.priority, c.seq;
end;
$function$;

comment on function pyengine._describe_claims(text[]) is
  'Everything a run needs of claimed workflows, in the order in which they are to start.';
