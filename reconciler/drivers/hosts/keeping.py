"""Which directory a change is about, and letting go of it: what machines and volumes share."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace

from reconciler.drivers.hosts import records
from reconciler.drivers.hosts.client import Reader, Writer
from reconciler.drivers.hosts.layout import (
    CHANGING,
    CREATING,
    MACHINE_FILE,
    READY,
    VOLUMES,
    Record,
    names_of,
    ref_of,
    second_name,
)
from reconciler.drivers.hosts.records import Entry
from reconciler.drivers.hosts.writing import is_locked
from reconciler.errors import Conflict, NotOurs
from reconciler.model import NOTHING, PARTIAL, Change, Mark, Observed, Ref, Resource, State


def wanted(change: Change) -> Resource:
    """What is to be made; there always is something."""
    if change.want is None:
        raise TypeError(f"{change.ref}: nothing is wanted, so nothing can be applied")
    return change.want


def seen(change: Change) -> Observed:
    """What is to go; there always is something."""
    if change.have is None:
        raise TypeError(f"{change.ref}: nothing was seen, so nothing can go")
    return change.have


def parent_of(client: Reader, file: str) -> str:
    """Where directories with such a record lie."""
    return client.path if file == MACHINE_FILE else os.path.join(client.path, VOLUMES)


def standing(client: Reader, file: str, change: Change, mark: Mark) -> tuple[str, Record | None]:
    """The name of the directory that a change is about, and its record; None where it is to be made.

    Raises NotOurs when something else stands there.
    """
    parent = parent_of(client, file)
    if change.have is not None:
        name = names_of(change.have.uid)[0]
        record = records.record_in(os.path.join(parent, name), file)
        if record is not None:
            refuse_foreign(record, client.target, change, mark)
            return name, record
    for name in (mark.id, second_name(mark)):
        folder = os.path.join(parent, name)
        if not os.path.lexists(folder):
            return name, None
        record = _ours(folder, file, client.target, change, mark)
        if (record.mark.id, record.mark.spec_hash) == (mark.id, mark.spec_hash):
            return name, record
    raise NotOurs(f"other things stand where {change.ref} is to be", hint="remove them first")


def _ours(folder: str, file: str, target: str, change: Change, mark: Mark) -> Record:
    record = records.record_in(folder, file)
    if record is None:
        raise NotOurs(f"a directory that does not carry our mark stands where {change.ref} is to be")
    if not records.is_ours(record, mark.owner, target):
        raise NotOurs(_whose(record, change))
    return record


def _whose(record: Record, change: Change) -> str:
    whose = "nobody" if record.released else f"{record.mark.owner} at target {record.target}"
    return f"a {change.kind} of {whose} stands where {change.ref} is to be"


def refuse_foreign(record: Record, target: str, change: Change, mark: Mark) -> None:
    """Raises NotOurs unless the record is what the change is about, or may be taken over."""
    have = change.have
    if record.released:
        if have is not None and have.mark is None and wanted(change).metadata.adopt:
            return
        raise NotOurs(_whose(record, change))
    if not records.is_ours(record, mark.owner, target):
        raise NotOurs(_whose(record, change))
    former = have.mark.ref if have and have.mark else None
    if ref_of(record.mark) not in (change.ref, former):
        raise NotOurs(
            f"{record.mark.ref} stands where {change.ref} is to be", hint="remove or rename it first"
        )


def still_there(client: Reader, file: str, thing: Observed) -> Entry | None:
    """The entry that was seen; None when it is gone or not marked any more. Raises Conflict: another one."""
    name = names_of(thing.uid)[0]
    folder = os.path.join(parent_of(client, file), name)
    record = records.record_in(folder, file)
    if record is None or thing.mark is None or record.released:
        return None
    if (record.mark.owner, record.mark.id) != (thing.mark.owner, thing.mark.id):
        raise Conflict(f"{record.mark.ref} stands now where {thing.ref} was seen")
    return Entry(name, folder, record)


def put(client: Writer, file: str, entry: Entry, record: Record) -> Entry:
    """Write the record, unless it says so already."""
    if record != entry.record:
        client.writing.put(os.path.join(entry.folder, file), record.dump())
    return replace(entry, record=record)


def release(client: Writer, file: str, thing: Observed) -> Entry | None:
    """Take our mark off and leave the rest. None: there was nothing to do."""
    writing = client.writing
    with client.translated():
        entry = still_there(client, file, thing)
        if entry is None:
            return None
        with writing.lock(entry.folder):
            return put(client, file, entry, replace(entry.record, released=True))


def unmarked(entries: Iterable[Entry], kind: str, target: str, natural: frozenset[str]) -> Iterator[Observed]:
    """What was released, at the keys asked for. The key is its former Ref."""
    for entry in entries:
        key = str(ref_of(entry.record.mark))
        if entry.record.released and entry.record.target == target and key in natural:
            prefix = "" if kind == "server" else f"{VOLUMES}/"
            uid = f"{target}:{prefix}{entry.name}"
            yield Observed(Ref(kind, "", key), kind, target, NOTHING, uid, since=entry.record.created)


def half_state(entry: Entry) -> tuple[State, str, str] | None:
    """State, reason and message of what is being worked on, or was left so; None: it is whole."""
    state = entry.record.state
    if state == READY:
        return None
    if is_locked(entry.folder):
        return State.PROGRESSING, state.capitalize(), f"somebody is {state} it"
    if state == CHANGING:
        return State.FAILED, "Interrupted", "changing it was interrupted"
    left = "making" if state == CREATING else "removal"
    return State.FAILED, PARTIAL, f"its {left} was interrupted"
