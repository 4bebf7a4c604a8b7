"""Machines of their own on this host, by systemd-nspawn: the sub-package in the words of a backing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from reconciler.drivers.hosts import records
from reconciler.drivers.hosts.backing import RUNNING, Look, Reach, hostname_of, volume_folders
from reconciler.drivers.hosts.capacity import refuse_without_room
from reconciler.drivers.hosts.client import Reader, Writer
from reconciler.drivers.hosts.layout import Allocation, Record
from reconciler.drivers.hosts.nspawn import nouns
from reconciler.drivers.hosts.records import Entry
from reconciler.errors import Conflict, Rejected
from reconciler.folders import cache_folder
from reconciler.model import State
from reconciler.printable import printable
from reconciler.secret.openssh import private_text, public_key

_KEY = "identity"


class Real:
    """Stateless."""

    rootless = False
    has_volumes = True
    disposable = True

    def entries(self, client: Reader, owner: str) -> Iterable[Entry]:
        """The records are the world."""
        return records.machines(client.path)

    def ready(self, client: Writer, owner: str) -> None:
        """The programs are there, we are root, and there is a key by which machines know us."""
        from reconciler.drivers.hosts.nspawn import prepare  # noqa: PLC0415  only where machines are made

        prepare(_settings(client, owner))
        file = os.path.join(client.path, _KEY)
        with client.writing.lock(client.path):
            if not os.path.exists(file):
                client.writing.put(file, private_text(seed=os.urandom(32), check=os.urandom(4)).encode())

    def look(self, client: Reader, entry: Entry) -> Look:
        """Its launcher's process, and whether ssh answers."""
        from reconciler.drivers.hosts.nspawn import State as There  # noqa: PLC0415  ditto
        from reconciler.drivers.hosts.nspawn import look  # noqa: PLC0415  ditto

        settings = _settings(client, entry.record.mark.owner)
        found = look(settings, entry.name)
        if found is There.RUNNING:
            return RUNNING
        if found is There.BOOTING:
            return Look(State.PROGRESSING, "Booting", "it is starting")
        if found is There.ABSENT:
            return Look(State.FAILED, "Damaged", "its files are gone")
        return Look(State.FAILED, "Stopped", _last_words(settings, entry.name))

    def services(self, entry: Entry) -> Mapping[str, bool]:
        """They are seen from inside only; systemd there looks after them."""
        return {}

    def allocate(self, client: Reader, record: Record, others: Sequence[Record]) -> Allocation:
        """Room by the settings, the first address that is free, the ports that it names."""
        refuse_without_room(client.settings, record.spec, others)
        had = record.allocation
        address = had.address or _free_address(client, record, others)
        ports = {name: int(port["port"]) for name, port in record.spec.get("ports", {}).items()}
        return Allocation(hostname_of(record), address, ports, host_key=had.host_key)

    def start(self, client: Writer, entry: Entry) -> Allocation:
        """Made, changed and started; it may still be booting then."""
        from reconciler.drivers.hosts import nspawn  # noqa: PLC0415  ditto

        settings = _settings(client, entry.record.mark.owner)
        machine = _machine(client, entry)
        if _volumes_there(settings, entry.name) != dict(machine.volumes):
            nspawn.stop(settings, entry.name)  # they are bound when it starts
        key = nspawn.create(settings, machine)
        nspawn.start(settings, entry.name)
        allocation = entry.record.allocation
        return Allocation(allocation.hostname, allocation.address, allocation.ports, host_key=key)

    def remove(self, client: Writer, entry: Entry) -> None:
        """Machine and files; the network too, with the last machine."""
        from reconciler.drivers.hosts import nspawn  # noqa: PLC0415  ditto

        settings = _settings(client, entry.record.mark.owner)
        nspawn.remove(settings, entry.name)
        with client.writing.lock(client.path):
            mark = entry.record.mark
            there = [other for other in records.machines(client.path) if other.name != entry.name]
            if not any((e.record.mark.owner, e.record.target) == (mark.owner, client.target) for e in there):
                nspawn.remove_network(settings)

    def reach(self, client: Reader, entry: Entry) -> Reach:
        """Over ssh as root, with our key and the machine's own host key."""
        allocation = entry.record.allocation
        connection = {"ansible_host": allocation.address, "ansible_port": 22, "ansible_user": "root"}
        locations = {location: location for location in entry.record.spec.get("volumes", {})}
        key = _identity(client)
        return Reach(connection, "", allocation.host_key, key, allocation.ports, locations)

    def wrote(self, client: Writer, entry: Entry) -> None:
        """The record is on the same disk as the machine."""


def _last_words(settings: nouns.Settings, name: str) -> str:
    from reconciler.drivers.hosts.nspawn.machine import why  # noqa: PLC0415  ditto

    said = printable(" ".join(why(settings, name).split())[-150:])
    return f"it does not run: {said}" if said else "it does not run"


def _settings(client: Reader, owner: str) -> nouns.Settings:
    told = {
        key: str(client.settings[key]) for key in ("network", "suite", "mirror") if key in client.settings
    }
    return nouns.Settings(client.target, owner, client.path, str(cache_folder() / "nspawn"), **told)


def _machine(client: Reader, entry: Entry) -> nouns.Machine:
    record = entry.record
    return nouns.Machine(
        entry.name,
        record.allocation.hostname,
        record.allocation.address,
        (public_key(_identity(client)),),
        int(record.spec.get("cores") or 0),
        int(record.spec.get("memory") or 0),
        volume_folders(client, record),
    )


def _identity(client: Reader) -> str:
    try:
        with open(os.path.join(client.path, _KEY), encoding="ascii") as stream:
            return stream.read()
    except FileNotFoundError as error:
        hint = "any change of the machine makes a new one"
        raise Conflict(f"the key for the machines of target {client.target} is gone", hint=hint) from error


def _volumes_there(settings: nouns.Settings, name: str) -> dict[str, str]:
    """What a machine that was created has bound; nothing for one that was not."""
    with suppress(OSError, ValueError, KeyError):
        told = json.loads(nouns.place(settings, name).record.read_bytes())
        return dict(told["machine"]["volumes"])
    return {}


def _free_address(client: Reader, record: Record, others: Sequence[Record]) -> str:
    from reconciler.drivers.hosts.nspawn import addresses  # noqa: PLC0415  ditto

    used = {other.allocation.address for other in others}
    for address in addresses(_settings(client, record.mark.owner)):
        if address not in used:
            return address
    raise Rejected(f"no address is free in the network of target {client.target}", hint="widen `network`")
