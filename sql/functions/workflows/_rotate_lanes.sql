-- _rotate_lanes: turn the page when none of a queue's first thousand lanes could be served; true when there is a next page.
--
-- Only thousands of lanes of another version, or at their limits, lead here. Moving them behind the others costs one bounded write
-- and keeps every claim bounded without starving anybody. A page comes again after a second at the earliest, so that nobody turns in circles.
--
-- Fence:  the caller holds the lease.
-- Repeat: turns the next page.
-- Locks:  lanes (no key update, skip locked).
-- Raises: nothing.
create or replace function pyengine._rotate_lanes(p_application text, p_queue text, p_now timestamptz)
returns boolean
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  v_horizon constant timestamptz := pyengine._lanes_horizon(p_application, p_queue);
begin
  if v_horizon is null or v_horizon > p_now - interval '1 second' then
    return false;
  end if;

  update pyengine.lanes as l
  set served_at = p_now
  where l.ctid = any (array(
    select x.ctid
    from pyengine.lanes as x
    where x.queue = p_queue
      and x.application = p_application
      and x.served_at <= v_horizon
    order by x.served_at, x.partition_key
    limit 1000
    for no key update skip locked
  ));
  return found;
end;
$function$;

comment on function pyengine._rotate_lanes(text, text, timestamptz) is
  'Turn the page when none of a queue''s first thousand lanes could be served; true when there is a next page.';
