"""How many executors fit: cgroups of both versions, as files."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyengine.machine import Limits, cgroup_limits, oom_kills
from pyengine.supervisor.sizing import EXECUTOR_BYTES, default_size

GB = 2**30


class Machine:
    """A made-up /proc/self and /sys/fs/cgroup."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.proc = root / "proc"
        self.proc.mkdir()
        self.mounts: list[str] = []

    def mount(self, kind: str, point: str, options: str = "rw", root: str = "/") -> None:
        (self.root / point).mkdir(parents=True, exist_ok=True)
        self.mounts.append(f"31 23 0:28 {root} {self.root / point} rw,relatime - {kind} {kind} {options}")
        (self.proc / "mountinfo").write_text("\n".join(self.mounts) + "\n")

    def is_in(self, *lines: str) -> None:
        (self.proc / "cgroup").write_text("\n".join(lines) + "\n")

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text + "\n")

    def limits(self) -> Limits:
        return cgroup_limits(self.proc)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_version_2_in_a_container(machine: Machine) -> None:
    machine.mount("cgroup2", "cg")
    machine.is_in("0::/")
    machine.write("cg/cpu.max", "150000 100000")
    machine.write("cg/memory.max", str(2 * GB))

    assert machine.limits() == Limits(1.5, 2 * GB)


def test_version_2_the_lowest_limit_on_the_way_up_counts(machine: Machine) -> None:
    machine.mount("cgroup2", "cg")
    machine.is_in("0::/system.slice/app.service")
    machine.write("cg/system.slice/app.service/cpu.max", "max 100000")
    machine.write("cg/system.slice/cpu.max", "200000 100000")
    machine.write("cg/system.slice/app.service/memory.max", "max")
    machine.write("cg/system.slice/app.service/memory.high", str(GB))
    machine.write("cg/system.slice/memory.max", str(3 * GB))

    assert machine.limits() == Limits(2.0, GB)


def test_version_1_in_a_container_that_sees_its_group_as_the_root(machine: Machine) -> None:
    machine.mount("cgroup", "cg/cpu", "rw,cpu,cpuacct", root="/docker/abc")
    machine.mount("cgroup", "cg/memory", "rw,memory", root="/docker/abc")
    machine.is_in("4:memory:/docker/abc", "2:cpu,cpuacct:/docker/abc")
    machine.write("cg/cpu/cpu.cfs_quota_us", "300000")
    machine.write("cg/cpu/cpu.cfs_period_us", "100000")
    machine.write("cg/memory/memory.limit_in_bytes", str(GB))

    assert machine.limits() == Limits(3.0, GB)


def test_version_1_without_limits(machine: Machine) -> None:
    machine.mount("cgroup", "cg/cpu", "rw,cpu")
    machine.mount("cgroup", "cg/memory", "rw,memory")
    machine.is_in("4:memory:/", "2:cpu:/")
    machine.write("cg/cpu/cpu.cfs_quota_us", "-1")
    machine.write("cg/cpu/cpu.cfs_period_us", "100000")
    machine.write("cg/memory/memory.limit_in_bytes", str(2**63 - 4096))

    assert machine.limits() == Limits(None, None)


def test_a_group_that_cannot_be_seen_from_here(machine: Machine) -> None:
    machine.mount("cgroup2", "cg")
    machine.is_in("0::/../outside")
    machine.write("cg/cpu.max", "100000 100000")

    assert machine.limits() == Limits(1.0, None)


def test_a_system_without_cgroups(tmp_path: Path) -> None:
    assert cgroup_limits(tmp_path / "nothing") == Limits(None, None)
    assert oom_kills(tmp_path / "nothing") == 0


def test_killed_for_want_of_memory(machine: Machine) -> None:
    machine.mount("cgroup2", "cg")
    machine.is_in("0::/")
    machine.write("cg/memory.events", "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0")

    assert oom_kills(machine.proc) == 2


@pytest.mark.parametrize(
    ("limits", "processes", "because"),
    [
        (Limits(None, None), 8, "8 CPU"),
        (Limits(2.0, None), 2, "2 CPU"),
        (Limits(1.5, None), 2, "1.5 CPU"),
        (Limits(0.25, None), 1, "0.25 CPU"),
        (Limits(64.0, None), 8, "8 CPU"),
        (Limits(None, 4 * EXECUTOR_BYTES), 3, "memory"),
        (Limits(2.0, 64 * GB), 2, "2 CPU"),
        (Limits(None, 10), 1, "memory"),
    ],
)
def test_the_tightest_limit_decides(limits: Limits, processes: int, because: str) -> None:
    size = default_size(limits, cpus=8)

    assert size.processes == processes
    assert because in size.reason
