-- put_schedule: declare a schedule and say when it is due next, by the database's clock.
--
-- The instant that is stored stays while the cron does: a restart neither skips nor repeats a slot. Slots are made up for only
-- while they are younger than 5 s, so an older instant gives way to the caller's next one.
--
-- Fence:  none; a declaration is not work of an executor.
-- Repeat: the same declaration writes nothing.
-- Locks:  schedules row.
-- Raises: WF101 invalid_argument.
create or replace function pyengine.put_schedule(
  p_application text,
  p_schedule_name text,
  p_workflow_name text,
  p_cron text,
  p_first_at timestamptz
)
returns table (next_at timestamptz, seconds_until double precision)
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  v_stored record;
  v_now timestamptz;
begin
  if num_nulls(nullif(p_application, ''), nullif(p_schedule_name, ''), nullif(p_workflow_name, ''), nullif(p_cron, '')) > 0
    or p_first_at is null
  then
    raise exception using
      errcode = 'WF101',
      message = 'invalid schedule: application, name, workflow, cron and first instant are all needed',
      detail = format('schedule_name=%s cron=%s first_at=%s', p_schedule_name, p_cron, p_first_at),
      hint = 'Give a cron expression of 5 fields, or of 6 with the seconds first.';
  end if;

  insert into pyengine.schedules (application, schedule_name, workflow_name, cron, next_at, declared_at)
  values (p_application, p_schedule_name, p_workflow_name, p_cron, p_first_at, pyengine._now())
  on conflict on constraint schedules_pkey do nothing;
  if found then
    next_at := p_first_at;
    seconds_until := extract(epoch from p_first_at - pyengine._now());
    return next;
    return;
  end if;

  select s.next_at, s.cron, s.workflow_name
  into v_stored
  from pyengine.schedules as s
  where s.application = p_application
    and s.schedule_name = p_schedule_name
  for update;
  v_now := pyengine._now();

  next_at := case
    when v_stored.cron = p_cron and v_stored.next_at >= v_now - interval '5 seconds' then v_stored.next_at
    else p_first_at
  end;
  if (next_at, p_cron, p_workflow_name) is distinct from (v_stored.next_at, v_stored.cron, v_stored.workflow_name) then
    update pyengine.schedules as s
    set
      workflow_name = p_workflow_name,
      cron = p_cron,
      next_at = put_schedule.next_at,
      declared_at = v_now
    where s.application = p_application
      and s.schedule_name = p_schedule_name;
  end if;
  seconds_until := extract(epoch from next_at - v_now);
  return next;
end;
$function$;

comment on function pyengine.put_schedule(text, text, text, text, timestamptz) is
  'Declare a schedule and say when it is due next; an unchanged declaration writes nothing. Raises WF101.';
