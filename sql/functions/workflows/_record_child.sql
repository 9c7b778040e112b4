-- _record_child: store in the parent's checkpoints which child a step started.
--
-- Called last in a child's start or enqueue, in the same transaction as the child's header; on another answer than 'ok' the caller
-- undoes what it has just written.
-- Fence: insert … select from the parent's in-flight row with its fence; the caller holds the executor's fence.
-- Repeat: 'ok' when the step is stored for this very child under this name.
-- Interleaving: two calls of one step meet on the primary key; the second waits and compares in a later statement.
-- Locks: checkpoint (insert).
-- Returns: 'ok' | 'fenced' | 'cancelled' | 'unexpected_step' (stored under another name or child); 'fenced' is tested first.
-- Raises: nothing.
create or replace function pyengine._record_child(
  p_parent_id text,
  p_parent_fence bigint,
  p_parent_step_id integer,
  p_name text,
  p_child_id text
)
returns text
language plpgsql
volatile
security invoker
set enable_seqscan = off
as $function$
declare
  v_now constant timestamptz := pyengine._now();
  v_is_same boolean;
begin
  insert into pyengine.checkpoints as c (workflow_id, step_id, name, child_id, started_at, completed_at)
  select i.workflow_id, p_parent_step_id, p_name, p_child_id, v_now, v_now
  from pyengine.in_flight as i
  where i.workflow_id = p_parent_id
    and i.fence = p_parent_fence
  on conflict on constraint checkpoints_pkey do nothing;

  if found then
    return 'ok';
  end if;

  select c.name = p_name and c.child_id is not distinct from p_child_id
  into v_is_same
  from pyengine.in_flight as i
  join pyengine.checkpoints as c on c.workflow_id = i.workflow_id and c.step_id = p_parent_step_id
  where i.workflow_id = p_parent_id
    and i.fence = p_parent_fence;

  if found then
    return case when v_is_same then 'ok' else 'unexpected_step' end;
  end if;

  return pyengine._judge_claim(p_parent_id, p_parent_fence);
end;
$function$;

comment on function pyengine._record_child(text, bigint, integer, text, text) is
  'Record which child a step of a parent started: ok, fenced, cancelled or unexpected_step.';
