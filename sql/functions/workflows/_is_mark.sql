-- _is_mark: whether these are a low-water mark: a seq for each priority, of a partitioned queue for each partition and priority; in
--   order (of bytes), each once.
-- Fence: none. Repeat: reads only. Locks: none. Raises: nothing.
create or replace function pyengine._is_mark(p_partitions text[], p_priorities integer[], p_seqs bigint[])
returns boolean
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  return coalesce(cardinality(p_priorities), 0) > 0
    and cardinality(p_priorities) = coalesce(cardinality(p_seqs), 0)
    and cardinality(p_priorities) = coalesce(cardinality(p_partitions), cardinality(p_priorities))
    and array_position(p_partitions, null) is null
    and array_position(p_priorities, null) is null
    and array_position(p_seqs, null) is null
    and (
      -- Of the first there is none before: null, which does not count.
      select coalesce(bool_and((m.key collate "C", m.priority) > (m.key_before collate "C", m.priority_before)), true)
      from (
        select coalesce(u.partition_key, '') as key, u.priority,
          lag(coalesce(u.partition_key, '')) over turn as key_before, lag(u.priority) over turn as priority_before
        from unnest(p_partitions, p_priorities) with ordinality as u (partition_key, priority, place)
        window turn as (order by u.place)
      ) as m
    );
end;
$function$;

comment on function pyengine._is_mark(text[], integer[], bigint[]) is
  'Whether these are a low-water mark: a seq for each priority, or partition and priority, in order.';
