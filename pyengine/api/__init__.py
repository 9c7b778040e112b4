"""The public API: names and behaviour of DBOS Transact for Python, of every era."""
