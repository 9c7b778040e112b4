-- _insert_header: write a workflow's header unless its id is taken; true when it was written.
--
-- Interleaving: of two starts of one id the second waits on the unique index until the first has ended; then it gets false and
--   must read back in a later statement. The caller writes the in-flight row in the same transaction.
-- Repeat: false; the start_token in the stored header tells the caller that it is its own.
-- Fence: the caller holds it. Locks: header (insert).
-- Raises: nothing.
create or replace function pyengine._insert_header(
  p_start_token bigint,
  p_workflow_id text,
  p_name text,
  p_class_name text,
  p_config_name text,
  p_application text,
  p_inputs bytea,
  p_attributes jsonb,
  p_authenticated_user text,
  p_assumed_role text,
  p_authenticated_roles text[],
  p_schedule_name text,
  p_parent_id text
)
returns boolean
language plpgsql
volatile
security invoker
as $function$
begin
  insert into pyengine.workflows as h
    (workflow_id, name, class_name, config_name, application, inputs, parent_id, authenticated_user, assumed_role,
     authenticated_roles, attributes, schedule_name, start_token, created_at)
  values
    (p_workflow_id, p_name, p_class_name, p_config_name, p_application, p_inputs, p_parent_id, p_authenticated_user, p_assumed_role,
     p_authenticated_roles, p_attributes, p_schedule_name, p_start_token, pyengine._now())
  on conflict on constraint workflows_pkey do nothing;

  return found;
end;
$function$;

comment on function pyengine._insert_header(
  bigint, text, text, text, text, text, bytea, jsonb, text, text, text[], text, text
) is 'Write a workflow''s header unless its id is taken; true when written.';
