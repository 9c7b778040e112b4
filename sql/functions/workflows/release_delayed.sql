-- release_delayed: make workflows runnable whose delay has passed, at most p_limit; how many.
--
-- Fence: none: nobody owns a DELAYED row. Repeat: takes the next ones.
-- Interleaving: rows that somebody else is changing (cancel, resume, another release) are skipped. Lanes are opened before the rows
--   are touched, as in an enqueue; a lane opened for a row that was skipped is empty and goes with the next claim.
-- Locks: lanes (in key order), in-flight rows (skip locked). Raises: nothing.
create or replace function pyengine.release_delayed(p_limit integer)
returns integer
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $function$
declare
  v_now constant timestamptz := pyengine._now();
  v_due text[];
  v_lane record;
  v_count integer;
begin
  v_due := array(
    select i.workflow_id
    from pyengine.in_flight as i
    where i.status = 'DELAYED'
      and i.run_at <= v_now
    order by i.run_at
    limit p_limit
  );

  for v_lane in
    select distinct i.queue, i.application, i.partition_key
    from pyengine.in_flight as i
    where i.workflow_id = any (v_due)
      and i.partition_key is not null
    order by i.queue, i.application, i.partition_key
  loop
    perform pyengine._open_lane(v_lane.queue, v_lane.application, v_lane.partition_key);
  end loop;

  update pyengine.in_flight as i
  set status = 'ENQUEUED'
  where i.ctid = any (array(
    select d.ctid
    from pyengine.in_flight as d
    where d.workflow_id = any (v_due)
      and d.status = 'DELAYED'
    order by d.workflow_id
    for update skip locked
  ));

  get diagnostics v_count = row_count;
  return v_count;
end;
$function$;

comment on function pyengine.release_delayed(integer) is 'Make workflows runnable whose delay has passed, at most p_limit; how many.';
