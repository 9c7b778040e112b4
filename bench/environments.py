"""A virtual environment for each peer, made once and kept in a cache folder (PYENGINE_BENCH_CACHE names another)."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from bench.systems import System


def cache() -> Path:
    named = os.environ.get("PYENGINE_BENCH_CACHE")
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(named) if named else (Path(base) if base else Path.home() / ".cache") / "pyengine-bench"


def interpreter(system: System) -> Path:
    """Raises CalledProcessError when the peer cannot be installed."""
    if not system.requirements:
        return Path(sys.executable)
    said = "\n".join((sys.version, *system.requirements))
    slug = system.name.replace(" ", "-")
    folder = cache() / f"{slug}-{hashlib.sha256(said.encode()).hexdigest()[:8]}"
    python = folder / "bin" / "python"
    if (folder / ".ready").exists():
        return python
    print(f"bench: setting up {system.name}", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *system.requirements],
        check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr,
        env={**os.environ, "PIP_ROOT_USER_ACTION": "ignore"},
    )  # fmt: skip
    (folder / ".ready").touch()
    return python
