-- listen_to_queues: have this session told of work on an application's queues, by notify_queues.
--
-- Only for connections that stay the caller's: behind a transaction pooler it would be another client that is told.
-- Fence: none; what is heard is a hint, and a claim decides. Repeat: listens once. Locks: none. Raises: nothing.
create or replace function pyengine.listen_to_queues(p_application text)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  execute format('listen %I', pyengine._channel('queues', p_application));
end;
$function$;

comment on function pyengine.listen_to_queues(text) is 'Have this session told of work on an application''s queues.';
