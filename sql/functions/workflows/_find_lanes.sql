-- _find_lanes: the addresses of lanes that the caller has locked, so that they do not change until it ends.
--
-- One probe of the primary key a lane. Asked for as "= any (keys)", a session whose plans were made on an empty table would read
-- all lanes of the queue instead.
--
-- Fence:  none.
-- Repeat: reads only.
-- Locks:  none.
-- Raises: nothing.
create or replace function pyengine._find_lanes(p_application text, p_queue text, p_keys text[])
returns tid[]
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  return array(
    select (
      select l.ctid
      from pyengine.lanes as l
      where l.queue = p_queue
        and l.application = p_application
        and l.partition_key = k.partition_key
    )
    from unnest(p_keys) as k(partition_key)
  );
end;
$function$;

comment on function pyengine._find_lanes(text, text, text[]) is
  'The addresses of lanes that the caller has locked.';
