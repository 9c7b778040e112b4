-- await_standby: return when everything committed before is as durable as a commit can be here, the standby's copy included.
--
-- Where the wait of a commit for its synchronous standby was cancelled, or its backend ended, the commit stands on this server only: a
-- failover could lose it. A repeat of the call would find its work done, write nothing and wait for nothing. This writes a few bytes of WAL behind
-- that commit, and its own commit waits for them. It is cancelled the same way if the standby is still away: the caller looks for the
-- same warning again.
-- Fence: none. Repeat: waits again. Crash: nothing to clean up. Locks: none. Raises: nothing.
-- Durability: synchronous_commit 'off' and 'local' wait for no standby; who sets them for the role wants that, and gets no warning.
create or replace function pyengine.await_standby()
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  perform pg_logical_emit_message(true, 'pyengine', '');
exception
  when insufficient_privilege then
    -- A host that keeps this function to itself: its commits are as durable as it makes them.
    null;
end;
$function$;

comment on function pyengine.await_standby() is
  'Wait until everything committed before has reached the synchronous standby.';
