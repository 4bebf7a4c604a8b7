"""What lies below the path, from the records alone: the list that every pass makes. Reads only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from reconciler.drivers.hosts.layout import (
    MACHINE_FILE,
    VOLUME_FILE,
    VOLUMES,
    Record,
    is_name,
    read_record,
    ref_of,
)
from reconciler.model import Ref


@dataclass(frozen=True, slots=True)
class Entry:
    """One directory with a record in it."""

    name: str
    folder: str
    record: Record


def machines(path: str) -> Iterator[Entry]:
    """All machines below the path, whoever's they are, by name. Broken records are nobody's."""
    yield from _entries(path, MACHINE_FILE)


def volumes(path: str) -> Iterator[Entry]:
    """All volumes."""
    yield from _entries(os.path.join(path, VOLUMES), VOLUME_FILE)


def _entries(parent: str, file: str) -> Iterator[Entry]:
    try:
        names = sorted(filter(is_name, os.listdir(parent)))
    except FileNotFoundError:
        return
    for name in names:
        folder = os.path.join(parent, name)
        record = record_in(folder, file)
        if record is not None:
            yield Entry(name, folder, record)


def record_in(folder: str, file: str) -> Record | None:
    """The record in a directory; None when there is none that can be read."""
    try:
        with open(os.path.join(folder, file), "rb") as stream:
            return read_record(stream.read())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def is_ours(record: Record, owner: str, target: str) -> bool:
    """Made by this owner by way of this target, and still marked?"""
    return record.mark.owner == owner and record.target == target and not record.released


def of_ref(entries: Iterator[Entry], ref: Ref, owner: str, target: str) -> list[Entry]:
    """Ours of one Ref, the newest first."""
    found = [e for e in entries if ref_of(e.record.mark) == ref and is_ours(e.record, owner, target)]
    return sorted(found, key=lambda entry: (entry.record.created, entry.name), reverse=True)


def now() -> str:
    """The time, as records tell it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
