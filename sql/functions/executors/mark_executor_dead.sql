-- mark_executor_dead: vouch that an executor's process is gone: a neighbour on the same host, or a supervisor for its child.
--
-- p_reason: 'process_gone' (seen by a neighbour), 'child_died' (seen by its supervisor), 'killed' (its supervisor ended it because user
--   code had to be over), or, in good order and counted as nobody's crash, 'handed_over' and 'retired'.
-- p_detail: for people: signal, exit code, memory. p_culprit: the workflow whose code had to be over; null with 'killed': nobody's
--   crash counts, because the kill is recorded as a failed attempt of its step.
-- Fence: from the commit on, every write of that executor is refused. A mark is final, so a false witness costs that executor its
--   work (others continue it) and never its correctness.
-- Repeat: true, and the first reason stays. false: no executor has this id and nonce.
-- Interleaving: other marks meet it on the row, the first stays. A beat that comes later is refused. Crash: one statement writes.
-- Locks: executors row.
-- Raises: WF101 invalid_argument.
create or replace function pyengine.mark_executor_dead(
  p_executor_id bigint,
  p_nonce bigint,
  p_reason text,
  p_detail text,
  p_culprit text
)
returns boolean
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  if coalesce(p_reason, '') not in ('process_gone', 'child_died', 'killed', 'handed_over', 'retired')
    or p_culprit is not null and p_reason <> 'killed'
  then
    raise exception using
      errcode = 'WF101',
      message = 'invalid argument',
      detail = format('p_reason=%s p_culprit=%s', p_reason, p_culprit),
      hint = 'The reason is process_gone, child_died, killed, handed_over or retired; only killed has a culprit.';
  end if;

  update pyengine.executors as e
  set dead_at = pyengine._now(),
    dead_reason = p_reason,
    dead_detail = p_detail,
    dead_culprit = p_culprit
  where e.executor_id = p_executor_id
    and e.nonce = p_nonce
    and e.dead_at is null;

  if found then
    return true;
  end if;

  return exists (
    select
    from pyengine.executors as e
    where e.executor_id = p_executor_id
      and e.nonce = p_nonce
      and e.dead_at is not null
  );
end;
$function$;

comment on function pyengine.mark_executor_dead(bigint, bigint, text, text, text) is
  'Vouch that an executor is gone; true when it is marked dead. Raises WF101.';
