"""Fixtures shared by all tests: server, database, sessions, clock, processes."""
