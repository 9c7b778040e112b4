-- list_host_executors: the executors of one host whose work is not handed over yet, alive or dead.
--
-- An executor looks, at launch and at every beat, whether their processes still exist (pid and start time, within one boot and pid
--   namespace) and marks those that do not: on one machine nothing waits for a lease. A supervisor's children are left to it while
--   it lives: it knows what they died of.
-- Fence: none. Repeat: reads only. Locks: none. Raises: nothing.
create or replace function pyengine.list_host_executors(p_boot_id text, p_pid_namespace text)
returns table (executor_id bigint, nonce bigint, pid integer, process_started text, seat text, is_supervised boolean)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  return query
  select e.executor_id, e.nonce, e.pid, e.process_started, e.seat, e.is_supervised
  from pyengine.executors as e
  where e.handed_over_at is null
    and e.boot_id = p_boot_id
    and e.pid_namespace = p_pid_namespace
  order by e.executor_id;
end;
$function$;

comment on function pyengine.list_host_executors(text, text) is
  'Executors of one host (boot and pid namespace) whose work is not handed over yet.';
