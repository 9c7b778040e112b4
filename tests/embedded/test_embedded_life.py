"""How long the server lives: from the first user's start until a moment after the last one's end, however it ended."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import psycopg
import pytest

from plugins.embedded_projects import USER, Project, eventually, execute, is_running, url_of
from plugins.processes import Processes
from pyengine import embedded
from pyengine.embedded import locks


def test_starts_serves_and_stops_after_release(project: Project) -> None:
    server = embedded.start(project.folder)
    assert server.description.startswith("embedded Postgres ")
    assert server.description.endswith(f" in {project.home.folder}")
    assert execute(server.url, "select current_user::text || ' ' || current_database()") == "postgres postgres"
    assert execute(server.url, "show server_encoding") == "UTF8"
    assert execute(server.url, "show fsync") == "on"
    assert (project.home.folder / ".gitignore").read_text() == "*\n"
    server.release()
    server.release()
    project.wait_stopped()


def test_stops_after_the_last_user_was_killed(project: Project, processes: Processes) -> None:
    users = [processes.start(USER, name=f"user{number}.py", folder=project.folder) for number in (1, 2)]
    started = {execute(url_of(user), "select pg_postmaster_start_time()::text") for user in users}
    assert len(started) == 1
    keeper = project.keeper
    users[0].kill()
    with pytest.raises(AssertionError):
        eventually(lambda: not project.is_kept(), within_seconds=1.8)
    users[1].kill()
    project.wait_stopped()
    eventually(lambda: not is_running(keeper))


def test_many_processes_that_start_at_once_share_one_server(project: Project, processes: Processes) -> None:
    users = [processes.start(USER, name=f"user{number}.py", folder=project.folder) for number in range(6)]
    assert len({execute(url_of(user), "select pg_postmaster_start_time()::text") for user in users}) == 1
    assert project.home.keeper_log.read_text().count(" runs in ") == 1


def test_threads_of_one_process_share_one_use(project: Project) -> None:
    servers: list[embedded.EmbeddedServer] = []
    threads = [threading.Thread(target=lambda: servers.append(embedded.start(project.folder))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({server.url for server in servers}) == 1
    for server in servers[1:]:
        server.release()
    with pytest.raises(AssertionError):
        eventually(lambda: not project.is_kept(), within_seconds=1.8)
    servers[0].release()
    project.wait_stopped()


def test_data_and_address_survive_a_restart(project: Project) -> None:
    first = embedded.start(project.folder)
    execute(first.url, "create table kept (n int)", "insert into kept values (7)")
    first.release()
    project.wait_stopped()
    second = embedded.start(project.folder)
    assert second.url == first.url
    assert execute(second.url, "select n from kept") == 7
    second.release()


def test_a_restart_within_the_grace_finds_the_same_server(project: Project) -> None:
    first = embedded.start(project.folder)
    born = execute(first.url, "select pg_postmaster_start_time()::text")
    first.release()
    second = embedded.start(project.folder)
    assert execute(second.url, "select pg_postmaster_start_time()::text") == born
    second.release()


def test_a_start_while_the_server_is_stopping_is_not_lost(project: Project) -> None:
    for _ in range(3):
        server = embedded.start(project.folder)
        stopped = project.home.keeper_log.read_text().count("stopping")
        server.release()
        eventually(lambda stopped=stopped: project.home.keeper_log.read_text().count("stopping") > stopped)
        again = embedded.start(project.folder)
        assert execute(again.url, "select 1") == 1
        again.release()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a parent-death signal")
def test_a_killed_keeper_takes_the_server_with_it(project: Project) -> None:
    server = embedded.start(project.folder)
    execute(server.url, "create table kept (n int)", "insert into kept values (7)")
    keeper, postmaster = project.keeper, project.postmaster
    os.kill(keeper, signal.SIGKILL)
    eventually(lambda: not is_running(postmaster), within_seconds=3)
    server.ensure()
    assert project.keeper != keeper
    assert execute(server.url, "select n from kept") == 7
    server.release()


def test_a_killed_server_comes_back_at_the_same_address(project: Project) -> None:
    server = embedded.start(project.folder)
    execute(server.url, "create table kept (n int)", "insert into kept values (7)")
    keeper = project.keeper
    os.kill(project.postmaster, signal.SIGKILL)

    def answer() -> object:
        try:
            return execute(server.url, "select n from kept")
        except psycopg.OperationalError:
            return None

    assert eventually(answer) == 7
    assert project.keeper == keeper
    server.release()


def test_everything_killed_and_the_pid_given_to_another_program(project: Project, processes: Processes) -> None:
    server = embedded.start(project.folder)
    execute(server.url, "create table kept (n int)", "insert into kept values (7)")
    project.kill_everything()
    pid_file = project.data / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    # A program of the very user Postgres runs as: any other it would not believe in anyway.
    uid = project.server_uid()
    other = processes.start(
        f"import os, time\nif os.geteuid() != {uid}: os.setuid({uid})\nprint('here')\ntime.sleep(600)\n"
    )
    other.wait_for_line("here")
    pid_file.write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")
    server.ensure()
    assert execute(server.url, "select n from kept") == 7
    assert other.process.poll() is None
    server.release()


def test_ctrl_c_does_not_reach_the_server(project: Project, processes: Processes) -> None:
    stubborn = processes.start(
        """
        import signal, time
        from pathlib import Path
        from pyengine import embedded
        signal.signal(signal.SIGINT, lambda *_: print("interrupted"))
        server = embedded.start(Path.cwd())
        print("URL", server.url)
        while True:
            time.sleep(0.1)
        """,
        folder=project.folder,
    )
    url = url_of(stubborn)
    with psycopg.connect(url) as connection:
        stubborn.interrupt()
        stubborn.wait_for_line("interrupted")
        assert os.getsid(project.postmaster) == os.getsid(project.keeper) != os.getsid(stubborn.pid)
        assert connection.execute("select 1").fetchone() == (1,)


@pytest.mark.parametrize("child", ["os.fork() or time.sleep(600)", "subprocess.Popen(['sleep', '600'])"])
def test_a_child_that_outlives_its_parent_does_not_hold_the_server(
    project: Project, processes: Processes, child: str
) -> None:
    parent = processes.start(
        f"""
        import os, subprocess, time
        from pathlib import Path
        from pyengine import embedded
        server = embedded.start(Path.cwd())
        kept = {child}
        print("ready")
        time.sleep(600)
        """,
        folder=project.folder,
    )
    parent.wait_for_line("ready")
    parent.kill()
    project.wait_stopped()


def test_a_forked_child_may_become_a_user_of_its_own(project: Project, processes: Processes) -> None:
    parent = processes.start(
        """
        import os, time
        from pathlib import Path
        from pyengine import embedded
        server = embedded.start(Path.cwd())
        if os.fork() == 0:
            server.ensure()
            print("child", os.getpid())
            time.sleep(600)
        time.sleep(600)
        """,
        folder=project.folder,
    )
    parent.wait_for_line("^child ")
    parent.kill()
    with pytest.raises(AssertionError):
        eventually(lambda: not project.is_kept(), within_seconds=1.8)
    parent.close()
    project.wait_stopped()


def test_sigterm_leaves_the_users_their_server_for_a_while(project: Project) -> None:
    server = embedded.start(project.folder)
    os.kill(project.keeper, signal.SIGTERM)
    time.sleep(0.6)  # the keeper looks four times a second
    assert execute(server.url, "select 1") == 1
    os.kill(project.keeper, signal.SIGTERM)
    project.wait_stopped()
    server.release()


def test_a_deleted_folder_ends_the_server_and_the_next_start_is_fresh(project: Project) -> None:
    import shutil

    server = embedded.start(project.folder)
    execute(server.url, "create table kept (n int)")
    postmaster, data = project.postmaster, project.data
    shutil.rmtree(project.home.folder)
    eventually(lambda: not is_running(postmaster))
    again = embedded.start(project.folder)
    assert execute(again.url, "select to_regclass('kept')::text") is None
    again.release()
    server.release()
    shutil.rmtree(data.parent, ignore_errors=True)


def test_a_program_that_never_releases_ends_without_a_warning(project: Project, processes: Processes) -> None:
    program = processes.start(
        USER.replace("time.sleep(600)", ""),
        folder=project.folder,
        options=("-X", "dev", "-W", "error"),
    )
    assert program.wait() == 0
    assert program.stderr == []
    project.wait_stopped()


def test_remove_refuses_while_in_use_and_deletes_afterwards(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyengine.embedded.server.REMOVE_SECONDS", 0.2)
    server = embedded.start(project.folder)
    data = server.data_folder
    with pytest.raises(embedded.EmbeddedUnavailable, match="in use"):
        embedded.remove(project.folder)
    server.release()
    monkeypatch.undo()
    embedded.remove(project.folder)
    assert not data.exists()
    assert not project.home.folder.exists()


def test_a_reader_of_every_file_does_not_drop_the_lock(project: Project) -> None:
    """What rules out POSIX record locks: closing any descriptor of the file would release them."""
    server = embedded.start(project.folder)
    project.home.users_lock.read_bytes()
    watcher = locks.Lock(project.home.users_lock)
    assert not watcher.try_exclusive()
    watcher.close()
    server.release()
