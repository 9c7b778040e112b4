"""`make demo`: a first program, then a workflow that is killed with `kill -9` and resumes from its last step."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
KILL_AFTER = "step 2 of 5 done"
BOLD, PLAIN = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")


def say(text: str) -> None:
    print(f"\n{BOLD}{text}{PLAIN}", flush=True)


def show(*command: str) -> None:
    say(f"$ python {' '.join(command)}")
    subprocess.run([sys.executable, *command], cwd=HERE, check=True)


def show_until_killed(*command: str) -> list[str]:
    """Run the program and kill it -9 as soon as it has printed the line; what it printed is returned."""
    say(f"$ python {' '.join(command)}")
    printed = []
    with subprocess.Popen([sys.executable, *command], cwd=HERE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        for line in program.stdout:
            printed.append(line.strip())
            print(line, end="", flush=True)
            if line.strip() == KILL_AFTER:
                program.kill()
    return printed


def main() -> int:
    say("1. A first program: a workflow of two steps.")
    show("first_workflow.py")

    workflow_id = f"demo-{time.time_ns()}"
    say(f"2. A workflow of five steps. After its second step: kill -9. Its id is {workflow_id}.")
    if KILL_AFTER not in show_until_killed("survive_a_kill.py", workflow_id):
        print("the program ended before it could be killed: see above", file=sys.stderr)
        return 1
    say("3. Gone. Started again it resumes: steps 1 and 2 are not run again, their results are in Postgres.")
    show("survive_a_kill.py", workflow_id)
    return 0


if __name__ == "__main__":
    sys.exit(main())
