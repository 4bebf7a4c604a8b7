"""The hand for volumes: a directory that machines share their data with, and that outlives them.

How large it may get is not enforced: the directory lies on this host's own file system.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace

from reconciler.drivers.hosts import records
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
    DATA,
    READY,
    REMOVING,
    VOLUME,
    VOLUME_FILE,
    Record,
    ref_of,
    volume_uid,
)
from reconciler.drivers.hosts.records import Entry
from reconciler.errors import Rejected
from reconciler.kind import Ask
from reconciler.model import Change, Mark, Observed, State


class VolumeHand:
    """Stateless."""

    def observe(self, client: Reader, ask: Ask) -> Iterable[Observed]:
        """One look at the records."""
        with client.translated():
            entries = list(records.volumes(client.path))
            mine = [entry for entry in entries if records.is_ours(entry.record, ask.owner, client.target)]
            found = [_seen(client.target, entry) for entry in mine]
            return [*found, *unmarked(entries, VOLUME, client.target, ask.natural)]

    def verify(self, client: Reader, thing: Observed) -> Observed:
        """What lies in a volume is its users' business."""
        return thing

    def apply(self, client: Writer, change: Change, mark: Mark) -> None:
        """Make the directory, or write its record anew."""
        writing = client.writing
        if not backing_of(client).has_volumes:
            hint = "place it on a target whose `machines` are local or nspawn"
            raise Rejected(f"the hosts of target {client.target} have no volumes", hint=hint)
        with client.translated():
            parent = parent_of(client, VOLUME_FILE)
            writing.make_folder(parent)
            with writing.lock(parent):
                name = _present(client, parent, change, mark)
            folder = os.path.join(parent, name)
            with writing.lock(folder):
                record = records.record_in(folder, VOLUME_FILE)
                if record is None:
                    raise FileNotFoundError(folder)
                writing.make_folder(os.path.join(folder, DATA))
                new = replace(record, mark=mark, spec=dict(wanted(change).spec), state=READY, released=False)
                put(client, VOLUME_FILE, Entry(name, folder, record), new)

    def release(self, client: Writer, change: Change) -> None:
        """The directory stays with all that is in it."""
        release(client, VOLUME_FILE, seen(change))

    def delete(self, client: Writer, change: Change) -> None:
        """With all that is in it."""
        writing = client.writing
        with client.translated():
            entry = still_there(client, VOLUME_FILE, seen(change))
            if entry is None:
                return
            with writing.lock(entry.folder):
                put(client, VOLUME_FILE, entry, replace(entry.record, state=REMOVING))
                writing.remove(os.path.join(entry.folder, DATA))
                writing.vanish(parent_of(client, VOLUME_FILE), entry.name)


def _present(client: Writer, parent: str, change: Change, mark: Mark) -> str:
    name, record = standing(client, VOLUME_FILE, change, mark)
    if record is None:
        new = Record(mark, client.target, dict(wanted(change).spec), records.now())
        client.writing.sweep(parent, name)
        client.writing.appear(parent, name, VOLUME_FILE, new.dump())
    return name


def _seen(target: str, entry: Entry) -> Observed:
    record = entry.record
    data = os.path.join(entry.folder, DATA)
    gone = (State.FAILED, "Damaged", "its directory is gone")
    whole = (State.READY, "", "") if os.path.isdir(data) else gone
    state, reason, message = half_state(entry) or whole
    return Observed(
        ref_of(record.mark),
        VOLUME,
        target,
        record.spec,
        volume_uid(target, entry.name),
        record.mark,
        state,
        reason,
        message,
        attributes={"path": data},
        since=record.created,
    )
