-- _refuse_isolation: say that a fence was asked for outside READ COMMITTED.
--
-- Fence: none. Repeat: raises again. Locks: none.
-- Raises: WF005 wrong_isolation, always.
create or replace function pyengine._refuse_isolation()
returns void
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  raise exception using
    errcode = 'WF005',
    message = 'wrong isolation level',
    detail = format('transaction_isolation=%s', current_setting('transaction_isolation')),
    hint = 'Call this function in a transaction of isolation level READ COMMITTED.';
end;
$function$;

comment on function pyengine._refuse_isolation() is 'Say that a fence was asked for outside READ COMMITTED. Raises WF005.';
