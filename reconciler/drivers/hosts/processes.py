"""The processes of a local machine: do its services run, and how all of them are ended.

Formats: `<root>/services/<name>.json` is {"name", "pid", "start", "supervisor"}, and all processes of a
machine have RECONCILER_ROOT=<root> in their environment (role `platform`). `start` is the 22nd field of
/proc/<pid>/stat, the time since boot at which the process began (proc(5)).
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

_SERVICES: Final = "services"
_RUN: Final = "run"
_MARK: Final = "RECONCILER_ROOT"
_LONGEST: Final = 4096  # bytes of a note
_GRACE: Final = 5.0  # seconds to end by themselves
_LIMIT: Final = 10.0  # and to be gone after being killed


def services(root: str) -> dict[str, bool]:
    """The services of a machine by name: does it run? A broken note is of a service that does not."""
    folder = os.path.join(root, _SERVICES)
    try:
        names = [name for name in os.listdir(folder) if name.endswith(".json") and name[0] != "."]
    except (FileNotFoundError, NotADirectoryError):
        return {}
    found = sorted(name.removesuffix(".json") for name in names)
    return {name: _runs(_note(root, name)) for name in found}


def _note(root: str, name: str) -> str:
    return os.path.join(root, _SERVICES, f"{name}.json")


def _runs(note: str) -> bool:
    """Is the process that the note names there, below the supervisor that would start it again?"""
    found = _noted(note)
    return found is not None and found[0].parent == found[1]


def _noted(note: str) -> tuple[_Process, int] | None:
    """The process that a note names, while it lives, and the supervisor that once started it."""
    try:
        told = json.loads(_small(note))
        found = _process(int(told["pid"]))
        return (
            (found, int(told.get("supervisor", found.parent))) if found.start == int(told["start"]) else None
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _small(path: str) -> bytes:
    """A file that the machine wrote: not followed, not waited for, and only its beginning."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(file, "rb") as stream:
        return stream.read(_LONGEST)


@dataclass(frozen=True, slots=True)
class _Process:
    """What the kernel says; `start` is -1 for one that has ended and waits to be collected."""

    number: int
    parent: int
    group: int
    start: int


def _process(number: int) -> _Process:
    """Raises OSError when there is none."""
    with open(f"/proc/{number}/stat", "rb") as stream:
        fields = stream.read().rpartition(b")")[2].split()  # the name before may hold blanks
    start = -1 if fields[0] in (b"Z", b"X") else int(fields[19])
    return _Process(number, int(fields[1]), int(fields[2]), start)


def end_all(root: str) -> None:
    """End every process of a machine: what carries its mark, its services' groups, and what those started.

    The one that restarts others is asked like the others; who does not go in time is killed. Raises
    TimeoutError when something is left even so.
    """
    if not any(os.path.isdir(os.path.join(root, name)) for name in (_SERVICES, _RUN)):
        return  # nothing was ever started there
    known = _of_machine(root)
    _send(signal.SIGTERM, known)
    limit = time.monotonic() + _GRACE
    while any(map(_is_alive, known)) and time.monotonic() < limit:
        time.sleep(0.02)
    limit = time.monotonic() + _LIMIT
    while left := {process for process in known if _is_alive(process)} | _of_machine(root):
        known = known | left
        _send(signal.SIGKILL, left)
        if time.monotonic() >= limit:
            raise TimeoutError(f"processes {sorted(one.number for one in left)} do not end")
        time.sleep(0.02)


def _send(signal_number: int, processes: Iterable[_Process]) -> None:
    for process in processes:
        if _is_alive(process):
            with suppress(ProcessLookupError):
                os.kill(process.number, signal_number)


def _is_alive(process: _Process) -> bool:
    """By number and start: a number alone may be given to somebody else."""
    with suppress(OSError):
        return process.start == _process(process.number).start != -1
    return False


def _of_machine(root: str) -> frozenset[_Process]:
    """Processes of our user with the machine's mark or in a group of its services, and their descendants."""
    running = _running()
    groups = _groups(root)
    found = {number for number, one in running.items() if one.group in groups or _is_marked(number, root)}
    grown = True
    while grown:
        more = {number for number, one in running.items() if one.parent in found} - found
        grown = bool(more)
        found |= more
    return frozenset(running[number] for number in found)


def _running() -> dict[int, _Process]:
    """What runs for our user, ourselves excepted."""
    running = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            with suppress(OSError):
                process = _process(int(name))
                if process.start != -1 and os.stat(f"/proc/{name}").st_uid == os.geteuid():
                    running[process.number] = process
    return running


def _groups(root: str) -> set[int]:
    """The process groups of the services that live, those included whose supervisor was killed."""
    noted = (_noted(_note(root, name)) for name in services(root))
    return {found[0].group for found in noted if found is not None} - {os.getpgrp()}


def _is_marked(number: int, root: str) -> bool:
    with suppress(OSError), open(f"/proc/{number}/environ", "rb") as stream:
        return f"{_MARK}={root}".encode() in stream.read().split(b"\0")
    return False
