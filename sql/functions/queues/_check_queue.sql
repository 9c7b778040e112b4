-- _check_queue: refuse limits that cannot be meant, before anything is written.
--
-- Fence:  none.
-- Repeat: reads and writes nothing.
-- Locks:  none.
-- Raises: WF101 invalid_argument.
create or replace function pyengine._check_queue(
  p_application text,
  p_queue text,
  p_concurrency integer,
  p_worker_concurrency integer,
  p_rate_limit integer,
  p_rate_period interval
)
returns void
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  v_problem text := case
    when coalesce(p_application, '') = '' then 'the application has no name'
    when coalesce(p_queue, '') !~ '\S' then 'the queue has no name'
    when least(p_concurrency, p_worker_concurrency, p_rate_limit) <= 0 then 'a limit is below 1'
    when p_worker_concurrency > p_concurrency then 'worker_concurrency is above concurrency'
    when (p_rate_limit is null) <> (p_rate_period is null) then 'a rate needs both a limit and a period'
    when p_rate_period <= interval '0' then 'the rate period is not positive'
  end;
begin
  if v_problem is not null then
    raise exception using
      errcode = 'WF101',
      message = 'invalid queue: ' || v_problem,
      detail = format(
        'queue=%s concurrency=%s worker_concurrency=%s rate_limit=%s rate_period=%s',
        p_queue, p_concurrency, p_worker_concurrency, p_rate_limit, p_rate_period
      ),
      hint = 'Limits are whole numbers from 1, or null for none; one executor''s share is at most the whole.';
  end if;
end;
$function$;

comment on function pyengine._check_queue(text, text, integer, integer, integer, interval) is
  'Refuse limits that cannot be meant. Raises WF101.';
