-- _first_turn: when the partition of an executor's queue was served that has waited longest; now at the latest, and without any.
--
-- One that is set aside for its rate has its turn in the future; what is opened meanwhile comes before it.
--
-- Fence:  none.
-- Repeat: reads only.
-- Locks:  none.
-- Raises: nothing.
create or replace function pyengine._first_turn(p_executor_id bigint, p_queue text, p_from_served_at timestamptz)
returns timestamptz
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  -- Before the look: what is opened in between is in it, or comes later.
  v_now constant timestamptz := pyengine._now();
  v_application constant text := (select e.application from pyengine.executors as e where e.executor_id = p_executor_id);
begin
  return least(v_now, (
    select l.served_at
    from pyengine.lanes as l
    where l.queue || '/' || l.application = p_queue || '/' || v_application
      and (l.queue, l.application) is not distinct from (p_queue, v_application)
      and l.served_at >= p_from_served_at
    order by l.served_at
    limit 1
  ));
end;
$function$;

comment on function pyengine._first_turn(bigint, text, timestamptz) is
  'When the partition of an executor''s queue was served that has waited longest; now at the latest.';
