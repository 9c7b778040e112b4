-- What every function of the schema must keep to; must return no row. The parameter names helpers that cannot pin a search_path.
select p.proname::text as function, v.problem
from pg_catalog.pg_proc as p
cross join lateral (values
  (case when not (p.proname = any (%(unpinned)s))
          and not ('search_path=pg_catalog, pg_temp' = any (coalesce(p.proconfig, '{}')))
        then 'no pinned search_path' end),
  (case when obj_description(p.oid, 'pg_proc') is null then 'no comment' end),
  (case when has_function_privilege('public', p.oid, 'execute') then 'PUBLIC may execute' end),
  (case when p.prosecdef then 'security definer' end),
  (case when p.pronargdefaults > 0 then 'default argument' end),
  (case when p.provariadic <> 0 then 'variadic' end),
  (case when exists (
          select
          from unnest(p.proargnames, p.proargmodes) as a (name, mode)
          where coalesce(a.mode, 'i') in ('i', 'b', 'v') and a.name !~ '^p_'
        ) or (p.pronargs > 0 and p.proargnames is null)
        then 'argument without p_' end),
  (case when p.proretset and exists (
          select from pg_catalog.pg_type as t where t.oid = p.prorettype and t.typtype = 'c'
        ) then 'returns rows of a table' end),
  (case when p.prokind <> 'f' then 'not a function' end),
  (case when exists (
          select from pg_catalog.pg_proc as o
          where o.pronamespace = p.pronamespace and o.proname = p.proname and o.oid <> p.oid
        ) then 'overloaded' end)
) as v (problem)
where p.pronamespace = 'pyengine'::regnamespace and v.problem is not null
order by 1, 2
