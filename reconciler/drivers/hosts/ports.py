"""Ports of machines that share this host's address: each gets its own out of a range, and keeps it."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Mapping, Sequence
from typing import Any, Final

from reconciler.drivers.hosts.layout import Record
from reconciler.errors import Rejected

ADDRESS: Final = "127.0.0.1"
FIRST: Final = 20000
LAST: Final = 29999


def allot(settings: Mapping[str, Any], record: Record, others: Sequence[Record]) -> dict[str, int]:
    """Name → number. A name that has one keeps it; a new one is free now and in nobody's record.

    Raises Rejected when the range is used up.
    """
    had = record.allocation.ports
    used = {number for other in others for number in other.allocation.ports.values()} | set(had.values())
    numbers: dict[str, int] = {}
    for name, port in sorted(record.spec.get("ports", {}).items()):
        numbers[name] = had[name] if name in had else _free(settings, f"{record.mark}#{name}", port, used)
        used.add(numbers[name])
    return numbers


def _free(settings: Mapping[str, Any], seed: str, port: Mapping[str, Any], used: set[int]) -> int:
    """Begins somewhere that the name decides, so that targets which share the range seldom meet."""
    told = settings.get("ports", {})
    first, last = told.get("first", FIRST), told.get("last", LAST)
    count = max(0, last - first + 1)
    start = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8]) % max(1, count)
    for step in range(count):
        number: int = first + (start + step) % count
        if number not in used and _is_free(number, port.get("protocol", "tcp")):
            return number
    raise Rejected(f"no port is free between {first} and {last}", hint="widen `ports` of the target")


def _is_free(number: int, protocol: str) -> bool:
    sort = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, sort) as tried:
        try:
            tried.bind((ADDRESS, number))
        except OSError:
            return False
    return True
