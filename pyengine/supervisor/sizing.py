"""How many executors fit here."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..machine import Limits, cgroup_limits, usable_cpus

# What an executor needs with an application of ordinary size. One that needs more says so with --processes.
EXECUTOR_BYTES = 128 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Size:
    processes: int
    reason: str


def default_size(limits: Limits | None = None, cpus: int | None = None) -> Size:
    limits = cgroup_limits() if limits is None else limits
    available = usable_cpus() if cpus is None else cpus
    processes, reason = available, f"{available} CPU(s)"
    if limits.cpus is not None and math.ceil(limits.cpus) < processes:
        processes, reason = max(1, math.ceil(limits.cpus)), f"a limit of {limits.cpus:g} CPU(s)"
    if limits.memory_bytes is not None:
        # One of them for parent and warden.
        room = max(1, limits.memory_bytes // EXECUTOR_BYTES - 1)
        if room < processes:
            processes, reason = room, f"a limit of {limits.memory_bytes // 2**20} MB of memory"
    return Size(processes, reason)
