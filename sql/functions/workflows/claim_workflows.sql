-- claim_workflows: take up to p_limit runnable workflows of a queue for an executor, within the queue's limits.
--
-- p_suspects: what of workflows that have brought down three executors. 'any': one is claimed alone, when it is first. 'none': they
--   are left to an isolated executor, and stand in nobody's way. 'only': that one's claim, of one at a time.
-- p_from_…: a low-water mark; null: look from the queue's head on. Of each priority (p_from_priorities) the seq where to begin
--   (p_from_seqs), see _lock_queue_from; of a partitioned queue for partitions (p_from_partitions) and their priorities. One that is
--   not named is looked at from its head. p_from_served_at: no partition was left that was served before.
-- low_water, lanes_served_at: a row's seq, and the turn of the first partition, told when the look had to wade through what somebody's
--   snapshot keeps from being removed (a longer walk than the rows need), or began at a mark: before the last row of a priority (in
--   its partition) nothing was left that could be claimed, before that turn there was no partition. Rows can appear there later (a
--   transaction that began earlier, a takeover), so a mark is only for some looks. A look from the head that waded and took nothing says
--   'waded', with the place of the first row that is there, if the queue has no partitions.
-- Fence:  the executor's lease; p_fence, minted by the client, becomes the fence of the rows.
-- Repeat: the rows that carry p_fence are returned again, and no others are claimed while there are any.
-- Locks:  fence (shared), the claim's own lock (orders a late original and its repeat), queue (try only, limited queues),
--         lanes and in-flight rows (skip locked): nothing here waits for another executor.
-- Raises: WF001, WF005 (from the lease), WF101 invalid_argument.
--
-- The planner is pinned: a plan made on an empty queue is kept by the session and must still be right at a million rows; and it is
-- kept, not made anew for the few values of each call, which took longer than the claim itself. Where rows are asked for in the order
-- of an index, sorting is forbidden, so that no plan takes another one for it. Forbidden plan nodes cost so much
-- that they would be compiled, hence no jit.
create or replace function pyengine.claim_workflows(
  p_executor_id bigint,
  p_nonce bigint,
  p_fence bigint,
  p_queue text,
  p_limit integer,
  p_unversioned boolean,
  p_suspects text,
  p_from_partitions text[],
  p_from_priorities integer[],
  p_from_seqs bigint[],
  p_from_served_at timestamptz
)
returns table (
  verdict text,
  workflow_id text,
  fence bigint,
  fencing_token bigint,
  name text,
  class_name text,
  config_name text,
  inputs bytea,
  queue text,
  partition_key text,
  priority integer,
  app_version text,
  attempts integer,
  crashes integer,
  replay boolean,
  deadline timestamptz,
  parent_id text,
  authenticated_user text,
  assumed_role text,
  authenticated_roles text[],
  attributes jsonb,
  schedule_name text,
  low_water bigint,
  lanes_served_at timestamptz
)
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_sort = off
set jit = off
set plan_cache_mode = force_generic_plan
as $function$
declare
  -- More entries than any claim's own, and what is locked by others: about a millisecond's worth.
  c_waded constant integer := 4000;
  v_before constant bigint := coalesce(pg_stat_get_xact_tuples_returned('pyengine.in_flight_claim_idx'::regclass), 0);
  -- A thousand partitions are looked at, each more than once.
  v_lane_rows_before constant bigint := coalesce(pg_stat_get_xact_tuples_returned('pyengine.in_flight_lane_idx'::regclass), 0);
  v_lanes_before constant bigint := coalesce(pg_stat_get_xact_tuples_returned('pyengine.lanes_served_idx'::regclass), 0);
  v_has_mark constant boolean := num_nonnulls(p_from_priorities, p_from_served_at) > 0;
  v_is_queue_long boolean;
  v_has_waded boolean;
  v_lanes_served_at timestamptz;
  v_lock text;
  v_ids text[];
