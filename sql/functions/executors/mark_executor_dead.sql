-- mark_executor_dead: vouch that an executor's process is gone: a neighbour on the same host, or a supervisor for its child.
--
-- Fence: from the commit on, every write of that executor is refused. A mark is final, so a false witness costs that executor its
--   work (others continue it) and never its correctness.
-- Repeat: true, and the first reason stays. false: no executor has this id and nonce.
-- Interleaving: other marks meet it on the row, the first stays. A beat that comes later is refused.
-- Locks: executors row.
-- Raises: WF101 invalid_argument.
create or replace function pyengine.mark_executor_dead(p_executor_id bigint, p_nonce bigint, p_reason text)
returns boolean
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  if coalesce(p_reason, '') = '' then
    raise exception using
      errcode = 'WF101',
      message = 'invalid argument',
      detail = 'p_reason=',
      hint = 'Say why the executor is dead; with ''handed_over'' no crash is counted.';
  end if;

  update pyengine.executors as e
  set dead_at = pyengine._now(),
    dead_reason = p_reason
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

comment on function pyengine.mark_executor_dead(bigint, bigint, text) is
  'Vouch that an executor is gone; true when it is marked dead. Raises WF101.';
