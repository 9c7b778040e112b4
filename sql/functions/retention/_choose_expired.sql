-- _choose_expired: lock those of the given workflows that may be removed, and return them.
--
-- Finished before p_before, nothing of them being written any more, and without a parent that is still there: a parent that is run
-- again (after a crash, or a resume) asks for what its children returned. So a child stays for as long as its parent does.
--
-- Fence:  takes the last owners' fences in id order, one after the other and for a moment each, before any row lock. Those whose work was
--   handed over need none: their takeover has waited for their writes, and the rest is refused. What is left of one that
--   keeps its fence for long is left out; the next walk finds it.
-- Repeat: the same, as long as the caller's transaction lasts.
-- Interleaving: headers that somebody else has locked (a resume, a deletion) are left out. It is judged once more in a statement after the
--   locks: what was resumed meanwhile is in flight, or has finished just now. Crash: nothing was changed.
-- Locks:  fences (exclusive, let go of), headers by id (skip locked).
-- Raises: WF005 wrong_isolation.
create or replace function pyengine._choose_expired(p_workflow_ids text[], p_before timestamptz)
returns text[]
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $function$
declare
  v_ids text[];
  v_owners bigint[];
  v_busy bigint[] := '{}';
  v_owner bigint;
  v_kept text[];
begin
  select array_agg(o.workflow_id), array_agg(distinct o.executor_id)
  into v_ids, v_owners
  from pyengine.outcomes as o
  where o.workflow_id = any (p_workflow_ids)
    and o.completed_at <= p_before;
  if v_ids is null then
    return '{}';
  end if;

  for v_owner in
    select e.executor_id
    from pyengine.executors as e
    where e.executor_id = any (v_owners)
      and e.handed_over_at is null
    order by e.executor_id
  loop
    if not pyengine._pass_fence(v_owner) then
      v_busy := v_busy || v_owner;
    end if;
  end loop;

  v_ids := array(
    select w.workflow_id
    from pyengine.workflows as w
    where w.workflow_id = any (v_ids)
    order by w.workflow_id
    for update skip locked
  );

  -- Later statements than the locks.
  v_ids := array(
    select o.workflow_id
    from pyengine.outcomes as o
    where o.workflow_id = any (v_ids)
      and o.completed_at <= p_before
      and coalesce(o.executor_id <> all (v_busy), true)
  );

  loop
    v_kept := array(
      select w.workflow_id
      from pyengine.workflows as w
      where w.workflow_id = any (v_ids)
        and w.parent_id <> all (v_ids)
        and (select true from pyengine.workflows as p where p.workflow_id = w.parent_id)
    );
    exit when v_kept = '{}';
    v_ids := array(select x.id from unnest(v_ids) as x (id) where x.id <> all (v_kept));
  end loop;

  return v_ids;
end;
$function$;

comment on function pyengine._choose_expired(text[], timestamptz) is
  'Lock and return those of the given workflows that finished before an instant and may be removed. Raises WF005.';
