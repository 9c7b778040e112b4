-- _open_lane: see to it that a partition has its lane until the caller's transaction ends. Called before the row that needs it.
--
-- Interleaving: a lane may be deleted by a claim that found it empty. It is deleted only under a lock that excludes key share, and
--   after a look taken under that lock: so either that claim has gone on and this call makes a new lane, or it waits for the
--   caller, then sees the caller's row.
-- Fence: the caller's. Repeat: locks the lane again.
-- Locks: lane (insert, or key share). Several lanes: in the order of (queue, application, partition key).
-- Raises: nothing.
create or replace function pyengine._open_lane(p_queue text, p_application text, p_partition_key text)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $function$
begin
  loop
    perform
    from pyengine.lanes as l
    where l.queue = p_queue
      and l.application = p_application
      and l.partition_key = p_partition_key
    for key share;
    exit when found;

    -- As if served just now: it queues up behind the lanes that wait already.
    insert into pyengine.lanes as l (queue, application, partition_key, served_at)
    values (p_queue, p_application, p_partition_key, pyengine._now())
    on conflict on constraint lanes_pkey do nothing;
    exit when found;
  end loop;
end;
$function$;

comment on function pyengine._open_lane(text, text, text) is
  'Make sure that a partition has its lane, and keep it until the transaction ends.';
