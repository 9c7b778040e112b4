-- greet: what a client has to know of the server behind a new connection before it uses it.
--
-- backend_pid: of the session that runs this. A proxy that shares its connections told the client another one when it connected.
-- server_identity: which line of history this server writes, to be compared with the one at registration.
-- is_standby: it takes no writes (yet).
-- Fence: none. Repeat: reads only. Locks: none. Raises: nothing.
create or replace function pyengine.greet()
returns table (backend_pid integer, server_identity text, is_standby boolean)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  backend_pid := pg_backend_pid();
  is_standby := pg_is_in_recovery();
  server_identity := pyengine._server_identity();
  return next;
end;
$function$;

comment on function pyengine.greet() is
  'What a client has to know of the server behind a new connection: session, line of history, standby or not.';
