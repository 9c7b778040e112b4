-- _same_history: do two server identities name one line of history?
--
-- Where a role may not read the system identifier or the timeline, something else stands in for it (see _server_identity): what only
-- one of the two knows is not compared. Roles differ, and executors of all of them work side by side.
-- Fence: none. Repeat: reads only. Locks: none. Raises: nothing.
create or replace function pyengine._same_history(p_one text, p_other text)
returns boolean
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  v_one constant text[] := string_to_array(p_one, '/');
  v_other constant text[] := string_to_array(p_other, '/');
begin
  return (v_one[1] = v_other[1] or (v_one[1] like 'database-%') <> (v_other[1] like 'database-%'))
    and (v_one[2] = v_other[2] or v_one[2] = '0' or v_other[2] = '0')
    and v_one[3] = v_other[3];
end;
$function$;

comment on function pyengine._same_history(text, text) is
  'Whether two server identities name one line of history, as far as both say.';
