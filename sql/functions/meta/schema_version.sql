-- schema_version: the number of the newest migration applied here.
--
-- Fence:  none; reads only.
-- Repeat: the same answer until somebody migrates.
-- Locks:  none.
-- Raises: nothing.
create or replace function pyengine.schema_version()
returns integer
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  return (select e.schema_version from pyengine.engine as e);
end;
$function$;

comment on function pyengine.schema_version() is 'The number of the newest migration applied here.';
