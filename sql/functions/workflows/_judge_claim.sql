-- _judge_claim: why a write with this claim found no row: 'held', 'cancelled' or 'fenced'.
--
-- Cold path, read in one statement of its own, later than the write it explains: a writer that waited for another transaction
-- must see what that one left. 'fenced' also covers a workflow that was deleted, or that the same claim has already finished.
-- 'held' means that the claim stands, so what stopped the write was a row already stored.
-- The fence alone is matched, never the executor besides: it is random, and with both the planner may take the index over all claims
-- of an executor instead of the key.
-- Fence: none. Repeat: reads only. Locks: none. Raises: nothing.
create or replace function pyengine._judge_claim(p_workflow_id text, p_fence bigint)
returns text
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $function$
declare
  v_verdict text;
begin
  select case
      when i.fence = p_fence then 'held'
      when i.workflow_id is null and o.status = 'CANCELLED' then 'cancelled'
      else 'fenced'
    end
  into v_verdict
  from (values (p_workflow_id)) as asked (workflow_id)
  left join pyengine.in_flight as i on i.workflow_id = asked.workflow_id
  left join pyengine.outcomes as o on o.workflow_id = asked.workflow_id;

  return v_verdict;
end;
$function$;

comment on function pyengine._judge_claim(text, bigint) is
  'Explain a refused write: held, cancelled or fenced.';
