"""The one place that talks to Postgres at run time. It only calls the schema's functions; the logic is theirs."""
