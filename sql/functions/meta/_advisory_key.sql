-- _advisory_key: the 64-bit advisory lock key of (schema, kind, id).
--
-- Kinds: 'fence' and 'liveness' (executor id), 'queue' (application/queue), 'housekeeping', 'schedule'. A collision only makes
-- two strangers wait for each other. No pinned search_path, so that it is inlined; the SQL-standard body is bound at creation.
create or replace function pyengine._advisory_key(p_kind text, p_id text)
returns bigint
language sql
immutable
strict
parallel safe
security invoker
return pg_catalog.hashtextextended(
  'pyengine.' operator(pg_catalog.||) p_kind operator(pg_catalog.||) ':' operator(pg_catalog.||) p_id, 0);

comment on function pyengine._advisory_key(text, text) is 'Key of an advisory lock: hash of schema, kind and id.';
