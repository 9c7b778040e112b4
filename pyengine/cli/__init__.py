"""The command line: `pyengine` (and `dbos`, with the distribution of that name)."""
