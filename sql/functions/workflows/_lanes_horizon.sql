-- _lanes_horizon: the turn of a queue's thousandth partition, counted from a turn on; null when there are fewer.
--
-- Fence:  none.
-- Repeat: reads only.
-- Locks:  none.
-- Raises: nothing.
create or replace function pyengine._lanes_horizon(p_application text, p_queue text, p_from_served_at timestamptz)
returns timestamptz
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  return (
    select l.served_at
    from pyengine.lanes as l
    where l.queue || '/' || l.application = p_queue || '/' || p_application
      and (l.queue, l.application) is not distinct from (p_queue, p_application)
      and l.served_at >= p_from_served_at
    order by l.served_at
    offset 999
    limit 1
  );
end;
$function$;

comment on function pyengine._lanes_horizon(text, text, timestamptz) is
  'The turn of a queue''s thousandth partition, counted from a turn on; null when there are fewer.';
