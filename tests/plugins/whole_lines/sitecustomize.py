"""On the path of programs under test: print() writes a line in one piece.

Python writes the end of a line on its own, so lines that several threads or processes print into one pipe run together.
A test reads lines; it must not fail because two of them were printed at the same instant.
"""

import builtins
import os
import select
import sys
import time

_print = builtins.print


def _print_whole_lines(*values, sep=" ", end="\n", file=None, flush=False):
    text = (" " if sep is None else sep).join(map(str, values)) + ("\n" if end is None else end)
    _print(text, end="", file=sys.stdout if file is None else file, flush=flush)


builtins.print = _print_whole_lines

if "libfaketime" in os.environ.get("LD_PRELOAD", ""):
    # Its clock_nanosleep() answers EINVAL to Python's absolute instants.
    def _sleep(seconds):
        select.select((), (), (), seconds)

    time.sleep = _sleep
