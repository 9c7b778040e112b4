-- _lock_suspects_lanes: lock the partitions of a queue that hold suspects; their keys, in the order of their suspects.
--
-- A partition key is not asked for in the query: a plan made on an empty table might then walk the partitions' index instead.
-- Walked from the suspects, which are few, and not through the lanes, which may be many.
--
-- Fence:  the caller holds the lease.
-- Repeat: a second call finds lanes that this transaction has locked itself.
-- Locks:  lanes (no key update, skip locked).
-- Raises: nothing.
create or replace function pyengine._lock_suspects_lanes(p_application text, p_app_version text, p_queue text)
returns text[]
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  v_keys text[];
  v_key text;
  v_locked text[] := '{}';
begin
  v_keys := array(
    select f.partition_key
    from pyengine.in_flight as f
    where f.status = 'ENQUEUED'
      and f.is_suspect
      and f.application = p_application
      and f.app_version = p_app_version
      and f.queue = p_queue
    order by f.priority, f.seq
    limit 100
  );

  foreach v_key in array v_keys loop
    continue when v_key is null or v_key = any (v_locked);
    perform
    from pyengine.lanes as l
    where l.queue = p_queue
      and l.application = p_application
      and l.partition_key = v_key
    for no key update skip locked;
    if found then
      v_locked := v_locked || v_key;
    end if;
  end loop;
  return v_locked;
end;
$function$;

comment on function pyengine._lock_suspects_lanes(text, text, text) is
  'Lock the partitions of a queue that hold suspects; their keys.';
