-- record_checkpoint: store what a step returned, at most once.
--
-- Fence: insert … select from the in-flight row with this fence; 'fenced' is tested before 'existing'.
-- Repeat: 'existing' with the stored values, which are the caller's own.
-- Interleaving: two writers of one step (a repeat and its late original) meet on the primary key; the second waits, then returns
--   what the first stored. A takeover waits for the fence, so no old owner's step lands after it. Against a cancellation no
--   lock is taken: a checkpoint under way may still land, and changes nothing.
-- Locks: fence (shared), checkpoint (insert).
-- Returns: verdict 'stored' | 'existing' (with the stored row) | 'fenced' | 'cancelled'. Raises: WF001, WF005.
create or replace function pyengine.record_checkpoint(
  p_executor_id bigint,
  p_nonce bigint,
  p_workflow_id text,
  p_fence bigint,
  p_step_id integer,
  p_name text,
  p_output bytea,
  p_error bytea,
  p_child_id text,
  p_elapsed interval
)
returns table (verdict text, name text, output bytea, error bytea, child_id text)
language plpgsql
volatile
security invoker
as $function$
declare
  v_now timestamptz;
begin
  v_now := pyengine._hold_lease(p_executor_id, p_nonce);

  insert into pyengine.checkpoints as c
    (workflow_id, step_id, name, output, error, child_id, started_at, completed_at)
  select i.workflow_id, p_step_id, p_name, p_output, p_error, p_child_id, v_now - coalesce(p_elapsed, interval '0'), v_now
  from pyengine.in_flight as i
  where i.workflow_id = p_workflow_id
    and i.fence = p_fence
  on conflict on constraint checkpoints_pkey do nothing;

  if found then
    verdict := 'stored';
    return next;
    return;
  end if;

  verdict := pyengine._judge_claim(p_workflow_id, p_fence);

  if verdict = 'held' then
    select 'existing', c.name, c.output, c.error, c.child_id
    into strict verdict, name, output, error, child_id
    from pyengine.checkpoints as c
    where c.workflow_id = p_workflow_id
      and c.step_id = p_step_id;
  end if;

  return next;
end;
$function$;

comment on function pyengine.record_checkpoint(
  bigint, bigint, text, bigint, integer, text, bytea, bytea, text, interval
) is 'Store a step''s result at most once: stored, existing (with the stored row), fenced or cancelled. Raises WF001, WF005.';
