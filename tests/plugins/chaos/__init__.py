"""A chaos run: several hosts, a workload that leaves a ledger, faults by a seed, and what must hold in the end."""
