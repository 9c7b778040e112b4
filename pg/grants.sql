-- Who may do what, as data. Run at the end of every install that changed something: functions that are new are open to
-- PUBLIC until here, and functions that had to be dropped have lost their grants. (Default privileges cannot do this for one
-- schema.) Roles exist only after `pyengine migrate --roles`; their names are in the engine row.
--
-- Functions run with their caller's rights, so a role needs the rights on tables that its functions use. The right to call a
-- function is what keeps clients from finishing workflows; it is a guard rail between honest parties, not a wall.
do $grants$
declare
  v_namespace oid;
  v_statement text;
begin
  select c.relnamespace into strict v_namespace from pg_catalog.pg_class as c where c.oid = 'pyengine.engine'::regclass;

  -- PUBLIC may do nothing here.
  for v_statement in
    select format('revoke all on function %s from public', p.oid::regprocedure)
    from pg_catalog.pg_proc as p
    where p.pronamespace = v_namespace
      and pg_has_role(p.proowner, 'usage')
      and has_function_privilege('public', p.oid, 'execute')
    union all
    select format('revoke all on %s from public', c.oid::regclass)
    from pg_catalog.pg_class as c
    cross join lateral aclexplode(c.relacl) as a
    where c.relnamespace = v_namespace
      and c.relkind in ('r', 'p', 'v', 'm')
      and a.grantee = 0
      and pg_has_role(c.relowner, 'usage')
    union
    select format('revoke all on schema %I from public', n.nspname)
    from pg_catalog.pg_namespace as n
    cross join lateral aclexplode(n.nspacl) as a
    where n.oid = v_namespace
      and a.grantee = 0
      and pg_has_role(n.nspowner, 'usage')
  loop
    execute v_statement;
  end loop;

  for v_statement in
    with roles (kind, role) as (
      select v.kind, r.rolname
      from pyengine.engine as e
      cross join lateral (values
        ('executor', e.executor_role),
        ('client', e.client_role),
        ('reader', e.reader_role)
      ) as v (kind, role)
      join pg_catalog.pg_roles as r on r.rolname = v.role
    ),
    -- A function or table that is not installed is left out: tests hold this list against what is shipped.
    functions (kind, names) as (values
      ('client', array[
        'enqueue_workflow', '_check_enqueue', '_deduplication_holder', '_discard_start', '_enter_lane',
        '_existing_start', '_insert_enqueued', '_insert_header', '_open_lane',
        'cancel_workflow', 'resume_workflow', '_requeue', '_revive', '_seize_last_owner', '_seize_fence', '_end_fence_holders',
        '_refuse_isolation', '_fencing_token',
        'lock_claim', '_judge_claim',
        'put_queue', '_check_queue'
      ]),
      ('client, reader', array[
        'schema_version', 'oldest_protocol', '_now', '_advisory_key', '_server_identity', 'greet', 'await_standby',
        'get_workflows', 'list_workflows', 'list_steps', 'read_outcomes', 'get_inputs', 'load_checkpoints',
        'stranded_versions', '_stranded',
        'doctor', '_doctor_limits', '_doctor_owners', '_doctor_rows', '_doctor_vacuum', '_doctor_waiting'
      ])
    ),
    tables (kind, privileges, names) as (values
      ('client', 'insert', array['workflows', 'in_flight', 'outcomes', 'lanes', 'interrupts', 'queues']),
      ('client', 'update', array['in_flight', 'lanes', 'queues', 'workflows']),
      ('client', 'delete', array['in_flight', 'outcomes', 'workflows'])
    ),
    installer_only (name) as (values ('engine'), ('migrations'), ('installed_functions'))
    select format('grant usage on schema %s to %I', v_namespace::regnamespace, r.role)
    from roles as r
    union all
    -- An executor calls everything; what it must not do, no function of ours does.
    select format('grant execute on function %s to %I', p.oid::regprocedure, r.role)
    from roles as r
    join pg_catalog.pg_proc as p on p.pronamespace = v_namespace
    where r.kind = 'executor'
       or exists (
            select from functions as f
            where r.kind = any (string_to_array(f.kind, ', ')) and p.proname = any (f.names)
          )
    union all
    select format('grant select on %s to %I', c.oid::regclass, r.role)
    from roles as r
    join pg_catalog.pg_class as c on c.relnamespace = v_namespace and c.relkind in ('r', 'p', 'v')
    union all
    select format('grant insert, update, delete on %s to %I', c.oid::regclass, r.role)
    from roles as r
    join pg_catalog.pg_class as c on c.relnamespace = v_namespace and c.relkind in ('r', 'p')
    where r.kind = 'executor'
      and not exists (select from installer_only as o where o.name = c.relname)
    union all
    select format('grant %s on %s to %I', t.privileges, c.oid::regclass, r.role)
    from roles as r
    join tables as t on t.kind = r.kind
    join pg_catalog.pg_class as c on c.relnamespace = v_namespace and c.relname = any (t.names) and c.relkind in ('r', 'p')
    union all
    select format('grant usage on sequence %s to %I', c.oid::regclass, r.role)
    from roles as r
    join pg_catalog.pg_class as c on c.relnamespace = v_namespace and c.relkind = 'S'
    where r.kind in ('executor', 'client')
  loop
    execute v_statement;
  end loop;
end;
$grants$;
