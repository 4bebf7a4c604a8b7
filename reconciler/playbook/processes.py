"""The processes of a run: those that name its folder, and all below them.

A process group is not enough: Ansible's workers and the masters of shared ssh connections have sessions of
their own. But each of them, or a process above it, has the run's folder among its arguments. What a role
started as a service has neither, and is left alone. Linux only (/proc, see proc(5)).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Iterator

_PATIENCE = 5.0  # seconds for the system to remove what was killed
_PAUSE = 0.01


def end_processes(folder: str) -> None:
    """Kill all processes of a run and wait until they are gone. There are none: done."""
    stopped: set[int] = set()
    while found := processes_of(folder) - stopped:
        _signal(found, signal.SIGSTOP)  # what is stopped starts nothing new while the rest is found
        stopped |= found
    _signal(stopped, signal.SIGKILL)
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until and stopped & dict(_parents()).keys():  # orphans among them name no folder
        time.sleep(_PAUSE)


def processes_of(folder: str) -> set[int]:
    """The ids of all living processes of the run in this folder."""
    wanted = os.fsencode(folder) + b"/"
    parents = dict(_parents())
    found = {pid for pid in parents if wanted in _read(pid, "cmdline")} - {os.getpid()}
    below: dict[int, set[int]] = {}
    for pid, parent in parents.items():
        below.setdefault(parent, set()).add(pid)
    fresh = found
    while fresh:
        fresh = set().union(*(below.get(pid, set()) for pid in fresh)) - found
        found |= fresh
    return found


def _parents() -> Iterator[tuple[int, int]]:
    """Each living process and its parent. Zombies are not living: whoever waits for them ends them."""
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        state, _, parent = _read(int(name), "stat").rpartition(b")")[2].strip().partition(b" ")
        if state and state != b"Z":
            yield int(name), int(parent.split(maxsplit=1)[0])


def _read(pid: int, name: str) -> bytes:
    """A file of /proc, empty where the process is gone."""
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""


def _signal(processes: Collection[int], number: signal.Signals) -> None:
    for pid in processes:
        try:
            os.kill(pid, number)
        except OSError:  # gone, or not ours to end
            continue
