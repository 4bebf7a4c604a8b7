"""Ends a bed, exactly and in every case: it outlives the process that holds its standard input open.

`python keeper.py <folder>` waits for the end of its input: the test process closed it, or was killed. Then
all processes whose working directory lies in the folder are ended, and the folder is removed. All that a bed
starts works in there, and nothing else does. Needs the standard library only.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PATIENCE = 15.0  # seconds in which PostgreSQL may give back its shared memory


def end(folder: Path) -> None:
    """End what works in the folder, then remove it. A bed that is half-made, or gone already, is no error."""
    limit = time.monotonic() + PATIENCE
    while working := dict(_working_in(folder)):
        for process, place in working.items():
            with suppress(ProcessLookupError):
                if time.monotonic() > limit or not _is_of_postgresql(folder, place):
                    os.kill(process, signal.SIGKILL)
                elif process in _postmasters(folder):
                    os.kill(process, signal.SIGQUIT)  # its immediate shutdown: it ends all its processes
        time.sleep(0.02)
    shutil.rmtree(folder, ignore_errors=True)


def _working_in(folder: Path) -> Iterator[tuple[int, str]]:
    """The processes whose working directory lies in the folder, and where they work."""
    for entry in os.listdir("/proc"):
        with suppress(OSError):
            place = os.readlink(f"/proc/{entry}/cwd") if entry.isdigit() else ""
            if f"{place}/".startswith(f"{folder}/") and not _is_dead(entry):
                yield int(entry), place.removesuffix(" (deleted)")


def _is_dead(process: str) -> bool:
    """A zombie of somebody who does not wait for it must not be waited for by us."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"


def _is_of_postgresql(folder: Path, place: str) -> bool:
    return place == str(folder / "postgresql" / "data")


def _postmasters(folder: Path) -> set[int]:
    """PostgreSQL's first process, as it says itself (its manual: "Database File Layout", postmaster.pid)."""
    with suppress(OSError, ValueError):
        return {int((folder / "postgresql" / "data" / "postmaster.pid").read_text().split("\n", 1)[0])}
    return set()


def main() -> None:
    """Wait for the end of our input, then end the bed."""
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)  # who ends the tests ends the bed by that
    sys.stdin.buffer.read()
    end(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
