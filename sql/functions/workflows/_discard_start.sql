-- _discard_start: undo a start of this very transaction that turned out not to count.
--
-- Deleting by hand is cheaper than a subtransaction around every start: it costs only when it happens.
--
-- Fence:  the caller's.
-- Repeat: nothing left to delete.
-- Locks:  header, in-flight row: both are the transaction's own, so nobody is waited for.
-- Raises: nothing.
create or replace function pyengine._discard_start(p_workflow_id text, p_start_token bigint)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  delete from pyengine.workflows as w
  where w.workflow_id = p_workflow_id
    and w.start_token = p_start_token;

  delete from pyengine.in_flight as f
  where f.workflow_id = p_workflow_id;
end;
$function$;

comment on function pyengine._discard_start(text, bigint) is
  'Undo a start of this very transaction that turned out not to count.';
