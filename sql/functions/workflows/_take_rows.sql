-- _take_rows: make locked rows PENDING for an executor.
--
-- The instant is read here, after the counts that made room: a claim is never dated before the finish it waited for, and no start
-- of a rated queue earlier than it was.
--
-- A row without a version gets the executor's: whoever recovers the workflow must run the code that began it.
--
-- p_claim_seq: of a queue with limits the claim's number (_claim_seq), else 0.
--
-- A claim may arrive again long after its repeat was answered, when its rows have ended. Of those it gets none back that were
-- cancelled and then resumed: the run before may still be writing under this very fence. Its interrupt tells.
--
-- Fence:  the caller holds the lease; p_fence becomes the rows' fence.
-- Repeat: the caller's.
-- Locks:  in-flight rows that the caller has locked already.
-- Raises: nothing.
create or replace function pyengine._take_rows(
  p_executor_id bigint,
  p_fence bigint,
  p_app_version text,
  p_claim_seq bigint,
  p_rows tid[]
)
returns text[]
language plpgsql
volatile
security invoker
as $function$
declare
  v_now constant timestamptz := pyengine._now();
  v_ids text[];
begin
  if cardinality(p_rows) = 0 then
    return '{}';
  end if;

  with taken as (
    update pyengine.in_flight as f
    set
      status = 'PENDING',
      executor_id = p_executor_id,
      fence = p_fence,
      claimed_at = v_now,
      claim_seq = p_claim_seq,
      attempts = f.attempts + 1,
      app_version = coalesce(f.app_version, p_app_version),
      deadline = coalesce(f.deadline, v_now + f.timeout)
    where f.ctid = any (p_rows)
      and not exists (
        select
        from pyengine.interrupts as n
        where n.executor_id = p_executor_id
          and n.workflow_id = f.workflow_id
          and n.fence = p_fence
      )
    returning f.workflow_id
  )
  select array_agg(t.workflow_id)
  into v_ids
  from taken as t;
  return coalesce(v_ids, '{}');
end;
$function$;

comment on function pyengine._take_rows(bigint, bigint, text, bigint, tid[]) is
  'Make locked rows PENDING for an executor.';
