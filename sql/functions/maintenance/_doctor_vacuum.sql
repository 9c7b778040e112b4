-- _doctor_vacuum: who has held vacuum back for more than half an hour: claims slow down with what cannot be removed.
--
-- Transactions and prepared transactions of this database by their age; what shows no age (replication slots, standbys, and backends of
--   roles that this one may not look into) once a million transactions have begun since. The ten oldest.
-- A backend without a snapshot or an id of its own holds nothing back, however long it is idle.
--
-- Fence:  none.
-- Repeat: reads only.
-- Locks:  none.
-- Raises: nothing.
create or replace function pyengine._doctor_vacuum(p_now timestamptz)
returns table (invariant integer, subject text, problem text, remedy text)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  v_database constant text := current_database();
begin
  return query
  select null::integer, x.subject,
    format('%s; vacuum can remove nothing that was deleted since', coalesce(
      format('open for %s', date_trunc('second', p_now - x.began_at)), format('%s transactions old', x.age))),
    x.remedy
  from (
    select
      format('backend %s (%s)', a.pid,
        concat_ws(', ', a.usename, nullif(a.application_name, ''), a.state, host(a.client_addr))) as subject,
      a.xact_start as began_at, greatest(age(a.backend_xmin), age(a.backend_xid)) as age,
      case a.backend_type
        when 'walsender' then 'Look for a long query on that standby, or turn its hot_standby_feedback off.'
        else format('End its transaction: select pg_terminate_backend(%s).', a.pid)
      end as remedy
    from pg_stat_activity as a
    where (a.datname = v_database or a.backend_type = 'walsender')
      and a.backend_type <> 'autovacuum worker'
      and a.pid <> pg_backend_pid()
      and num_nonnulls(a.backend_xmin, a.backend_xid) > 0
    union all
    select format('prepared transaction %s (%s)', p.gid, p.owner), p.prepared, age(p.transaction),
      format('Decide it: commit prepared %L, or rollback prepared %L.', p.gid, p.gid)
    from pg_prepared_xacts as p
    where p.database = v_database
    union all
    select format('replication slot %s%s', s.slot_name, case when s.active then '' else ' (nobody uses it)' end), null, age(s.xmin),
      format('If its standby is gone: select pg_drop_replication_slot(%L).', s.slot_name)
    from pg_replication_slots as s
    where s.xmin is not null
  ) as x
  where x.began_at < p_now - interval '30 minutes'
    or (x.began_at is null and x.age > 1000000)
  order by x.age desc, x.subject
  limit 10;
end;
$function$;

comment on function pyengine._doctor_vacuum(timestamptz) is
  'Who has held vacuum back for more than half an hour.';
