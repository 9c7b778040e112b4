-- _is_mark: whether these are a low-water mark, as _lock_queue_from reads it: a seq for each priority, priorities in order, each once.
-- Fence: none. Repeat: reads only. Locks: none. Raises: nothing.
create or replace function pyengine._is_mark(p_priorities integer[], p_seqs bigint[])
returns boolean
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  return coalesce(cardinality(p_priorities), 0) > 0
    and cardinality(p_priorities) = coalesce(cardinality(p_seqs), 0)
    and array_position(p_seqs, null) is null
    and p_priorities = array(select distinct m.priority from unnest(p_priorities) as m (priority) order by m.priority);
end;
$function$;

comment on function pyengine._is_mark(integer[], bigint[]) is
  'Whether these are a low-water mark: a seq for each priority, in order.';
