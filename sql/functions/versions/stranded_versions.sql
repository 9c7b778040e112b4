-- stranded_versions: versions with unfinished work that no live executor has.
--
-- Work without a version runs on the newest one that lives, so it is stranded only when no executor of the application does.
--
-- Fence:  none.
-- Repeat: reads only.
-- Locks:  none.
-- Raises: nothing. A null application asks for all.
create or replace function pyengine.stranded_versions(p_application text)
returns table (app_version text, unfinished bigint)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  return query
  select s.app_version, sum(s.unfinished)::bigint
  from pyengine._stranded() as s
  where p_application is null
    or s.application = p_application
  group by s.app_version
  order by s.app_version;
end;
$function$;

comment on function pyengine.stranded_versions(text) is
  'Versions with unfinished work that no live executor has.';
