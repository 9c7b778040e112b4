-- load_claims: what a run needs of claims that the executor holds without knowing it: the reply of the claim or start was lost.
--
-- Fence: only rows that are PENDING for the caller under one of these fences.
-- Repeat: reads only. Interleaving: a row that ends or is cancelled meanwhile is missing from the answer, or its first write is
--   refused. Locks: fence (shared).
-- Raises: WF001, WF005.
create or replace function pyengine.load_claims(p_executor_id bigint, p_nonce bigint, p_fences bigint[])
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
  low_water bigint,
  lanes_served_at timestamptz
)
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $function$
declare
  v_ids text[];
begin
  perform pyengine._hold_lease(p_executor_id, p_nonce);

  v_ids := array(
    select i.workflow_id
    from pyengine.in_flight as i
    where i.executor_id = p_executor_id
      and i.fence = any (p_fences)
  );

  return query
  select c.verdict, c.workflow_id, c.fence, c.fencing_token, c.name, c.class_name, c.config_name, c.inputs, c.queue,
    c.partition_key, c.priority, c.app_version, c.attempts, c.crashes, c.replay, c.deadline, c.parent_id, c.authenticated_user, c.assumed_role,
    c.authenticated_roles, c.attributes, c.schedule_name, null::bigint, null::timestamptz
  from pyengine._describe_claims(v_ids) as c
  where c.fence = any (p_fences);
end;
$function$;

comment on function pyengine.load_claims(bigint, bigint, bigint[]) is
  'What a run needs of claims the executor holds under these fences. Raises WF001, WF005.';
