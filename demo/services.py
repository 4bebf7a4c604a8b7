"""The machines and services of the demo, looked at (and hurt) without the reconciler."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

WAIT = 10.0  # seconds until what was killed must be gone


def machines(data: Path) -> Iterator[tuple[str, Path]]:
    """The Ref of each machine's server, and its private directory."""
    for record in sorted((data / "machines").glob("*/machine.json")):
        yield json.loads(record.read_text())["mark"]["ref"], record.parent / "root"


def supervisors(data: Path) -> set[int]:
    """The processes that look after the services of each machine."""
    found = {_pid(root / "run" / "supervisord.pid") for _, root in machines(data)}
    return {pid for pid in found if is_alive(pid)}


def end_service(data: Path, server: str) -> set[int]:
    """End all services of one machine and what would start them again; the supervisors that are gone."""
    root = dict(machines(data))[server]
    pid = _pid(root / "run" / "supervisord.pid")
    services = [json.loads(file.read_text())["pid"] for file in (root / "services").glob("*.json")]
    end([pid, *services])
    return {pid}


def end(pids: list[int]) -> None:
    """Kill processes with their groups, and wait until they are gone."""
    for pid in pids:
        for kill in (os.killpg, os.kill):
            try:
                kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
    limit = time.monotonic() + WAIT
    while any(map(is_alive, pids)) and time.monotonic() < limit:
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Does this process run? One that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return False


def _pid(file: Path) -> int:
    try:
        return int(file.read_text())
    except (FileNotFoundError, ValueError):
        return 0


def fetched(url: str) -> bytes:
    """What an address answers; empty: nothing, or an error."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  our own address
            content: bytes = answer.read()
            return content
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return b""


def code(url: str) -> int:
    """The HTTP status that an address answers; 0: nothing."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  our own address
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return 0
