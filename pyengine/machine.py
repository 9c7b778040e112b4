"""What this process may use of its machine: what the cgroup allows, not what there is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_UNLIMITED = 1 << 60  # cgroup v1 says "no limit" with a number near 2^63


@dataclass(frozen=True, slots=True)
class Limits:
    """What this process may use; None where nothing is set."""

    cpus: float | None
    memory_bytes: int | None


class _Process:
    id = os.getpid()


def process_id() -> int:
    """As `os.getpid()`, without asking the kernel: for what is asked with every row."""
    return _Process.id


def _forked() -> None:
    _Process.id = os.getpid()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def usable_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def cgroup_limits(proc: Path = Path("/proc/self")) -> Limits:
    """The lowest limits on the way from this process' cgroup up to the root, in version 2 or 1."""
    try:
        groups = _groups(proc)
    except OSError:
        return Limits(None, None)
    return Limits(min(_cpus(groups), default=None), min(_memory(groups), default=None))


@dataclass(frozen=True, slots=True)
class _Group:
    controllers: frozenset[str]  # empty: version 2
    folder: Path
    top: Path

    def way_up(self) -> Iterator[Path]:
        folder = self.folder
        yield folder
        while folder != self.top and folder != folder.parent:
            folder = folder.parent
            yield folder


def _groups(proc: Path) -> list[_Group]:
    mounts = list(_mounts((proc / "mountinfo").read_text()))
    found = []
    for line in (proc / "cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        controllers = frozenset(names.split(",")) if names else frozenset()
        for mounted, root, point in mounts:
            if mounted is None if not controllers else mounted is not None and controllers <= mounted:
                # A container sees its own group as the mount's root, whatever the path says.
                inside = os.path.relpath(path, root) if path.startswith(root) else "."
                folder = point / inside
                found.append(_Group(controllers, folder if folder.is_dir() else point, point))
    return found


def _mounts(text: str) -> Iterator[tuple[frozenset[str] | None, str, Path]]:
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        fields = before.split(" ")
        if kind == "cgroup2":
            yield None, fields[3], Path(fields[4])
        elif kind == "cgroup":
            yield frozenset(options.split(" ")[-1].split(",")), fields[3], Path(fields[4])


def _cpus(groups: list[_Group]) -> Iterator[float]:
    for group in groups:
        for folder in group.way_up():
            if not group.controllers:
                quota, _, period = _text(folder / "cpu.max").partition(" ")
            elif "cpu" in group.controllers:
                quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
            else:
                continue
            if quota.isdigit() and period.isdigit() and int(quota) > 0 and int(period) > 0:
                yield int(quota) / int(period)


def _memory(groups: list[_Group]) -> Iterator[int]:
    for group in groups:
        for folder in group.way_up():
            if not group.controllers:
                limits = [_text(folder / "memory.max"), _text(folder / "memory.high")]
            elif "memory" in group.controllers:
                limits = [_text(folder / "memory.limit_in_bytes")]
            else:
                continue
            yield from (int(limit) for limit in limits if limit.isdigit() and 0 < int(limit) < _UNLIMITED)


def oom_kills(proc: Path = Path("/proc/self")) -> int:
    """How many processes of this cgroup the kernel has killed for want of memory so far."""
    try:
        groups = _groups(proc)
    except OSError:
        return 0
    for group in groups:
        name = "memory.oom_control" if "memory" in group.controllers else "memory.events"
        for line in _text(group.folder / name).splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
