-- tick: the one call a second of an idle executor: beat when due, learn what the server knows, see which queues have work.
--
-- p_looks_for_the_dead not null = a round of housekeep, if one is due; its duties come back. Never in a beat: the round locks rows of others,
-- and a beat its own, so that a supervisor's beat, which takes several in the order of their ids, could meet both in a circle.
-- p_held_fences not null = a beat: the lease is renewed. null = no beat, and nothing is written.
-- p_seeks_claims, in a beat: claims that the caller does not list and that are older than a third of the TTL come back as unheld_fences
--   (their reply was lost; the caller runs them). It walks over whatever the executor has run that a held snapshot keeps.
-- Fence: the renewal and the dead mark meet on the executor's row, and a mark is final. An expired lease that nobody has acted on is
--   renewed: time never refuses.
-- Repeat: renews again. Interrupts are deleted only when they are old, so a lost reply loses none.
-- Interleaving: a housekeeper about to mark this executor judges the row again after it waited, and finds a newer lease.
--   A beat on another backend than the one that took the liveness lock clears the column: from then on the lease decides.
-- Durability: a beat is committed asynchronously; a crash that loses it only makes the lease look older.
-- Locks: in a beat executors row, interrupts rows of this executor; in a round those of housekeep.
-- Raises: WF001 executor_fenced, WF005, WF101 invalid_argument.
create or replace function pyengine.tick(
  p_executor_id bigint,
  p_nonce bigint,
  p_held_fences bigint[],
  p_queues text[],
  p_accepts_unversioned boolean,
  p_looks_for_the_dead boolean,
  p_seeks_claims boolean
)
returns table (
  server_time timestamptz,
  server_identity text,
  oldest_protocol integer,
  accepts_unversioned boolean,
  holds_liveness boolean,
  unheld_fences bigint[],
  interrupted_ids text[],
  interrupted_fences bigint[],
  interrupted_reasons text[],
  ready_queues text[],
  duties text[],
  subjects bigint[]
)
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
as $function$
declare
  v_me record;
begin
  duties := '{}';
  subjects := '{}';
  if p_looks_for_the_dead is not null then
    if p_held_fences is not null then
      raise exception using
        errcode = 'WF101',
        message = 'a tick beats or keeps house, and does not do both',
        detail = format('executor_id=%s', p_executor_id),
        hint = 'Call housekeep after a beat.';
    end if;

    select coalesce(array_agg(h.duty order by h.place), '{}'), coalesce(array_agg(h.subject order by h.place), '{}')
    into duties, subjects
    from pyengine.housekeep(p_executor_id, p_nonce, p_looks_for_the_dead) with ordinality as h (duty, subject, place);
  end if;

  if p_held_fences is not null then
    perform set_config('synchronous_commit', 'off', true);
    perform pyengine._beat(p_executor_id, p_nonce, p_held_fences);
  end if;

  select e.application, e.app_version, e.lease_ttl, e.liveness_pid,
    case when e.is_isolated then 'only' when e.is_supervised then 'none' else 'any' end as suspects
  into v_me
  from pyengine.executors as e
  where e.executor_id = p_executor_id
    and e.nonce = p_nonce
    and e.dead_at is null;

  if not found then
    perform pyengine._refuse_fenced(p_executor_id);
  end if;

  server_time := pyengine._now();
  server_identity := pyengine._server_identity();
  oldest_protocol := (select g.oldest_protocol from pyengine.engine as g where g.singleton);
  accepts_unversioned := pyengine._accepts_unversioned(v_me.application, v_me.app_version);
  holds_liveness := v_me.liveness_pid is not null;
  unheld_fences := '{}';

  if p_held_fences is not null and p_seeks_claims then
    unheld_fences := array(
      select distinct i.fence
      from pyengine.in_flight as i
      where i.executor_id = p_executor_id
        and i.claimed_at < server_time - v_me.lease_ttl / 3
        and i.fence <> all (p_held_fences)
    );
  end if;

  select coalesce(array_agg(n.workflow_id order by n.raised_at, n.workflow_id), '{}'),
    coalesce(array_agg(n.fence order by n.raised_at, n.workflow_id), '{}'),
    coalesce(array_agg(n.reason order by n.raised_at, n.workflow_id), '{}')
  into interrupted_ids, interrupted_fences, interrupted_reasons
  from pyengine.interrupts as n
  where n.executor_id = p_executor_id;

  ready_queues := pyengine._ready_queues(
    v_me.application, v_me.app_version, p_queues, accepts_unversioned and coalesce(p_accepts_unversioned, true), v_me.suspects);

  return next;
end;
$function$;

comment on function pyengine.tick(bigint, bigint, bigint[], text[], boolean, boolean, boolean) is
  'Beat or keep house, and tell an executor what concerns it: unheld claims, interrupts, queues with work. Raises WF001.';
