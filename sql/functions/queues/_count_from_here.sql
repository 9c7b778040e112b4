-- _count_from_here: from now on, count what runs of a queue without a walk over what ran before.
--
-- While somebody holds a snapshot, each run leaves an entry in in_flight_pending_idx that cannot be removed, and a limit must count
-- every run that is not over. What makes it safe to skip: a claim within limits is made under the queue's lock, of which we are the
-- holder. So all such claims are seen here, except those still to come, and these take numbers from counted_from on; a run never
-- changes its number, and one that is over does not come back under it. Claims that saw the queue without limits, perhaps not
-- committed yet, have the number 0, which is always counted.
-- What has been running for long would keep the place back, so the oldest numbers are listed. They are few, lest a look at each of
-- them take longer than the walk.
--
-- Fence:  none.
-- Repeat: moves on to what is then the place.
-- Locks:  the caller holds the queue's advisory lock, as all that write this row do; queues row.
-- Crash:  nothing is left of a transaction that is rolled back; the place before is still right.
-- Raises: nothing.
create or replace function pyengine._count_from_here(p_application text, p_queue text)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  c_listed constant integer := 64;
  v_next constant bigint := pyengine._claim_seq(p_application, p_queue);
  v_from bigint;
  v_also bigint[];
  v_running bigint[];
begin
  select coalesce(q.counted_from, 0), case when q.counted_from is null then '{}' else 0::bigint || q.counted_also end
  into strict v_from, v_also
  from pyengine.queues as q
  where q.application = p_application
    and q.queue = p_queue;

  v_running := array(
    select f.claim_seq
    from (
      select n.claim_seq
      from unnest(v_also) as n (claim_seq)
      cross join lateral (
        select
        from pyengine.in_flight as r
        where r.status = 'PENDING' and r.queue = p_queue and r.application = p_application
          and coalesce(r.partition_key, '') = '' and r.claim_seq = n.claim_seq
        limit 1
      ) as listed
      union all
      select r.claim_seq
      from pyengine.in_flight as r
      where r.status = 'PENDING' and r.queue = p_queue and r.application = p_application
        and coalesce(r.partition_key, '') = '' and r.claim_seq >= v_from
      union all
      select r.claim_seq
      from pyengine.in_flight as r
      where r.status = 'PENDING' and r.queue = p_queue and r.application = p_application
        and coalesce(r.partition_key, '') > '' and (r.claim_seq = any (v_also) or r.claim_seq >= v_from)
    ) as f
    where f.claim_seq > 0
    group by f.claim_seq
    order by f.claim_seq
    limit c_listed + 1
  );

  update pyengine.queues as q
  set
    counted_from = coalesce(v_running[c_listed + 1], v_next),
    counted_also = v_running[:c_listed]
  where q.application = p_application
    and q.queue = p_queue;
end;
$function$;

comment on function pyengine._count_from_here(text, text) is
  'From now on, count what runs of a queue without a walk over what ran before.';
