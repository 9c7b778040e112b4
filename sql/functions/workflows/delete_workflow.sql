-- delete_workflow: remove a workflow with everything that is stored of it, finished or not, in one transaction.
--
-- A run of it is over with that: its next write is refused, and its executor's next tick tells it. Its children are workflows of
-- their own and stay.
-- Fence:  takes the last owner's fence lock exclusively, before any row lock: no write of that run can land afterwards, or land half.
-- Repeat: 'unknown'.
-- Interleaving: header and in-flight row are locked, and only then is it looked, in later statements, whether the owner is still the one
--   whose fence is held; a claim, a takeover or a resume that came between makes it begin anew (40001), since a second
--   fence must not be taken after a row. A claim skips the locked row. A finish, a cancellation or a resume that waited finds
--   nothing. A start of the same id waits for the header, which goes last, and then starts a new workflow; with the header
--   first, rows of the old one could be taken for the new one's. Crash: all or nothing.
-- Locks:  the last owner's fence (exclusive), header, in-flight row, outcome, checkpoints, attempts, interrupt.
-- Raises: WF005, 40001 and 55P03 (call again).
create or replace function pyengine.delete_workflow(p_workflow_id text)
returns text
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $function$
declare
  v_seen_id bigint;
  v_owner_id bigint;
  v_fence bigint;
begin
  select coalesce(f.executor_id, o.executor_id)
  into v_seen_id
  from pyengine.workflows as w
  left join pyengine.in_flight as f on f.workflow_id = w.workflow_id
  left join pyengine.outcomes as o on o.workflow_id = w.workflow_id
  where w.workflow_id = p_workflow_id;
  if not found then
    return 'unknown';
  end if;

  if v_seen_id is not null then
    perform pyengine._seize_last_owner(v_seen_id);
  else
    perform set_config('lock_timeout', '200ms', true);
  end if;

  perform
  from pyengine.workflows as w
  where w.workflow_id = p_workflow_id
  for update;
  if not found then
    return 'unknown';
  end if;

  select f.executor_id, f.fence
  into v_owner_id, v_fence
  from pyengine.in_flight as f
  where f.workflow_id = p_workflow_id
  for update;
  if not found then
    -- A later statement than the wait: an end that came first has left its outcome.
    select o.executor_id
    into v_owner_id
    from pyengine.outcomes as o
    where o.workflow_id = p_workflow_id;
  end if;

  if v_owner_id is not null and v_owner_id is distinct from v_seen_id then
    raise exception using
      errcode = '40001',
      message = 'the workflow changed hands while it was to be deleted',
      detail = format('workflow_id=%s', p_workflow_id),
      hint = 'Call again.';
  end if;

  delete from pyengine.in_flight as f where f.workflow_id = p_workflow_id;
  perform pyengine._remove_workflows(array[p_workflow_id]);

  if v_fence is not null then
    insert into pyengine.interrupts (executor_id, workflow_id, fence, reason, raised_at)
    values (v_owner_id, p_workflow_id, v_fence, 'deleted', pyengine._now())
    on conflict on constraint interrupts_pkey do nothing;
  end if;
  return 'deleted';
end;
$function$;

comment on function pyengine.delete_workflow(text) is
  'Remove a workflow with everything that is stored of it: deleted or unknown. Raises WF005.';
