-- _has_enqueued: whether a queue holds anything that an executor of this version may take.
--
-- p_suspects: 'any', 'none' or 'only', as in a claim. Scalar subqueries with a limit: each one probe of the index.
--
-- Fence:  none.
-- Repeat: reads only.
-- Locks:  none.
-- Raises: nothing.
create or replace function pyengine._has_enqueued(
  p_application text,
  p_app_version text,
  p_unversioned boolean,
  p_queue text,
  p_suspects text
)
returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  return coalesce(
    p_suspects <> 'only' and (
      select true from pyengine.in_flight as f
      where f.status = 'ENQUEUED' and not f.is_suspect
        and f.queue = p_queue and f.application = p_application and f.app_version = p_app_version
      limit 1
    )
    or p_suspects <> 'only' and p_unversioned and (
      select true from pyengine.in_flight as f
      where f.status = 'ENQUEUED' and not f.is_suspect
        and f.queue = p_queue and f.application = p_application and f.app_version is null
      limit 1
    )
    or p_suspects <> 'none' and (
      select true from pyengine.in_flight as f
      where f.status = 'ENQUEUED' and f.is_suspect
        and f.queue = p_queue and f.application = p_application and f.app_version = p_app_version
      limit 1
    ),
    false
  );
end;
$function$;

comment on function pyengine._has_enqueued(text, text, boolean, text, text) is
  'Whether a queue holds anything that an executor of this version may take.';
