-- put_retention: say how long an application keeps finished workflows; null: for ever.
--
-- Of several that say different things, the last one holds.
-- Fence:  none.
-- Repeat: the same again, nothing is written.
-- Interleaving: a batch of prune_workflows under way is waited for; it ends by the old rule. Crash: all or nothing.
-- Locks:  retention row.
-- Raises: WF101 invalid_argument.
create or replace function pyengine.put_retention(p_application text, p_keep_for interval)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $function$
declare
  v_now constant timestamptz := pyengine._now();
begin
  if coalesce(p_application, '') !~ '\S' or p_keep_for <= interval '0' then
    raise exception using
      errcode = 'WF101',
      message = 'cannot declare a retention',
      detail = format('application=%s keep_for=%s', p_application, p_keep_for),
      hint = 'Name the application, and give an interval above 0, or null to keep everything.';
  end if;

  insert into pyengine.retention as r (application, keep_for, declared_at, due_at, begun_at)
  values (p_application, p_keep_for, v_now, v_now, v_now)
  on conflict on constraint retention_pkey do update
  set keep_for = excluded.keep_for,
    declared_at = v_now,
    due_at = v_now
  where r.keep_for is distinct from excluded.keep_for;
end;
$function$;

comment on function pyengine.put_retention(text, interval) is
  'Say how long an application keeps finished workflows; null: for ever. Raises WF101.';
