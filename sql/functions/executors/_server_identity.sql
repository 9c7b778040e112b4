-- _server_identity: which line of history these tables belong to: 'system identifier/timeline/oid of a table'.
--
-- It changes with a failover and with a restore, and not with a restart. An executor compares it on every new connection with the one
-- of its registration; if it differs, acknowledged rows may be gone and the executor registers anew. A dump that is restored on the
-- server it came from shows by the oid: its tables are new.
-- Some hosts keep the control functions from plain roles. Then the database's oid and timeline '0' stand in: a failover is not noticed
-- there, and leases alone decide.
-- Fence: none. Repeat: reads only. Locks: none. Raises: nothing.
create or replace function pyengine._server_identity()
returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  v_system text;
  v_timeline text := '0';
begin
  -- Separate statements: the right to execute a function is checked when a query that names it starts.
  if has_function_privilege('pg_catalog.pg_control_system()', 'execute') then
    select c.system_identifier::text
    into v_system
    from pg_control_system() as c;
  else
    select 'database-' || d.oid::text
    into v_system
    from pg_database as d
    where d.datname = current_database();
  end if;

  if pg_is_in_recovery() then
    v_timeline := 'standby';
  elsif has_function_privilege('pg_catalog.pg_walfile_name(pg_lsn)', 'execute')
    and has_function_privilege('pg_catalog.pg_current_wal_insert_lsn()', 'execute')
  then
    v_timeline := substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8);
  end if;

  return v_system || '/' || v_timeline || '/' || 'pyengine.executors'::regclass::oid::text;
end;
$function$;

comment on function pyengine._server_identity() is 'System identifier, timeline and a table''s oid: changes with a failover or a restore, not with a restart.';
