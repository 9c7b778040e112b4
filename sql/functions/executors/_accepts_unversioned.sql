-- _accepts_unversioned: may executors of this version claim work that names no version?
--
-- Only those of the newest promoted version that somebody alive runs, so that a rolling upgrade starts new work on new code.
-- Fence: none. Repeat: reads only. Locks: none. Raises: nothing.
create or replace function pyengine._accepts_unversioned(p_application text, p_app_version text)
returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  v_newest text;
begin
  select v.app_version
  into v_newest
  from pyengine.application_versions as v
  where v.application = p_application
    and exists (
      select
      from pyengine.executors as e
      where e.application = v.application
        and e.app_version = v.app_version
        and e.dead_at is null
        and e.handed_over_at is null
    )
  order by v.promoted_at desc, v.app_version desc
  limit 1;

  return coalesce(v_newest = p_app_version, false);
end;
$function$;

comment on function pyengine._accepts_unversioned(text, text) is
  'Whether a version is the newest promoted one that a live executor runs.';
