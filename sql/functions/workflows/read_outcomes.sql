-- read_outcomes: how those of the given workflows ended that have ended: one poll of a process for all results it waits for.
--
-- Fence:  none.
-- Repeat: reads only.
-- Locks:  none.
-- Raises: nothing; unfinished and unknown workflows have no row.
create or replace function pyengine.read_outcomes(p_workflow_ids text[])
returns table (workflow_id text, status text, output bytea, error bytea)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $function$
begin
  return query
  select o.workflow_id, o.status, o.output, o.error
  from pyengine.outcomes as o
  where o.workflow_id = any (p_workflow_ids);
end;
$function$;

comment on function pyengine.read_outcomes(text[]) is
  'How those of the given workflows ended that have ended.';
