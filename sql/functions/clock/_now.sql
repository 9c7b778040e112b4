-- _now: the only clock of the engine. Read it after locks are held; tests replace this function to skip time.
--
-- No pinned search_path, so that the planner inlines it; the SQL-standard body is bound when it is created.
create or replace function pyengine._now()
returns timestamptz
language sql
volatile
security invoker
return pg_catalog.clock_timestamp();

comment on function pyengine._now() is 'The one clock: instant of the database, read after locks are held.';
