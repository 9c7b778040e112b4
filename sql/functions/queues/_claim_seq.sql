-- _claim_seq: the number that a claim within limits gives its rows: not less than where what runs is counted from.
--
-- The sequence only keeps numbers apart. Where it has come to is not relied on: a failover or a restore may set it back.
--
-- Fence:  none.
-- Repeat: another number.
-- Locks:  the caller holds the queue's advisory lock.
-- Raises: nothing.
create or replace function pyengine._claim_seq(p_application text, p_queue text)
returns bigint
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  return (
    select greatest(nextval('pyengine.in_flight_seq'), q.counted_from)
    from pyengine.queues as q
    where q.application = p_application
      and q.queue = p_queue
  );
end;
$function$;

comment on function pyengine._claim_seq(text, text) is
  'The number that a claim within limits gives its rows: not less than where what runs is counted from.';
