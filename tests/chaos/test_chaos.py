"""Faults by the dozen on several hosts, and nothing lost, doubled or written by whoever had lost the right to."""

from __future__ import annotations

import os
import random
import tempfile
from pathlib import Path

import pytest

from plugins.chaos import faults, network

from .conftest import Stage

TTL = 1.0
# `make soak` sets both; a failed run says which seed it had.
SECONDS = float(os.environ.get("SOAK_SECONDS", "40"))
SEED = int(os.environ.get("CHAOS_SEED", "0")) or random.randrange(1, 10**6)
LOGS = Path(tempfile.gettempdir()) / f"pyengine-chaos-{SEED}"


@pytest.mark.timeout(SECONDS * 2 + 300)
@pytest.mark.parametrize("workers", [0, 2], ids=["programs", "supervised"])
def test_nothing_is_lost_whatever_happens(stage: Stage, workers: int) -> None:
    plan = faults.plan(SEED, SECONDS, hosts=3, ttl=TTL, every=2.5)
    stage.say(f"chaos: seed {SEED}, {SECONDS:g} s, namespaces: {network.has_namespaces()}")

    with stage.run(hosts=3, workers=workers, ttl=TTL, per_second=8, seed=SEED, standby=True) as run:
        for host in run.hosts:
            host.add("v1", 1 if workers else 2)
        run.run(plan, SECONDS)
        stage.in_good_order(run, LOGS, f"CHAOS_SEED={SEED} SOAK_SECONDS={SECONDS:g}")
