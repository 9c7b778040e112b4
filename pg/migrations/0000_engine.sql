-- Bookkeeping of the installer: what is installed here, and which engines this schema still serves.

-- One row. Everything a starting process needs to know is read from it in one query.
create table pyengine.engine (
  singleton boolean not null default true,
  schema_version integer not null,
  oldest_protocol integer not null,
  -- The release that installed the functions: an older one must not put its own back.
  release text not null,
  -- Of all shipped SQL: equal means nothing is to be done.
  digest text not null,
  views_checksum text,
  -- Whether the database was made for the engine, so that a reset may drop it.
  created_database boolean not null default false,
  -- Names of the group roles, once they have been made; grants.sql grants to these.
  owner_role text,
  executor_role text,
  client_role text,
  reader_role text,
  installed_at timestamptz not null,
  changed_at timestamptz not null,
  constraint engine_pkey primary key (singleton),
  constraint engine_singleton_check check (singleton)
);

create table pyengine.migrations (
  version integer not null,
  name text collate "C" not null,
  checksum text not null,
  applied_at timestamptz not null,
  constraint migrations_pkey primary key (version)
);

-- A changed function is found by its checksum and, where `create or replace` cannot change it, dropped by this identity.
create table pyengine.installed_functions (
  name text collate "C" not null,
  argument_types text not null,
  checksum text not null,
  installed_at timestamptz not null,
  constraint installed_functions_pkey primary key (name)
);
