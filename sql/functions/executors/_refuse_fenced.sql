-- _refuse_fenced: say that an executor is marked dead, or unknown.
--
-- Fence: none. Repeat: raises again. Locks: none.
-- Raises: WF001 executor_fenced, always.
create or replace function pyengine._refuse_fenced(p_executor_id bigint)
returns void
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  raise exception using
    errcode = 'WF001',
    message = 'executor fenced',
    detail = format('executor_id=%s', p_executor_id),
    hint = 'This executor was declared dead and its work is handed over. Drop local work and register anew.';
end;
$function$;

comment on function pyengine._refuse_fenced(bigint) is 'Say that an executor is marked dead, or unknown. Raises WF001.';
