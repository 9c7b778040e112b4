-- record_sleeps: fix the instants at which many sleeps end, in one transaction.
--
-- The batch of record_sleep, for sleeps of one name. A sleep whose instant was fixed before is answered too, so that a host that takes
--   over thousands of sleepers asks for few of them singly: it is found in kept_ids, kept_step_ids and kept_until. What is left comes
--   back as a position (from 1) in `left_over`: a claim that is over, a step of another kind, a second row for a step that is new.
-- p_durations: seconds. server_time is the instant from which the new sleeps count: such a sleep ends at server_time + its duration.
-- Fence: as record_sleep, once for all. Repeat: all that the first call fixed is kept, with the first instants.
-- Interleaving: as record_sleep. A row that waits for somebody's open transaction for 50 ms fails the batch, and the caller sends its
--   rows singly.
-- Plans: rows are looked up one by one, each by its key: bounded whatever the planner believes of the tables.
-- Locks: fence (shared), checkpoints (insert, by workflow and step).
-- Raises: WF001, WF005; 55P03 after 50 ms of waiting.
create or replace function pyengine.record_sleeps(
  p_executor_id bigint,
  p_nonce bigint,
  p_name text,
  p_workflow_ids text[],
  p_fences bigint[],
  p_step_ids integer[],
  p_durations double precision[]
)
returns table (left_over integer[], server_time timestamptz, kept_ids text[], kept_step_ids integer[], kept_until timestamptz[])
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set lock_timeout = '50ms'
as $function$
declare
  v_stored integer;
begin
  perform pyengine._hold_lease(p_executor_id, p_nonce);
  server_time := pyengine._now();
  left_over := '{}';

  insert into pyengine.checkpoints as c (workflow_id, step_id, name, wake_at, started_at, completed_at)
  select b.workflow_id, b.step_id, p_name, server_time + make_interval(secs => b.duration), server_time, server_time
  from (
    select u.workflow_id, u.fence, u.step_id, u.duration
    from unnest(p_workflow_ids, p_fences, p_step_ids, p_durations)
      with ordinality as u (workflow_id, fence, step_id, duration, position)
    order by u.workflow_id collate "C", u.step_id, u.position
  ) as b
  where b.fence = (select i.fence from pyengine.in_flight as i where i.workflow_id = b.workflow_id)
  on conflict on constraint checkpoints_pkey do nothing;

  get diagnostics v_stored = row_count;
  if v_stored < cardinality(p_workflow_ids) then
    -- A later statement: it sees what was stored meanwhile. What this transaction stored is known by its id.
    select
      coalesce(array_agg(b.position::integer order by b.position) filter (where not b.is_kept), '{}'),
      array_agg(b.workflow_id order by b.position) filter (where b.is_kept),
      array_agg(b.step_id order by b.position) filter (where b.is_kept),
      array_agg(b.wake_at order by b.position) filter (where b.is_kept)
    into left_over, kept_ids, kept_step_ids, kept_until
    from (
      select u.workflow_id, u.step_id, u.position, c.wake_at,
        c.wake_at is not null and not c.is_new as is_kept,
        coalesce(c.is_new, false)
          and row_number() over (partition by u.workflow_id, u.fence, u.step_id order by u.position) = 1 as is_stored
      from unnest(p_workflow_ids, p_fences, p_step_ids) with ordinality as u (workflow_id, fence, step_id, position)
      left join lateral (
        select k.wake_at, k.xmin = pg_current_xact_id()::xid as is_new
        from pyengine.checkpoints as k
        where k.workflow_id = u.workflow_id
          and k.step_id = u.step_id
          and k.name = p_name
          and u.fence = (select i.fence from pyengine.in_flight as i where i.workflow_id = u.workflow_id)
        limit 1
      ) as c on true
    ) as b
    where not b.is_stored;
  end if;

  return next;
end;
$function$;

comment on function pyengine.record_sleeps(bigint, bigint, text, text[], bigint[], integer[], double precision[]) is
  'Fix the instants many sleeps end, once; the positions left over are to be asked for singly. Raises WF001, WF005.';
