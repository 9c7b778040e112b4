"""The fleet of one host: a parent that forks, reaps and signals, a warden that beats and buries, and the executors.

They share a board in memory. The parent runs no user code, opens no connection and starts no thread, so that nothing
can keep it from its work; whatever needs Postgres is the warden's.
"""
