"""What the machine can do at all: one-row INSERT commits. Measured first and in part last; of each the best counts."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from bench.figures import Figure
from bench.stage import Stage, pgbench

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "programs"))
from wire import PAYLOAD, Floor, Meter

FAMILY = "floor"
CLIENTS = (1, 8, 32, 64)


def measure(stage: Stage, *, again: bool = False) -> None:
    """`again`: only those of which one is the best rate, which is what everything is compared with."""
    with stage.database() as url:
        Floor(url).connection.close()
        if not again:
            stage.add(_threads(url, 1, stage.scale.seconds))
        if not again and stage.scale.name != "tiny":
            stage.add(_threads(url, 8, stage.scale.seconds))
        binary = pgbench()
        for clients in CLIENTS[2:] if again else CLIENTS if stage.scale.name != "tiny" else CLIENTS[:2]:
            if binary:
                stage.add(_pgbench(binary, url, clients, stage.scale.seconds))
            else:
                stage.add(_processes(url, clients, stage.scale.seconds))


def best_rate(stage: Stage) -> float:
    """The most one-row INSERT commits a second, at any number of clients."""
    return max((figure.value for figure in stage.figures if figure.family == FAMILY), default=0.0)


def keep_the_best(stage: Stage) -> None:
    """Of the figures of a cell that was measured more than once."""
    best: dict[str, Figure] = {}
    for figure in stage.figures:
        if figure.family == FAMILY and (figure.key not in best or figure.value > best[figure.key].value):
            best[figure.key] = figure
    stage.figures = [*best.values(), *(figure for figure in stage.figures if figure.family != FAMILY)]


def _inserting(url: str, clients: int, seconds: float) -> list[float]:
    floors = [Floor(url) for _ in range(clients)]
    meter = Meter(seconds)

    def body(floor: Floor) -> None:
        import time

        while meter.goes_on():
            began = time.time()
            floor.insert()
            meter.note(began)

    threads = [threading.Thread(target=body, args=(floor,)) for floor in floors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for floor in floors:
        floor.connection.close()
    return meter.took


def _figure(cell: str, system: str, took: list[float], seconds: float, note: str = "") -> Figure:
    ordered = sorted(took) or [0.0]
    return Figure(
        FAMILY, cell, system, "/s", len(took) / seconds, ordered[len(ordered) // 2] * 1000,
        ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * 1000, spread_unit="ms", samples=len(took), note=note,
    )  # fmt: skip


def _threads(url: str, clients: int, seconds: float) -> Figure:
    cell = f"INSERT, {clients} connection{'s' if clients > 1 else ''}"
    note = "threads of one process" if clients > 1 else ""
    return _figure(cell, "psycopg", _inserting(url, clients, seconds), seconds, note)


def _processes(url: str, clients: int, seconds: float) -> Figure:
    """Where no pgbench is found. Less than pgbench would get: said in the note."""
    processes = min(clients, 4)
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        each = pool.starmap(_inserting, [(url, clients // processes or 1, seconds)] * processes)
    took = [one for some in each for one in some]
    note = f"NO pgbench: psycopg in {processes} processes, which costs more"
    return _figure(f"INSERT, {clients} clients", "psycopg (stand-in)", took, seconds, note)


def _pgbench(binary: str, url: str, clients: int, seconds: float) -> Figure:
    script = f"insert into bench_floor (payload) values ('{PAYLOAD}');\n"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "insert.sql").write_text(script)
        done: Any = subprocess.run(
            [binary, "-n", "-M", "prepared", "-f", "insert.sql", "-c", str(clients), "-j", str(min(clients, 2)),
             "-T", str(max(1, round(seconds))), "-l", "--log-prefix=log", "-d", url],
            cwd=folder, check=True, capture_output=True, text=True,
        )  # fmt: skip
        rates = [float(line.split()[2]) for line in done.stdout.splitlines() if line.startswith("tps =")]
        took = [
            int(line.split()[2]) / 1e6 for log in Path(folder).glob("log*") for line in log.read_text().splitlines()
        ]
    figure = _figure(f"INSERT, {clients} clients", "pgbench", took, seconds)
    # It says none where the machine stood still for the whole time.
    figure.value = rates[0] if rates else 0.0
    return figure
