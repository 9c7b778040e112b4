-- _end_fence_holders: terminate the backends that write for a dead executor and do not come to an end.
--
-- A client that froze while it read a large answer keeps its transaction, and with it the fence, open; one that froze in a
-- transaction of its own after lock_claim keeps a row, and shows by the 'user' lock whose. Only shared holders are ended:
-- an exclusive one is another takeover at work. Backends of roles that this one may not signal are left.
-- Fence: for executors marked dead only. Repeat: ends who is left. Locks: none (reads pg_locks). Raises: nothing.
-- Returns: how many backends were told to end.
create or replace function pyengine._end_fence_holders(p_executor_id bigint)
returns integer
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  v_keys constant bigint[] := array[
    pyengine._advisory_key('fence', p_executor_id::text), pyengine._advisory_key('user', p_executor_id::text)
  ];
  v_count integer := 0;
  v_pid integer;
begin
  -- A 64-bit advisory key is shown in two halves, with objsubid 1.
  for v_pid in
    select l.pid
    from pg_locks as l
    where l.locktype = 'advisory'
      and l.database = (select d.oid from pg_database as d where d.datname = current_database())
      and l.objsubid = 1
      and (l.classid::bigint << 32) | l.objid::bigint = any (v_keys)
      and l.mode = 'ShareLock'
      and l.granted
      and l.pid <> pg_backend_pid()
    order by l.pid
  loop
    begin
      if pg_terminate_backend(v_pid) then
        v_count := v_count + 1;
      end if;
    exception
      when insufficient_privilege then
        -- Not ours to end: the takeover comes back until that transaction has ended by itself.
        null;
    end;
  end loop;

  return v_count;
end;
$function$;

comment on function pyengine._end_fence_holders(bigint) is
  'Terminate the backends that keep a dead executor''s fence; how many were told to end.';
