"""What every measurement says about itself: the machine, the server, the settings; and where it is kept."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psycopg

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[1], 1),  # of five minutes: what else ran takes its share
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def server(url: str, *settings: str) -> dict[str, Any]:
    with psycopg.connect(url) as connection:

        def show(name: str) -> str:
            row = connection.execute(f"show {name}".encode()).fetchone()
            return str(row[0]) if row else ""

        return {"postgres": show("server_version"), **{name: show(name) for name in settings}}


def quantile(values: Sequence[float], share: float) -> float:
    """Of few values, so it is one of them: p99 of 20 is the greatest."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def write(name: str, result: dict[str, Any]) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    at = datetime.now(timezone.utc).isoformat(timespec="seconds")
    path.write_text(json.dumps({"at": at, **result}, indent=2) + "\n")
    return path
