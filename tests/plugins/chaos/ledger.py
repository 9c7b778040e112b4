"""The ledger of a chaos run: what steps did, as they wrote it, and what the engine did, as the database saw it.

The second half is written by triggers on the engine's own tables, so that it holds whatever executors believe.
"""

from __future__ import annotations

import psycopg

SCHEMA = """
create schema ledger;

-- Written by steps.
create table ledger.effects (
  effect_id bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  host text not null,
  executor_id bigint not null,
  fence bigint not null,
  workflow_id text not null,
  step_id integer not null,
  name text not null,
  value integer not null
);
create index on ledger.effects (workflow_id, step_id);

-- Written by triggers. claim: a row became PENDING; leave: it stopped being that, in whatever way.
create table ledger.acts (
  act_id bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  act text not null,
  workflow_id text not null,
  step_id integer,
  queue text,
  partition_key text,
  executor_id bigint,
  fence bigint,
  claimed_at timestamptz,
  problem text
);

create function ledger.watch_in_flight() returns trigger language plpgsql as $$
begin
  if tg_op <> 'INSERT' and old.status = 'PENDING' and (tg_op = 'DELETE' or new.fence is distinct from old.fence) then
    insert into ledger.acts (act, workflow_id, queue, partition_key, executor_id, fence, claimed_at)
    values ('leave', old.workflow_id, old.queue, old.partition_key, old.executor_id, old.fence, old.claimed_at);
  end if;
  if tg_op <> 'DELETE' and new.status = 'PENDING' and (tg_op = 'INSERT' or new.fence is distinct from old.fence) then
    insert into ledger.acts (act, workflow_id, queue, partition_key, executor_id, fence, claimed_at, problem)
    values (
      'claim', new.workflow_id, new.queue, new.partition_key, new.executor_id, new.fence, new.claimed_at,
      (select 'claimed for an executor that was marked dead' from pyengine.executors as e
       where e.executor_id = new.executor_id and e.handed_over_at is not null)
    );
  end if;
  return null;
end;
$$;

create function ledger.fence_in(p_payload bytea) returns bigint language sql immutable as $$
  select (regexp_match(convert_from(p_payload, 'utf8'), '"fence": ?(\\d+)'))[1]::bigint
$$;

create function ledger.watch_checkpoints() returns trigger language plpgsql as $$
declare
  v_fence bigint;
  v_problem text;
begin
  if tg_op <> 'INSERT' then
    v_problem := 'a checkpoint was changed: ' || tg_op;
  elsif new.name like 'add%' and new.output is not null then
    v_fence := ledger.fence_in(new.output);
    v_problem := (
      select case
          when i.fence is distinct from v_fence then format('the claim is %s', i.fence)
          when e.handed_over_at is not null then 'its executor was handed over'
        end
      from (select 1) as one
      left join pyengine.in_flight as i on i.workflow_id = new.workflow_id
      left join pyengine.executors as e on e.executor_id = i.executor_id
    );
  end if;
  insert into ledger.acts (act, workflow_id, step_id, fence, problem)
  values (
    'checkpoint', coalesce(new.workflow_id, old.workflow_id), coalesce(new.step_id, old.step_id), v_fence, v_problem
  );
  return null;
end;
$$;

create function ledger.watch_outcomes() returns trigger language plpgsql as $$
begin
  insert into ledger.acts (act, workflow_id, executor_id, fence, problem)
  values (
    'outcome', coalesce(new.workflow_id, old.workflow_id), new.executor_id, new.fence,
    case
      when tg_op <> 'INSERT' then 'an outcome was changed: ' || tg_op
      when new.status = 'SUCCESS' and ledger.fence_in(new.output) is distinct from new.fence
        then format('the run of fence %s wrote it', ledger.fence_in(new.output))
    end
  );
  return null;
end;
$$;

create trigger watch after insert or update or delete on pyengine.in_flight
  for each row execute function ledger.watch_in_flight();
create trigger watch after insert or update or delete on pyengine.checkpoints
  for each row execute function ledger.watch_checkpoints();
create trigger watch after insert or update or delete on pyengine.outcomes
  for each row execute function ledger.watch_outcomes();
"""


def install(url: str) -> None:
    """Into a database that has the engine's schema."""
    with psycopg.connect(url) as connection:
        connection.execute(SCHEMA.encode())
