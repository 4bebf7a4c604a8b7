"""Machines that are directories on this host: user processes, no root, ports of their own on 127.0.0.1."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

from reconciler.drivers.hosts import records
from reconciler.drivers.hosts.backing import RUNNING, Look, Reach, hostname_of, volume_folders
from reconciler.drivers.hosts.capacity import refuse_without_room
from reconciler.drivers.hosts.client import Reader, Writer
from reconciler.drivers.hosts.layout import ROOT, Allocation, Record
from reconciler.drivers.hosts.ports import ADDRESS, allot
from reconciler.drivers.hosts.processes import end_all, services
from reconciler.drivers.hosts.records import Entry
from reconciler.errors import Transient
from reconciler.model import State


class Local:
    """Stateless."""

    rootless = True
    has_volumes = True
    disposable = True

    def entries(self, client: Reader, owner: str) -> Iterable[Entry]:
        """The records are the world."""
        return records.machines(client.path)

    def ready(self, client: Writer, owner: str) -> None:
        """Nothing is needed."""

    def look(self, client: Reader, entry: Entry) -> Look:
        """It is there as long as its directory is."""
        if os.path.isdir(root_of(entry)):
            return RUNNING
        return Look(State.FAILED, "Damaged", "its directory is gone")

    def services(self, entry: Entry) -> Mapping[str, bool]:
        """What supervisord started, from the notes of the services themselves."""
        return services(root_of(entry))

    def allocate(self, client: Reader, record: Record, others: Sequence[Record]) -> Allocation:
        """Room by the settings, a port of its own for each that it names."""
        refuse_without_room(client.settings, record.spec, others)
        return Allocation(hostname_of(record), ADDRESS, allot(client.settings, record, others))

    def start(self, client: Writer, entry: Entry) -> Allocation:
        """A directory is all it takes."""
        volume_folders(client, entry.record)
        client.writing.make_folder(root_of(entry))
        return entry.record.allocation

    def remove(self, client: Writer, entry: Entry) -> None:
        """First its processes, then its files."""
        try:
            end_all(root_of(entry))
        except TimeoutError as error:
            raise Transient(f"{entry.record.mark.ref}: {error}") from error
        client.writing.remove(root_of(entry))

    def reach(self, client: Reader, entry: Entry) -> Reach:
        """No connection at all."""
        connection = {"ansible_connection": "local"}
        folders = volume_folders(client, entry.record)
        return Reach(connection, root_of(entry), ports=entry.record.allocation.ports, volumes=folders)

    def wrote(self, client: Writer, entry: Entry) -> None:
        """The record is where the machine is."""


def root_of(entry: Entry) -> str:
    """Where the machine's files begin."""
    return os.path.join(entry.folder, ROOT)
