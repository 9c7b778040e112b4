-- register_executor: make the calling process an executor, under a nonce of its own making.
--
-- p_seat: the place in its fleet that this process fills, and the next one after it. p_is_supervised: it is a supervisor's child, so
--   that suspects get a process of their own. p_is_isolated: it is that process. p_is_pooled: it comes through a transaction pooler.
-- Fence: the id and nonce returned here are what every later write carries.
-- Repeat: the same nonce gets the first registration back, even if it was declared dead meanwhile (its first write then says so).
-- Interleaving: a late original and its repeat meet on the nonce's unique index; the second reads the row of the first.
--   Lost reply: a registration nobody knows of holds no work and its lease runs out.
-- Durability: committed synchronously whatever the session says, or a crash could hand the id out twice.
-- Locks: executors row (insert), application_versions row (insert).
-- Raises: WF006 protocol_not_served.
create or replace function pyengine.register_executor(
  p_nonce bigint,
  p_label text,
  p_host text,
  p_pid integer,
  p_boot_id text,
  p_pid_namespace text,
  p_process_started text,
  p_application text,
  p_app_version text,
  p_protocol integer,
  p_lease_ttl interval,
  p_seat text,
  p_is_supervised boolean,
  p_is_isolated boolean,
  p_is_pooled boolean
)
returns table (executor_id bigint, server_identity text, server_time timestamptz, is_latest_version boolean)
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $function$
declare
  v_oldest integer;
  v_now timestamptz;
begin
  select g.oldest_protocol
  into v_oldest
  from pyengine.engine as g
  where g.singleton;

  if p_protocol < v_oldest then
    raise exception using
      errcode = 'WF006',
      message = 'protocol not served',
      detail = format('protocol=%s oldest_protocol=%s', p_protocol, v_oldest),
      hint = 'The schema was migrated by a newer release. Upgrade this installation.';
  end if;

  if current_setting('synchronous_commit') in ('off', 'local') then
    perform set_config('synchronous_commit', 'on', true);
  end if;

  v_now := pyengine._now();

  insert into pyengine.executors as e
    (nonce, label, host, pid, boot_id, pid_namespace, process_started, application, app_version, seat,
     is_supervised, is_isolated, protocol, lease_ttl, lease_expires_at, beat_at, registered_at, server_identity, is_pooled)
  values
    (p_nonce, p_label, p_host, p_pid, p_boot_id, p_pid_namespace, p_process_started, p_application, p_app_version, p_seat,
     p_is_supervised, p_is_isolated, p_protocol, p_lease_ttl, v_now + p_lease_ttl, v_now, v_now, pyengine._server_identity(),
     p_is_pooled)
  on conflict on constraint executors_nonce_key do nothing;

  -- Promoted when it is first seen; later only by a named act.
  insert into pyengine.application_versions as v (application, app_version, registered_at, promoted_at)
  values (p_application, p_app_version, v_now, v_now)
  on conflict on constraint application_versions_pkey do nothing;

  return query
  select e.executor_id,
    pyengine._server_identity(),
    pyengine._now(),
    pyengine._accepts_unversioned(p_application, p_app_version)
  from pyengine.executors as e
  where e.nonce = p_nonce;
end;
$function$;

comment on function pyengine.register_executor(
  bigint, text, text, integer, text, text, text, text, text, integer, interval, text, boolean, boolean, boolean
) is 'Register an executor incarnation; the same nonce gets the same id. Raises WF006.';
