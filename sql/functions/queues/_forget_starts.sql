-- _forget_starts: remove claims that have left a queue's rolling window, a bounded number a call.
--
-- Fence:  none.
-- Repeat: removes the next ones, if any.
-- Locks:  queue_starts rows (skip locked).
-- Raises: nothing.
create or replace function pyengine._forget_starts(p_application text, p_queue text, p_before timestamptz)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  -- As many as one claim may add, so that they cannot pile up.
  delete from pyengine.queue_starts as s
  where s.ctid = any (array(
    select x.ctid
    from pyengine.queue_starts as x
    where x.queue = p_queue
      and x.application = p_application
      and x.started_at <= p_before
    order by x.started_at
    limit 1000
    for update skip locked
  ));
end;
$function$;

comment on function pyengine._forget_starts(text, text, timestamptz) is
  'Remove claims that have left a queue''s rolling window, a bounded number a call.';
