"""Who this process is on its host, and whether a neighbour of the same host is gone.

A process that finds another's registration of the same boot and pid namespace can look for itself whether that
process lives. So work of a killed process resumes at once when it is started again, without waiting for a lease
to run out.
"""

from __future__ import annotations

import os
import platform
import socket
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    host: str
    pid: int
    boot_id: str
    pid_namespace: str
    process_started: str


def this_process() -> ProcessIdentity:
    pid = os.getpid()
    return ProcessIdentity(socket.gethostname(), pid, _boot_id(), _pid_namespace(), process_started(pid) or "")


@lru_cache(maxsize=1)
def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = _output(["sysctl", "-n", "kern.boottime"]) if platform.system() == "Darwin" else ""
        # Without a boot id nobody can be vouched for: no two processes share this one.
        return (
            f"{socket.gethostname()} {boot}" if boot else f"{socket.gethostname()} {os.getpid()} {os.urandom(8).hex()}"
        )


def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return "host"


def process_started(pid: int) -> str | None:
    """When a process started, in a form only good for comparing; None when there is no such process, or it is a
    zombie.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        if platform.system() == "Darwin":
            return _output(["ps", "-o", "lstart=", "-p", str(pid)]) or None
        return None
    # The command's name may hold spaces and parentheses; the fields behind it do not.
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else fields[19]


def is_gone(pid: int, started: str) -> bool:
    """Whether the process that had this pid and start time has ended. When in doubt it has not."""
    if not started or platform.system() == "Windows":
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass  # somebody else's process: it exists
    now = process_started(pid)
    if now is None:
        # Unreadable (hidepid) or a zombie: only a readable entry tells.
        return _is_zombie(pid)
    return now != started


def _is_zombie(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat[stat.rindex(")") + 2] in "ZX"


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=False).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
