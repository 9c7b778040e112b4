-- _deduplication_holder: which other workflow holds a deduplication key, unless the asking workflow exists already.
--
-- Fence:  none.
-- Repeat: reads only; what is known of an existing id comes before deduplication.
-- Locks:  none.
-- Raises: nothing.
create or replace function pyengine._deduplication_holder(
  p_queue text,
  p_application text,
  p_deduplication_id text,
  p_workflow_id text
)
returns text
language plpgsql
volatile
security invoker
as $function$
begin
  if p_deduplication_id is null then
    return null;
  end if;

  return (
    select f.workflow_id
    from pyengine.in_flight as f
    where f.queue = p_queue
      and f.application = p_application
      and f.deduplication_id = p_deduplication_id
      and f.workflow_id <> p_workflow_id
      and not exists (
        select from pyengine.workflows as w where w.workflow_id = p_workflow_id
      )
  );
end;
$function$;

comment on function pyengine._deduplication_holder(text, text, text, text) is
  'Which workflow holds a deduplication key, unless the asking workflow exists already.';
