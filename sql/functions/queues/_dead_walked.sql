-- _dead_walked: how many entries of what runs this transaction has looked at so far that led to no row: what was over.
--
-- Counted by the server's own statistics of the two indexes, not by time.
--
-- Fence:  none.
-- Repeat: reads only.
-- Locks:  none.
-- Raises: nothing.
create or replace function pyengine._dead_walked()
returns bigint
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  return coalesce(pg_stat_get_xact_tuples_returned('pyengine.in_flight_pending_idx'::regclass), 0)
    - coalesce(pg_stat_get_xact_tuples_fetched('pyengine.in_flight_pending_idx'::regclass), 0)
    + coalesce(pg_stat_get_xact_tuples_returned('pyengine.in_flight_executor_idx'::regclass), 0)
    - coalesce(pg_stat_get_xact_tuples_fetched('pyengine.in_flight_executor_idx'::regclass), 0);
end;
$function$;

comment on function pyengine._dead_walked() is
  'How many entries of what runs this transaction has looked at so far that led to no row.';
