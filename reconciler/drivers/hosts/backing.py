"""How machines come to be: what local, nspawn and ssh have to answer, and which one a target has."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from reconciler.drivers.hosts import records
from reconciler.drivers.hosts.client import Reader, Writer
from reconciler.drivers.hosts.layout import DATA, Allocation, Record, ref_of
from reconciler.drivers.hosts.records import Entry
from reconciler.errors import Conflict
from reconciler.model import Json, Ref, State

_ODD: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Look:
    """How a machine is now."""

    state: State = State.READY
    reason: str = ""
    message: str = ""


RUNNING: Final = Look()


@dataclass(frozen=True, slots=True)
class Reach:
    """How a role gets onto a machine. `root` is where its files begin ("" on a real machine).

    `connection` are the variables that Ansible connects by, `host_key` is type and key, `identity` the text
    of a private key. `ports` are the numbers to listen on, `volumes` maps locations to real directories.
    """

    connection: Mapping[str, Json]
    root: str = ""
    host_key: str = ""
    identity: str = ""
    ports: Mapping[str, int] = field(default_factory=dict)
    volumes: Mapping[str, str] = field(default_factory=dict)


class Backing(Protocol):
    """One way to have machines. Stateless; everything is asked with the client and the record."""

    rootless: bool  # no root, no system of its own: roles must know how to do without
    has_volumes: bool
    disposable: bool  # it goes with all that is on it

    def entries(self, client: Reader, owner: str) -> Iterable[Entry]:
        """All machines that there are, whoever's. Reads only."""
        ...

    def ready(self, client: Writer, owner: str) -> None:
        """What has to be there before the first write."""
        ...

    def look(self, client: Reader, entry: Entry) -> Look:
        """How it is, cheaply: no network, nothing written."""
        ...

    def services(self, entry: Entry) -> Mapping[str, bool]:
        """The services that can be seen from here, and whether they run."""
        ...

    def allocate(self, client: Reader, record: Record, others: Sequence[Record]) -> Allocation:
        """What the machine gets; what it has, it keeps. Raises Rejected when there is no room."""
        ...

    def start(self, client: Writer, entry: Entry) -> Allocation:
        """Make it, or change it to what the record says, and have it run. Done already is success."""
        ...

    def remove(self, client: Writer, entry: Entry) -> None:
        """End it and take away all but its record. Gone already is success."""
        ...

    def reach(self, client: Reader, entry: Entry) -> Reach:
        """How roles get onto it."""
        ...

    def wrote(self, client: Writer, entry: Entry) -> None:
        """The record was written: a machine that keeps a copy of it gets one."""
        ...


def hostname_of(record: Record) -> str:
    """What the machine is called: as its spec says, else as it was, else a DNS label from its Ref."""
    return str(record.spec.get("hostname") or record.allocation.hostname or _label(ref_of(record.mark)))


def _label(ref: Ref) -> str:
    node = ref.part.removesuffix(".server")
    return _ODD.sub("-", f"{ref.name}-{node}".lower()).strip("-")[:63].strip("-") or "machine"


def volume_entries(client: Reader, record: Record) -> dict[str, Entry]:
    """Location → volume, of those that are there."""
    wanted: Mapping[str, str] = record.spec.get("volumes", {})
    if not wanted:
        return {}
    found: dict[str, Entry] = {}
    mine = [
        e for e in records.volumes(client.path) if records.is_ours(e.record, record.mark.owner, client.target)
    ]
    for location, ref in wanted.items():
        fitting = [entry for entry in mine if str(ref_of(entry.record.mark)) == ref]
        if fitting:
            found[location] = max(fitting, key=lambda entry: entry.record.created)
    return found


def volume_folders(client: Reader, record: Record) -> dict[str, str]:
    """Location → the directory on this host. Raises Conflict when a volume is not there."""
    found = volume_entries(client, record)
    for location, ref in record.spec.get("volumes", {}).items():
        if location not in found:
            raise Conflict(f"volume {ref} for {location} is not there", hint="the next run looks again")
    return {location: os.path.join(entry.folder, DATA) for location, entry in found.items()}
