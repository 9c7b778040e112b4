-- _insert_headers: write the headers of many workflows; the positions (from 1) of those that were not written.
--
-- The batch of _insert_header: not those named in p_skipped, and not those whose id is taken. An argument that is null for all of the
--   batch may be null itself. p_authenticated_roles: of each row a JSON array.
-- Interleaving: as _insert_header, in the order of ids: batches that share ids take them in one order.
-- Repeat: all positions; the start_token in each stored header tells whose it is.
-- Plans: rows are looked up one by one, each by its key. Fence: the caller holds it. Locks: headers by id (insert).
-- Raises: nothing.
create or replace function pyengine._insert_headers(
  p_start_tokens bigint[],
  p_workflow_ids text[],
  p_names text[],
  p_class_names text[],
  p_config_names text[],
  p_application text,
  p_inputs bytea[],
  p_authenticated_users text[],
  p_assumed_roles text[],
  p_authenticated_roles jsonb[],
  p_attributes jsonb[],
  p_schedule_names text[],
  p_parent_ids text[],
  p_skipped integer[]
)
returns integer[]
language plpgsql
volatile
security invoker
as $function$
declare
  v_now constant timestamptz := pyengine._now();
  v_written integer;
begin
  insert into pyengine.workflows as h
    (workflow_id, name, class_name, config_name, application, inputs, parent_id, authenticated_user, assumed_role,
     authenticated_roles, attributes, schedule_name, start_token, created_at)
  select b.workflow_id, b.name, b.class_name, b.config_name, p_application, b.inputs, b.parent_id, b.authenticated_user,
    b.assumed_role,
    case when b.authenticated_roles is not null then array(select jsonb_array_elements_text(b.authenticated_roles)) end,
    b.attributes, b.schedule_name, b.start_token, v_now
  from (
    select u.workflow_id, u.name, u.class_name, u.config_name, u.inputs, u.parent_id, u.authenticated_user, u.assumed_role,
      u.authenticated_roles, u.attributes, u.schedule_name, u.start_token
    from unnest(
      p_workflow_ids, p_names, p_class_names, p_config_names, p_inputs, p_parent_ids, p_authenticated_users, p_assumed_roles,
      p_authenticated_roles, p_attributes, p_schedule_names, p_start_tokens
    ) with ordinality as u (workflow_id, name, class_name, config_name, inputs, parent_id, authenticated_user, assumed_role,
      authenticated_roles, attributes, schedule_name, start_token, position)
    where u.position <> all (p_skipped)
    order by u.workflow_id collate "C", u.position
  ) as b
  on conflict on constraint workflows_pkey do nothing;

  get diagnostics v_written = row_count;
  if v_written = cardinality(p_workflow_ids) then
    return '{}';
  end if;

  -- What this transaction wrote is known by its id, and of two rows with one id by the token.
  return array(
    select b.position::integer
    from unnest(p_workflow_ids, p_start_tokens) with ordinality as b (workflow_id, start_token, position)
    where pg_current_xact_id()::xid is distinct from (
      select h.xmin from pyengine.workflows as h where h.workflow_id = b.workflow_id and h.start_token = b.start_token)
    order by b.position
  );
end;
$function$;

comment on function pyengine._insert_headers(
  bigint[], text[], text[], text[], text[], text, bytea[], text[], text[], jsonb[], jsonb[], text[], text[], integer[]
) is 'Write the headers of many workflows; the positions of those that were not written.';
