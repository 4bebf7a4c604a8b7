"""Processes of a machine that is a directory, as proc(5) shows them. Part of the role `platform`."""

# ruff: noqa: INP001  a file of a role is not in a package

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def read_record(file: Path) -> dict[str, Any]:
    """What a service wrote about itself when it started; empty when there is nothing to read."""
    try:
        return dict(json.loads(file.read_text()))
    except (OSError, ValueError):
        return {}


def status(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on (state, parent, group, …); empty: no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def is_there(pid: int) -> bool:
    """Is it there and not a zombie?"""
    return status(pid)[:1] not in ([], ["Z"], ["X"])


def is_process(record: dict[str, Any]) -> bool:
    """Is the process of the record there, and not another with the same number?"""
    fields = status(int(record["pid"]))
    return bool(fields) and fields[0] not in "ZX" and fields[19] == str(record["start"])


def is_running(file: Path) -> bool:
    """Does the service run, below the supervisord that started it?"""
    record = read_record(file)
    return bool(record) and is_process(record) and status(record["pid"])[1:2] == [str(record["supervisor"])]


def processes(root: Path) -> Iterator[int]:
    """All processes of the machine: of its services' groups, and those that carry its mark."""
    mark = b"RECONCILER_ROOT=" + os.fsencode(root)
    records = [read_record(file) for file in (root / "services").glob("*.json")]
    groups = [[str(record["pid"])] for record in records if record and is_process(record)]
    for pid in (int(entry) for entry in os.listdir("/proc") if entry.isdigit()):
        with contextlib.suppress(OSError):
            if is_ours(pid) and (status(pid)[2:3] in groups or mark in environment(pid)):
                yield pid


def is_ours(pid: int) -> bool:
    """Is it a process of this user that we may end?"""
    return pid != os.getpid() and os.stat(f"/proc/{pid}").st_uid == os.getuid() and is_there(pid)


def environment(pid: int) -> list[bytes]:
    """The environment that a process was started with."""
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


def end(pids: set[int]) -> bool:
    """Asks the processes to end, and ends those that do not. Was there any?"""
    for order in (signal.SIGTERM, signal.SIGKILL):
        for pid in filter(is_there, pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, order)
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: not any(map(is_there, pids)), 5)
    return bool(pids)


def wait_until(fits: Callable[[], bool], seconds: float) -> None:
    """Waits until it fits. TimeoutError when it does not in time."""
    last = time.monotonic() + seconds
    while not fits():
        if time.monotonic() > last:
            raise TimeoutError
        time.sleep(0.05)
