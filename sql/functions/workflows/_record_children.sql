-- _record_children: record which children the steps of many parents started.
--
-- The batch of _record_child, for children that are new: the caller has looked at the parents' claims and steps, so no verdicts. Those
--   at the positions (from 1) in p_skipped are left out, and those without a parent.
-- Fence: the caller holds it, so that no parent leaves its executor meanwhile. Repeat: the caller's; it skips what was recorded.
-- Locks: checkpoints of parents (insert, by workflow and step).
-- Raises: 23505 when a parent's step was taken meanwhile.
create or replace function pyengine._record_children(
  p_parent_ids text[],
  p_parent_step_ids integer[],
  p_names text[],
  p_child_ids text[],
  p_skipped integer[]
)
returns void
language plpgsql
volatile
security invoker
as $function$
declare
  v_now constant timestamptz := pyengine._now();
begin
  insert into pyengine.checkpoints as c (workflow_id, step_id, name, child_id, started_at, completed_at)
  select b.parent_id, b.parent_step_id, b.name, b.child_id, v_now, v_now
  from (
    select u.parent_id, u.parent_step_id, u.name, u.child_id
    from unnest(p_parent_ids, p_parent_step_ids, p_names, p_child_ids)
      with ordinality as u (parent_id, parent_step_id, name, child_id, position)
    where u.parent_id is not null
      and u.position <> all (p_skipped)
    order by u.parent_id collate "C", u.parent_step_id
  ) as b;
end;
$function$;

comment on function pyengine._record_children(text[], integer[], text[], text[], integer[]) is
  'Record which children the steps of many parents started.';
