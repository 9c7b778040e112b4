-- doctor: every row that breaks an invariant of the engine, unfinished work that nobody can run, and who holds vacuum back, each
-- with what to do.
--
-- What is no invariant has no number.
--
-- Nothing when healthy. One snapshot for all checks (stable), so that a workflow that moves meanwhile is not reported. Each check
-- tells at most a thousand findings.
--
-- Fence:  none.
-- Repeat: reads only.
-- Locks:  none.
-- Raises: nothing.
create or replace function pyengine.doctor()
returns table (invariant integer, subject text, problem text, remedy text)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  v_now constant timestamptz := pyengine._now();
begin
  return query
  select d.invariant, d.subject, d.problem, d.remedy from pyengine._doctor_rows() as d
  union all
  select d.invariant, d.subject, d.problem, d.remedy from pyengine._doctor_owners(v_now) as d
  union all
  select d.invariant, d.subject, d.problem, d.remedy from pyengine._doctor_waiting(v_now) as d
  union all
  select d.invariant, d.subject, d.problem, d.remedy from pyengine._doctor_limits(v_now) as d
  union all
  select d.invariant, d.subject, d.problem, d.remedy from pyengine._doctor_vacuum(v_now) as d;
end;
$function$;

comment on function pyengine.doctor() is
  'Every row that breaks an invariant of the engine, unfinished work that nobody can run, and who holds vacuum back, each with what to do.';
