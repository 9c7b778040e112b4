-- prune_executors: forget executors whose work was handed over more than a day ago, at most p_limit; how many.
--
-- Their labels are kept, in a narrow table: outcomes name their executor by its id, and status reads tell the label. Nothing else
-- needs the row: a late write of a forgotten executor is refused as one of an unknown, and a resume locks by the id alone.
--
-- Fence: handed over is final: nobody is given work in this row's name any more. A row that in-flight work still names is kept, for
--   doctor to show.
-- Repeat: forgets the next ones.
-- Interleaving: rows that somebody else is just forgetting are skipped. A takeover that comes late finds no executor and says so
--   (WF101), as for any other that has nothing to hand over. Crash: one statement, all or nothing.
-- Locks: executors rows (skip locked), interrupts, former_executors rows (insert).
-- Raises: nothing.
create or replace function pyengine.prune_executors(p_limit integer)
returns integer
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $function$
declare
  v_before constant timestamptz := pyengine._now() - interval '1 day';
  v_count integer;
begin
  perform set_config('synchronous_commit', 'off', true);

  with gone as (
    delete from pyengine.executors as e
    where e.ctid = any (array(
      select x.ctid
      from pyengine.executors as x
      where x.handed_over_at <= v_before
        and not exists (select from pyengine.in_flight as i where i.executor_id = x.executor_id)
      order by x.handed_over_at
      limit p_limit
      for update skip locked
    ))
    returning e.executor_id, e.label, e.handed_over_at
  ),
  hints as (
    delete from pyengine.interrupts as n
    using gone as g
    where n.executor_id = g.executor_id
  )
  insert into pyengine.former_executors as f (executor_id, label, handed_over_at)
  select g.executor_id, g.label, g.handed_over_at
  from gone as g
  on conflict on constraint former_executors_pkey do update
  set label = excluded.label,
    handed_over_at = excluded.handed_over_at;

  get diagnostics v_count = row_count;
  return v_count;
end;
$function$;

comment on function pyengine.prune_executors(integer) is
  'Forget executors whose work was handed over more than a day ago, except for their labels; how many.';
