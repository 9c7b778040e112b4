-- listen_to_waits: have this session told of what other processes of an application wait for, and of the ends it waits for itself.
--
-- p_listener: the random name by which the process asks (notify_waits). Only for connections that stay the caller's: behind a
-- transaction pooler it would be another client that is told.
-- Fence: none; what is heard is a hint, and the outcome is read. Repeat: listens once. Locks: none. Raises: nothing.
create or replace function pyengine.listen_to_waits(p_application text, p_listener text)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  execute format('listen %I', pyengine._channel('waits', p_application));
  execute format('listen %I', pyengine._channel('ends', p_listener));
end;
$function$;

comment on function pyengine.listen_to_waits(text, text) is
  'Have this session told of what others wait for, and of the ends it waits for itself.';
