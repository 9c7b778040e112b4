-- _has_enqueued: whether a queue holds anything that an executor of this version may take.
--
-- Fence:  none.
-- Repeat: reads only.
-- Locks:  none.
-- Raises: nothing.
create or replace function pyengine._has_enqueued(
  p_application text,
  p_app_version text,
  p_unversioned boolean,
  p_queue text
)
returns boolean
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  return exists (
    select
    from pyengine.in_flight as f
    where f.status = 'ENQUEUED'
      and f.queue = p_queue
      and f.application = p_application
      and f.app_version = p_app_version
  ) or p_unversioned and exists (
    select
    from pyengine.in_flight as f
    where f.status = 'ENQUEUED'
      and f.queue = p_queue
      and f.application = p_application
      and f.app_version is null
  );
end;
$function$;

comment on function pyengine._has_enqueued(text, text, boolean, text) is
  'Whether a queue holds anything that an executor of this version may take.';
