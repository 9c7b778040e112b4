-- _lock_queue_from: as _lock_queue_head, but begin at a low-water mark: what lies before it is taken for gone and not looked at.
--
-- The marks are (priority, seq), in order. Nothing is seen before the first of them, and of the priority of each nothing before its
-- seq; what lies between two of them is seen whole, so that a priority nobody has told of keeps its place. One scan for each, and a
-- row comparison, with which the index begins there: entries of dead rows that a held snapshot keeps are not walked over again.
--
-- Fence:  the caller's.
-- Repeat: a second call finds rows that this transaction has locked itself.
-- Locks:  in-flight rows (skip locked).
-- Raises: nothing.
create or replace function pyengine._lock_queue_from(
  p_application text,
  p_app_version text,
  p_queue text,
  p_priorities integer[],
  p_seqs bigint[],
  p_limit integer
)
returns tid[]
language plpgsql
volatile
security invoker
as $function$
declare
  v_rows tid[] := '{}';
begin
  for v_turn in 1 .. cardinality(p_priorities) loop
    if p_app_version is null then
      v_rows := v_rows || array(
        select f.ctid
        from pyengine.in_flight as f
        where f.status = 'ENQUEUED'
          and f.queue = p_queue
          and f.application = p_application
          and f.app_version is null
          and (f.priority, f.seq) >= (p_priorities[v_turn], p_seqs[v_turn])
          and f.priority <= coalesce(p_priorities[v_turn + 1] - 1, 2147483647)
          and not f.is_suspect
        order by f.app_version, f.priority, f.seq
        limit p_limit - cardinality(v_rows)
        for update skip locked
      );
    else
      v_rows := v_rows || array(
        select f.ctid
        from pyengine.in_flight as f
        where f.status = 'ENQUEUED'
          and f.queue = p_queue
          and f.application = p_application
          and f.app_version = p_app_version
          and (f.priority, f.seq) >= (p_priorities[v_turn], p_seqs[v_turn])
          and f.priority <= coalesce(p_priorities[v_turn + 1] - 1, 2147483647)
          and not f.is_suspect
        order by f.priority, f.seq
        limit p_limit - cardinality(v_rows)
        for update skip locked
      );
    end if;
    exit when cardinality(v_rows) >= p_limit;
  end loop;
  return v_rows;
end;
$function$;

comment on function pyengine._lock_queue_from(text, text, text, integer[], bigint[], integer) is
  'Lock the first rows of a queue from a low-water mark on and return their addresses.';
