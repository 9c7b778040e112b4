"""Folders of the embedded server: `.pyengine/` in the project, the socket's folder, and root's place for data."""

from __future__ import annotations

import json
import os
import re
import secrets
import stat
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .problems import ServerProblem

if sys.platform != "win32":
    import pwd

CONFIG_NAMES = ("dbos-config.yaml", "pyengine-config.yaml")
FOLDER_NAME = ".pyengine"
ROOT_STATE = Path("/var/lib/pyengine")
# Root's server runs as the first of these that exists; none is ever created.
SERVER_USERS = ("postgres", "_postgres", "nobody", "daemon")
# sun_path has 104 bytes on macOS and 108 on Linux, one of them the closing zero; '/.s.PGSQL.5432' takes 14.
SOCKET_FOLDER_BYTES = 103 - 14
INSTEAD = "or set DBOS_SYSTEM_DATABASE_URL to a Postgres of your own"


def find_home(start: Path) -> Path:
    """The project's folder: the nearest one upwards that holds a configuration file, else the start itself."""
    start = start.absolute()
    for folder in (start, *start.parents):
        if any((folder / name).is_file() for name in CONFIG_NAMES):
            return folder
    return start


@dataclass(frozen=True)
class Home:
    """Where everything of one embedded server is."""

    folder: Path  # <project>/.pyengine: locks, password, logs; without root the data too

    @property
    def start_lock(self) -> Path:
        return self.folder / "start.lock"

    @property
    def keeper_lock(self) -> Path:
        return self.folder / "keeper.lock"

    @property
    def users_lock(self) -> Path:
        return self.folder / "users.lock"

    @property
    def password_file(self) -> Path:
        return self.folder / "password"

    @property
    def server_file(self) -> Path:
        return self.folder / "server.json"

    @property
    def keeper_log(self) -> Path:
        return self.folder / "keeper.log"

    @property
    def server_log(self) -> Path:
        return self.folder / "postgres.log"


@dataclass(frozen=True)
class Place:
    """Where the data and the socket are, and whose they are."""

    state: Path  # parent of the data
    uid: int
    gid: int

    @property
    def data(self) -> Path:
        return self.state / "postgres"

    @property
    def switches_user(self) -> bool:
        return self.uid != os.geteuid()


def prepare(project: Path) -> Home:
    """Make `.pyengine/` if need be, for this user alone. What exists keeps its permissions."""
    folder = Path(os.path.realpath(project)) / FOLDER_NAME
    try:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        there = folder.stat()
        if not stat.S_ISDIR(there.st_mode):
            raise ServerProblem(f"{folder} is not a folder: move it away, {INSTEAD}")
        if there.st_uid != os.geteuid():
            raise ServerProblem(
                f"{folder} belongs to user {user_name(there.st_uid)}: run as that user, delete the folder to start "
                f"empty, {INSTEAD}"
            )
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
        os.close(os.open(folder / "start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    except FileNotFoundError:
        raise ServerProblem(f"{folder.parent} does not exist: create it, {INSTEAD}") from None
    except OSError as error:
        raise ServerProblem(
            f"cannot write in {folder.parent} ({error.strerror}), where the embedded Postgres keeps its data "
            f"({FOLDER_NAME}/): start in a folder you may write to, {INSTEAD}"
        ) from None
    return Home(folder)


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def locate(home: Home) -> Place:
    """Where this home's data live: in it, or, as root, where an ordinary user can reach them."""
    if os.geteuid() != 0:
        return Place(home.folder, os.geteuid(), os.getegid())
    state = root_state(home)
    uid, gid = _server_user(state / "postgres")
    return Place(state, uid, gid)


def root_state(home: Home) -> Path:
    """Root's folder for this home, made on first use. `.pyengine/cluster.json` points to it.

    The name is random, not made from the path: so a project can be moved and keeps its data, and a deleted
    `.pyengine/` means a fresh start. A copied project gets data of its own: its pointer still names the original.
    """
    pointer = home.folder / "cluster.json"
    known = read_json(pointer)
    name, owner = known.get("id"), known.get("folder")
    if isinstance(name, str) and re.fullmatch(r"[0-9a-f]{12}", name):
        original = read_json(Path(str(owner)) / "cluster.json") if owner != str(home.folder) else {}
        if original.get("id") == name:
            name = None
    else:
        name = None
    if name is None or owner != str(home.folder):
        name = name or secrets.token_hex(6)
        write_private(pointer, json.dumps({"id": name, "folder": str(home.folder)}))
    state = ROOT_STATE / name
    try:
        for folder in (ROOT_STATE, state):
            if not folder.exists():
                folder.mkdir(mode=0o755)
                folder.chmod(0o755)  # whatever the umask: another user has to get through
    except OSError as error:
        raise ServerProblem(f"cannot make {state} ({error.strerror}): run as an ordinary user, {INSTEAD}") from None
    return state


def _server_user(data: Path) -> tuple[int, int]:
    with suppress(OSError):
        owner = data.stat()
        if owner.st_uid != 0:  # whoever has run it so far, even if a better one exists by now
            return owner.st_uid, owner.st_gid
    for name in SERVER_USERS:
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            if entry.pw_uid != 0:
                return entry.pw_uid, entry.pw_gid
    raise ServerProblem(
        "Postgres refuses to run as root and there is no ordinary user to run it as (postgres, nobody or daemon): "
        f"run as an ordinary user, {INSTEAD}"
    )


def socket_folder(home: Home, place: Place) -> Path:
    """A folder that only the server's user can enter, with a path short enough for a socket.

    The same folder every time, so an open program finds its server again after a restart of it.
    """
    wanted = place.state / "run"
    if _fits(wanted):
        _make_private(wanted, place)
        return wanted
    pointer = home.folder / "socket.json"
    known = read_json(pointer).get("folder")
    if isinstance(known, str) and _is_private(Path(known), place):
        return Path(known)
    parents = [Path(each) for each in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp") if each]
    for parent in parents:
        if _fits(parent / "pyengine-00000000") and os.access(parent, os.W_OK | os.X_OK):
            folder = Path(tempfile.mkdtemp(prefix="pyengine-", dir=parent))
            write_private(pointer, json.dumps({"folder": str(folder)}))
            return folder
    raise ServerProblem(f"found no folder for a socket with a path short enough: move {home.folder.parent}, {INSTEAD}")


def _fits(folder: Path) -> bool:
    # libpq reads a comma in a host as a list and Postgres quotes in a list of folders: plain names only.
    text = str(folder)
    return len(os.fsencode(text)) <= SOCKET_FOLDER_BYTES and re.fullmatch(r"[\w./ @+=~-]+", text, re.ASCII) is not None


def _make_private(folder: Path, place: Place) -> None:
    if not folder.exists():
        folder.mkdir(mode=0o700)
        if place.switches_user:
            os.chown(folder, place.uid, place.gid)
    elif not _is_private(folder, place):
        raise ServerProblem(f"{folder} must be a folder of user {user_name(place.uid)} with mode 0700: delete it")


def _is_private(folder: Path, place: Place) -> bool:
    try:
        there = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(there.st_mode) and there.st_uid == place.uid and not there.st_mode & 0o077


def read_json(path: Path) -> dict[str, object]:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step, readable for its owner alone."""
    descriptor, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(scratch, path)