begin
  if p_fence is null or coalesce(p_queue, '') = '' or p_limit is null or p_limit not between 1 and 1000 then
    raise exception using
      errcode = 'WF101',
      message = 'cannot claim: the fence or the queue is missing, or the limit is out of range',
      detail = format('queue=%s limit=%s fence=%s', p_queue, p_limit, p_fence),
      hint = 'Claim between 1 and 1000 workflows of one queue, with a random 63-bit fence.';
  end if;

  if coalesce(p_suspects, '') not in ('any', 'none', 'only') then
    raise exception using
      errcode = 'WF101',
      message = 'cannot claim: what to do with suspects is not known',
      detail = format('queue=%s suspects=%s', p_queue, p_suspects),
      hint = 'Claim any, none or only suspects.';
  end if;

  if num_nonnulls(p_from_partitions, p_from_priorities, p_from_seqs) > 0
    and not pyengine._is_mark(p_from_partitions, p_from_priorities, p_from_seqs)
  then
    raise exception using
      errcode = 'WF101',
      message = 'cannot claim: the low-water mark is none',
      detail = format('queue=%s partitions=%s priorities=%s seqs=%s', p_queue, p_from_partitions, p_from_priorities, p_from_seqs),
      hint = 'Give a seq for each priority, or partition and priority, in order, each once; or null for all.';
  end if;

  perform pyengine._hold_lease(p_executor_id, p_nonce);
  -- An assignment is an expression; `perform` would be a query.
  v_lock := pg_advisory_xact_lock(pyengine._advisory_key('claim', p_fence::text));

  v_ids := array(
    select f.workflow_id
    from pyengine.in_flight as f
    where f.executor_id = p_executor_id
      and f.fence = p_fence
  );
  if cardinality(v_ids) = 0 then
    v_ids := pyengine._claim(p_executor_id, p_fence, p_queue, p_limit, coalesce(p_unversioned, false), p_suspects,
      p_from_partitions, p_from_priorities, p_from_seqs, p_from_served_at);
  end if;

  if v_ids is null then
    verdict := 'busy';
    return next;
    return;
  end if;

  v_is_queue_long := pg_stat_get_xact_tuples_returned('pyengine.in_flight_claim_idx'::regclass) - v_before > c_waded;
  v_has_waded := v_is_queue_long
    or pg_stat_get_xact_tuples_returned('pyengine.in_flight_lane_idx'::regclass) - v_lane_rows_before > 2 * c_waded
    or pg_stat_get_xact_tuples_returned('pyengine.lanes_served_idx'::regclass) - v_lanes_before > 2 * c_waded;
  if cardinality(v_ids) > 0 then
    if v_has_mark or v_has_waded then
      v_lanes_served_at := pyengine._first_turn(p_executor_id, p_queue, coalesce(p_from_served_at, '-infinity'));
    end if;
    return query
    select
      c.verdict, c.workflow_id, c.fence, c.fencing_token, c.name, c.class_name, c.config_name, c.inputs, c.queue,
      c.partition_key, c.priority, c.app_version, c.attempts, c.crashes, c.replay, c.deadline, c.parent_id, c.authenticated_user,
      c.assumed_role, c.authenticated_roles, c.attributes, c.schedule_name,
      case when v_has_mark or v_has_waded then c.seq end, case when c.partition_key is not null then v_lanes_served_at end
    from pyengine._describe_claims(v_ids) as c;
  -- Thousands of partitions that cannot be served now are no such walk: nothing would end it.
  elsif v_is_queue_long and not v_has_mark then
    verdict := 'waded';
    select h.priority, h.seq
    into priority, low_water
    from pyengine._queue_head(p_executor_id, p_queue, coalesce(p_unversioned, false)) as h;
    return next;
  end if;
end;
$function$;

comment on function pyengine.claim_workflows(
  bigint, bigint, bigint, text, integer, boolean, text, text[], integer[], bigint[], timestamptz
) is
  'Take up to p_limit runnable workflows of a queue within its limits; or one row: ''busy'', its lock was lost, ''waded'', a long walk
found none. Raises WF001, WF101.';
