-- prune_workflows: remove what has been finished for longer than its application keeps it: one batch, of the application that is due.
--
-- Headers are walked in the order of their creation, p_limit at a time, by an index that is there anyway: an index of outcomes by
-- their end would cost every workflow some hundred bytes of WAL, and a BRIN of it finds nothing any more once vacuumed pages are
-- filled again. Who finished long after its neighbours is found by another walk from the oldest, which begins when one has come to its
-- end and a day has passed (or the time of keeping, where that is shorter).
-- Once it has caught up it rests for ten seconds, and forgets the labels of executors that are older than every workflow.
-- remaining: there is probably more, call again.
--
-- Fence:  see _choose_expired. The caller needs none: whoever comes may do it.
-- Repeat: goes on with the next batch.
-- Interleaving: one batch of an application at a time; who comes second finds another application or nothing. A start of an id that is
--   just being removed waits for the header, which goes last, and begins a new workflow. A resume is either seen
--   or finds nothing. Crash: one transaction, all or nothing.
-- Durability: asynchronous. A removal that is lost is done again; what is started after it makes it durable.
-- Locks:  retention row (skip locked), fences (exclusive, let go of), headers by id (skip locked), outcomes, checkpoints, attempts,
--   former_executors rows.
-- Raises: WF005 wrong_isolation.
create or replace function pyengine.prune_workflows(p_limit integer)
returns table (pruned integer, remaining boolean)
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $function$
declare
  v_now timestamptz := pyengine._now();
  v_rule record;
  v_before timestamptz;
  v_ids text[];
  v_own text[];
  v_last timestamptz;
begin
  pruned := 0;
  remaining := false;
  perform set_config('synchronous_commit', 'off', true);

  select r.application, r.keep_for, r.begun_at, r.walk_at, r.walk_id
  into v_rule
  from pyengine.retention as r
  where r.keep_for is not null
    and r.due_at <= v_now
  order by r.due_at
  limit 1
  for update skip locked;
  if not found then
    return next;
    return;
  end if;
  v_before := v_now - v_rule.keep_for;

  select array_agg(x.workflow_id order by x.created_at, x.workflow_id), max(x.created_at),
    array_agg(x.workflow_id) filter (where x.application = v_rule.application)
  into v_ids, v_last, v_own
  from (
    select w.workflow_id, w.created_at, w.application
    from pyengine.workflows as w
    where (w.created_at, w.workflow_id) > (v_rule.walk_at, v_rule.walk_id)
      and w.created_at <= v_before
    order by w.created_at, w.workflow_id
    limit p_limit
  ) as x;

  if v_own is not null then
    v_own := pyengine._choose_expired(v_own, v_before);
    pruned := cardinality(v_own);
    if pruned > 0 then
      perform pyengine._remove_workflows(v_own);
    end if;
  end if;

  remaining := coalesce(cardinality(v_ids), 0) >= p_limit;
  if remaining or v_now between v_rule.begun_at and v_rule.begun_at + least(v_rule.keep_for, interval '1 day') then
    update pyengine.retention as r
    set due_at = case when remaining then r.due_at else v_now + least(v_rule.keep_for / 4, interval '10 seconds') end,
      walk_at = coalesce(v_last, r.walk_at),
      walk_id = coalesce(v_ids[cardinality(v_ids)], r.walk_id)
    where r.application = v_rule.application;
  else
    -- At its end, and long since its beginning (or the clock was set back): from the oldest again.
    update pyengine.retention as r
    set due_at = v_now + least(v_rule.keep_for / 4, interval '10 seconds'),
      begun_at = v_now,
      walk_at = '-infinity',
      walk_id = ''
    where r.application = v_rule.application;
  end if;

  -- To find the oldest header is a long walk while somebody holds a snapshot: not without reason.
  if not remaining and exists (select from pyengine.former_executors as x where x.handed_over_at < v_before) then
    -- No outcome is older than its header, and no executor is handed over before it has ended its last workflow.
    delete from pyengine.former_executors as f
    where f.ctid = any (array(
      select x.ctid
      from pyengine.former_executors as x
      where x.handed_over_at < coalesce((select w.created_at from pyengine.workflows as w order by w.created_at limit 1), v_before)
      order by x.handed_over_at
      limit p_limit
      for update skip locked
    ));
  end if;

  return next;
end;
$function$;

comment on function pyengine.prune_workflows(integer) is
  'Remove a batch of what finished longer ago than its application keeps it; how many, and whether more is left. Raises WF005.';
