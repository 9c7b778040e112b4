-- _next_due: when the next delay, deadline or other duty of housekeeping falls due, if nothing else happens; null: none will.
--
-- Retention looks for something to remove every few seconds; here it counts from when there may be some: the next header on its walk
--   comes of age, or its next walk from the oldest begins.
-- Fence: none. Repeat: reads only. Locks: none. Raises: nothing.
create or replace function pyengine._next_due()
returns timestamptz
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
as $function$
begin
  return least(
    (select i.run_at from pyengine.in_flight as i where i.status = 'DELAYED' order by i.run_at limit 1),
    (select i.deadline from pyengine.in_flight as i where i.deadline is not null order by i.deadline limit 1),
    (
      select e.handed_over_at + interval '1 day'
      from pyengine.executors as e
      where e.handed_over_at is not null
      order by e.handed_over_at
      limit 1
    ),
    (
      select min(greatest(r.due_at, least(
        r.begun_at + least(r.keep_for, interval '1 day'),
        (
          select w.created_at
          from pyengine.workflows as w
          where (w.created_at, w.workflow_id) > (r.walk_at, r.walk_id)
          order by w.created_at, w.workflow_id
          limit 1
        ) + r.keep_for
      )))
      from pyengine.retention as r
      where r.keep_for is not null
    )
  );
end;
$function$;

comment on function pyengine._next_due() is 'When the next duty of housekeeping falls due, if nothing else happens.';
