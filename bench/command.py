"""One run of the command line: a whole process, with its time, its memory and its processor time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROGRAM = Path(sys.executable).with_name("reconciler")
MIB = 1024  # ru_maxrss is in KiB on Linux


class UnexpectedEnd(Exception):
    """The command did not end as it should have; what it measured means nothing."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one run took. `cpu` is user and system time; `started` seconds since 1970; `calls` requests."""

    seconds: float
    cpu: float
    mib: float
    code: int
    started: float
    calls: int = 0


def run(
    words: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    *,
    expect: Collection[int],
    limit: float,
) -> Sample:
    """Run `reconciler WORDS` in a folder, as `run_program` does."""
    return run_program([str(PROGRAM), *words], folder, environment, expect=expect, limit=limit)


def run_program(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    *,
    expect: Collection[int],
    limit: float,
) -> Sample:
    """Run a program in a folder; killed with its children after `limit` seconds.

    Raises UnexpectedEnd when its exit code is not one of `expect`. Memory is the largest resident set
    of the process or of a child of its own; the kernel counts from that of the bench itself, about 25 MiB.
    """
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        started, began = time.time(), time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        guard = threading.Timer(limit, os.killpg, (process.pid, signal.SIGKILL))
        guard.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        guard.cancel()
    process.returncode = code = os.waitstatus_to_exitcode(status)
    if code not in expect:
        raise UnexpectedEnd(_complaint(command, folder, code, seconds))
    return Sample(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / MIB, code, started)


def _complaint(command: Sequence[str], folder: Path, code: int, seconds: float) -> str:
    said = (folder / "stderr").read_text(errors="replace").strip() or (folder / "stdout").read_text(
        errors="replace"
    )
    words = " ".join([Path(command[0]).name, *command[1:]])
    return f"{words} ended with {code} after {seconds:.1f} s: …{said.strip()[-600:]}"
