-- oldest_protocol: the oldest engine protocol that the functions installed here still serve.
--
-- Fence:  none; reads only.
-- Repeat: the same answer until somebody migrates.
-- Locks:  none.
-- Raises: nothing.
create or replace function pyengine.oldest_protocol()
returns integer
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  return (select e.oldest_protocol from pyengine.engine as e);
end;
$function$;

comment on function pyengine.oldest_protocol() is 'The oldest engine protocol that the functions installed here still serve.';
