-- _fencing_token: the number of a claim, greater than those of all earlier claims of the same workflow.
--
-- The instant of the claim, in microseconds, so that it also grows where no row remembers: a workflow deleted and started anew, a
-- restored backup, a failover that lost the last commits. p_floor is the token of the claim before, kept when that one was lost: it
-- makes the token grow also where the clock was set back.
-- No pinned search_path, so that the planner inlines it; the SQL-standard body is bound when it is created.
-- Fence: none. Repeat: the same. Locks: none. Raises: nothing; null when there was no claim.
create or replace function pyengine._fencing_token(p_claimed_at timestamptz, p_floor bigint)
returns bigint
language sql
stable
security invoker
return greatest(
  (extract(epoch from p_claimed_at) operator(pg_catalog.*) 1000000)::pg_catalog.int8, p_floor operator(pg_catalog.+) 1);

comment on function pyengine._fencing_token(timestamptz, bigint) is
  'The number of a claim, greater than those of all earlier claims of the same workflow.';
