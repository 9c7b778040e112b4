-- _stranded: unfinished work that no live executor can run, by application and version.
--
-- Alive here is who is not marked dead and has beaten within the longest time an executor may be silent (4 lease times, while
-- it holds its liveness lock): with nobody there to mark the dead, time has to tell.
--
-- Fence:  none.
-- Repeat: reads only.
-- Locks:  none.
-- Raises: nothing.
create or replace function pyengine._stranded()
returns table (application text, app_version text, unfinished bigint)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  v_now constant timestamptz := pyengine._now();
begin
  return query
  select f.application, f.app_version, count(*)
  from pyengine.in_flight as f
  group by f.application, f.app_version
  having not exists (
    select
    from pyengine.executors as e
    where e.application = f.application
      and (f.app_version is null or e.app_version = f.app_version)
      and e.dead_at is null
      and e.lease_expires_at + case when e.liveness_pid is null then interval '0' else 3 * e.lease_ttl end > v_now
  );
end;
$function$;

comment on function pyengine._stranded() is
  'Unfinished work that no live executor can run, by application and version.';
