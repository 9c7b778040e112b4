-- _rotate_lanes: send lanes that a claim had to pass over to the back, when they are many; true when it did.
--
-- Lanes of other versions, or at their limits, gather in front: each claim would look at them again. Moving them behind the others
-- costs one bounded write a round, keeps every claim bounded and starves nobody. A lane comes again after a second at the
-- earliest, so that a queue of nothing else does not turn in circles.
--
-- p_is_wading: what is left of lanes that were served long ago cannot be removed. A lane that stays where it is, whatever the reason,
--   would keep a low-water mark from moving on: then a single one is moved, too. But none that was looked at from a mark
--   (p_from_partitions): whether it has anything to do is for looks from its head to say, and they come to those in front.
--
-- Fence:  the caller holds the lease.
-- Repeat: moves the next ones, if any.
-- Locks:  lanes (no key update, skip locked).
-- Raises: nothing.
create or replace function pyengine._rotate_lanes(
  p_application text,
  p_queue text,
  p_lanes text[],
  p_places tid[],
  p_wanted integer,
  p_is_wading boolean,
  p_from_partitions text[],
  p_from_served_at timestamptz,
  p_horizon timestamptz,
  p_now timestamptz
)
returns boolean
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  -- What was looked at: up to the last lane that was found, or, when too few were, the whole page (if it is not the last).
  v_until constant timestamptz := least(p_now - interval '1 second', case
    when cardinality(p_lanes) < p_wanted then coalesce(p_horizon, case when p_is_wading then 'infinity' else '-infinity' end::timestamptz)
    else (
      select l.served_at
      from pyengine.lanes as l
      where l.ctid = p_places[cardinality(p_places)]
    )
  end);
  v_is_page boolean;
begin
  -- A few are cheaper to pass over than to move.
  perform
  from pyengine.lanes as l
  where l.queue || '/' || l.application = p_queue || '/' || p_application
    and (l.queue, l.application) is not distinct from (p_queue, p_application)
    and l.served_at >= p_from_served_at
    and l.served_at <= v_until
    and l.partition_key <> all (p_lanes)
    and l.partition_key <> all (p_from_partitions)
  order by l.served_at
  offset 64
  limit 1;
  v_is_page := found;
  if not v_is_page and not p_is_wading then
    return false;
  end if;

  update pyengine.lanes as l
  set served_at = p_now
  where l.ctid = any (array(
    select x.ctid
    from pyengine.lanes as x
    where x.queue || '/' || x.application = p_queue || '/' || p_application
      and (x.queue, x.application) is not distinct from (p_queue, p_application)
      and x.served_at >= p_from_served_at
      and x.served_at <= v_until
      and x.partition_key <> all (p_lanes)
      and x.partition_key <> all (p_from_partitions)
    order by x.served_at
    limit 1000
    for no key update skip locked
  ));
  return v_is_page;
end;
$function$;

comment on function pyengine._rotate_lanes(text, text, text[], tid[], integer, boolean, text[], timestamptz, timestamptz, timestamptz) is
  'Send lanes that a claim had to pass over to the back, when they are many; true when it did.';
