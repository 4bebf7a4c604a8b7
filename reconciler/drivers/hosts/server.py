"""The hand for servers: a machine is a directory with our record in it, and what its target makes of that."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from reconciler.drivers.hosts import records
from reconciler.drivers.hosts.backing import Backing, Look, volume_entries
from reconciler.drivers.hosts.backings import backing_of
from reconciler.drivers.hosts.client import Reader, Writer
from reconciler.drivers.hosts.keeping import (
    half_state,
    parent_of,
    put,
    release,
    seen,
    standing,
    still_there,
    unmarked,
    wanted,
)
from reconciler.drivers.hosts.layout import (
    BEGUN,
    CHANGING,
    CREATING,
    MACHINE_FILE,
    READY,
    REMOVING,
    SERVER,
    Record,
    ref_of,
    server_uid,
    volume_uid,
)
from reconciler.drivers.hosts.records import Entry
from reconciler.drivers.hosts.undoing import undo_all
from reconciler.errors import Conflict, Rejected
from reconciler.kind import Ask
from reconciler.model import Change, Mark, Observed, State


class ServerHand:
    """Stateless."""

    def observe(self, client: Reader, ask: Ask) -> Iterable[Observed]:
        """One look at the records, and a cheap one at each machine."""
        with client.translated():
            entries = list(backing_of(client).entries(client, ask.owner))
            mine = [entry for entry in entries if records.is_ours(entry.record, ask.owner, client.target)]
            found = list(_seen(client, mine))
            return [*found, *unmarked(entries, SERVER, client.target, ask.natural)]

    def verify(self, client: Reader, thing: Observed) -> Observed:
        """A machine is what its record says; what is on it belongs to its configurations."""
        return thing

    def apply(self, client: Writer, change: Change, mark: Mark) -> None:
        """Make the machine or change it. What it has got (address, ports, host) it keeps."""
        backing, writing = backing_of(client), client.writing
        _refuse_volumes(backing, change, client.target)
        with client.translated():
            backing.ready(client, mark.owner)
            name = _present(client, backing, change, mark)
            folder = os.path.join(client.path, name)
            with writing.lock(folder):
                _converge(client, backing, _entry(client, name), change, mark)

    def release(self, client: Writer, change: Change) -> None:
        """The machine stays as it is; nobody here looks after it any more."""
        entry = release(client, MACHINE_FILE, seen(change))
        if entry is not None:
            backing_of(client).wrote(client, entry)

    def delete(self, client: Writer, change: Change) -> None:
        """End the machine and all on it. A host that stays is left without what our roles can take away."""
        backing, writing, thing = backing_of(client), client.writing, seen(change)
        with client.translated():
            backing.ready(client, thing.mark.owner if thing.mark else "")
            entry = still_there(client, MACHINE_FILE, thing)
            if entry is None:
                return
            with writing.lock(entry.folder):
                _remove(client, backing, _entry(client, entry.name))


def _seen(client: Reader, mine: list[Entry]) -> Iterator[Observed]:
    backing = backing_of(client)
    for entry in mine:
        record = entry.record
        state, reason, message = _state(backing.look(client, entry), entry)
        yield Observed(
            ref_of(record.mark),
            SERVER,
            client.target,
            record.spec,
            server_uid(client.target, entry.name),
            record.mark,
            state,
            reason,
            message,
            frozenset(
                volume_uid(client.target, each.name) for each in volume_entries(client, record).values()
            ),
            _attributes(record),
            since=record.created,
        )


def _state(look: Look, entry: Entry) -> tuple[State, str, str]:
    return half_state(entry) or (look.state, look.reason, look.message)


def _attributes(record: Record) -> Mapping[str, object]:
    allocation = record.allocation
    return {"address": allocation.address, "ports": allocation.ports, "hostname": allocation.hostname}


def _refuse_volumes(backing: Backing, change: Change, target: str) -> None:
    if wanted(change).spec.get("volumes") and not backing.has_volumes:
        hint = "take the volumes out, or place it on a target whose `machines` are local or nspawn"
        raise Rejected(f"the hosts of target {target} have no volumes", hint=hint)


def _entry(client: Reader, name: str) -> Entry:
    folder = os.path.join(client.path, name)
    record = records.record_in(folder, MACHINE_FILE)
    if record is None:
        raise Conflict(f"the machine {name} of target {client.target} went while it was worked on")
    return Entry(name, folder, record)


def _present(client: Writer, backing: Backing, change: Change, mark: Mark) -> str:
    """The name of the machine's directory, made with its mark when it was not there."""
    writing = client.writing
    with writing.lock(client.path):  # one at a time: what one gets, the next one can't
        name, record = standing(client, MACHINE_FILE, change, mark)
        if record is None:
            new = Record(mark, client.target, dict(wanted(change).spec), records.now())
            new = replace(new, allocation=backing.allocate(client, new, _others(client, name)))
            writing.sweep(client.path, name)
            writing.appear(client.path, name, MACHINE_FILE, new.dump())
    return name


def _others(client: Reader, name: str) -> list[Record]:
    return [entry.record for entry in records.machines(client.path) if entry.name != name]


def _converge(client: Writer, backing: Backing, entry: Entry, change: Change, mark: Mark) -> None:
    """From what the record says to what is wanted, so that a kill leaves a machine that says so."""
    old = entry.record
    spec = dict(wanted(change).spec)
    whole = old.state == READY and backing.look(client, entry).state is State.READY
    if whole and old.spec == spec:
        done = put(client, MACHINE_FILE, entry, replace(old, mark=mark, released=False))
    else:
        begun = _begun(client, backing, entry, replace(old, mark=mark, spec=spec, released=False))
        allocation = backing.start(client, begun)
        done = put(client, MACHINE_FILE, begun, replace(begun.record, state=READY, allocation=allocation))
    if done.record != old:
        backing.wrote(client, done)


def _begun(client: Writer, backing: Backing, entry: Entry, record: Record) -> Entry:
    if backing.look(client, entry).reason == "Damaged" or record.state == REMOVING:
        configurations = record.configurations.items()
        record = replace(
            record, configurations={key: replace(one, state=BEGUN) for key, one in configurations}
        )
    with client.writing.lock(client.path):
        allocation = backing.allocate(client, record, _others(client, entry.name))
        state = CHANGING if record.state in (READY, CHANGING) else CREATING
        return put(client, MACHINE_FILE, entry, replace(record, allocation=allocation, state=state))


def _remove(client: Writer, backing: Backing, entry: Entry) -> None:
    if not backing.disposable and entry.record.state != REMOVING:
        undo_all(client, backing, entry)
    entry = put(client, MACHINE_FILE, _entry(client, entry.name), replace(entry.record, state=REMOVING))
    backing.remove(client, entry)
    client.writing.vanish(parent_of(client, MACHINE_FILE), entry.name)
