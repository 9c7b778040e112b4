-- _fencing_token: the number of a claim, greater than those of all earlier claims of the same workflow.
--
-- The instant of the claim, in microseconds, so that it also grows where no row remembers: a workflow deleted and started anew, a
-- restored backup, a failover that lost the last commits. p_floor is the token of the claim before, kept when that one was lost: it
-- makes the token grow also where the clock was set back.
-- Fence: none. Repeat: the same. Locks: none. Raises: nothing; null when there was no claim.
create or replace function pyengine._fencing_token(p_claimed_at timestamptz, p_floor bigint)
returns bigint
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $function$
begin
  return greatest((extract(epoch from p_claimed_at) * 1000000)::bigint, p_floor + 1);
end;
$function$;

comment on function pyengine._fencing_token(timestamptz, bigint) is
  'The number of a claim, greater than those of all earlier claims of the same workflow.';
