"""Static hosts over ssh: a machine is a host of a list that it claims, here and on the host itself.

On the host: /var/lib/reconciler/claim (`<owner> <target> <name>`) and machine.json, a copy of the record.
From these copies the records here are rebuilt when they are lost (no index.json).
"""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final

from reconciler.drivers.hosts import records, shell
from reconciler.drivers.hosts.backing import RUNNING, Look, Reach, hostname_of
from reconciler.drivers.hosts.capacity import fits
from reconciler.drivers.hosts.client import Reader, Writer
from reconciler.drivers.hosts.layout import (
    INDEX,
    MACHINE_FILE,
    Allocation,
    Record,
    is_name,
    read_record,
    ref_of,
)
from reconciler.drivers.hosts.records import Entry
from reconciler.errors import Conflict, Rejected
from reconciler.model import Ref, State, mark_id

_AT_ONCE: Final = 16
_FOLDER: Final = "/var/lib/reconciler"
_READ: Final = (
    f"cd {_FOLDER} 2>/dev/null && [ -e claim ] && [ -e machine.json ] && cat claim machine.json || true"
)
_CLAIM: Final = f"""\
set -eu; umask 077; mkdir -p {_FOLDER}; cd {_FOLDER}
if ! (set -C; printf '%s\\n' {{claim}} >claim) 2>/dev/null && [ "$(cat claim)" != {{claim}} ]
then echo "it is claimed: $(cat claim)" >&2; exit 3; fi
cat >.machine.new; mv .machine.new machine.json
"""
_LEAVE: Final = f"""\
cd {_FOLDER} 2>/dev/null || exit 0
if [ -e claim ] && [ "$(cat claim)" = {{claim}} ]; then rm -f machine.json .machine.new claim; fi
"""


class Remote:
    """Stateless."""

    rootless = False
    has_volumes = False
    disposable = False

    def entries(self, client: Reader, owner: str) -> Iterable[Entry]:
        """The records here; where there never were any, or they are lost, what the hosts say."""
        if os.path.exists(os.path.join(client.path, INDEX)):
            return records.machines(client.path)
        return _told_by_hosts(client)

    def ready(self, client: Writer, owner: str) -> None:
        """The records here are complete."""
        index = os.path.join(client.path, INDEX)
        if os.path.exists(index):
            return
        with client.writing.lock(client.path):
            for entry in _told_by_hosts(client):
                if not os.path.lexists(entry.folder):
                    client.writing.appear(client.path, entry.name, MACHINE_FILE, entry.record.dump())
            client.writing.put(index, b'{"version": 1}\n')

    def look(self, client: Reader, entry: Entry) -> Look:
        """It is there as long as the list has its host; whether that answers shows when it is worked on."""
        if entry.record.allocation.host in _hosts(client):
            return RUNNING
        message = f"host {entry.record.allocation.host} is not in the list of the target any more"
        return Look(State.FAILED, "HostGone", message)

    def services(self, entry: Entry) -> Mapping[str, bool]:
        """They are seen from inside only; systemd there looks after them."""
        return {}

    def allocate(self, client: Reader, record: Record, others: Sequence[Record]) -> Allocation:
        """The host that it has, else the free one that comes first for this Ref."""
        hosts = _hosts(client)
        name = record.allocation.host or _choose(client, record, others)
        if name not in hosts:
            hint = "put it back into `hosts`, or remove the machine first"
            raise Rejected(f"host {name} is not in the list of target {client.target} any more", hint=hint)
        ports = {key: int(port["port"]) for key, port in record.spec.get("ports", {}).items()}
        address, key = str(hosts[name]["address"]), str(hosts[name]["hostKey"])
        return Allocation(hostname_of(record), address, ports, name, key)

    def start(self, client: Writer, entry: Entry) -> Allocation:
        """Claim the host. Raises when it is somebody else's by now."""
        self.wrote(client, entry)
        return entry.record.allocation

    def remove(self, client: Writer, entry: Entry) -> None:
        """Give up the claim. Of a host that is not in the list any more we know nothing."""
        host = _hosts(client).get(entry.record.allocation.host)
        if host is not None:
            shell.run(host, _identity(client), _LEAVE.format(claim=_claim(entry)))

    def reach(self, client: Reader, entry: Entry) -> Reach:
        """As the list says; another user than root becomes root by sudo."""
        host = _host(client, entry)
        user = str(host.get("user", "root"))
        connection: dict[str, Any] = {
            "ansible_host": host["address"],
            "ansible_port": host.get("port", 22),
            "ansible_user": user,
        }
        if user != "root":
            connection |= {"ansible_become": True, "ansible_become_method": "sudo"}
        ports = entry.record.allocation.ports
        return Reach(connection, "", str(host["hostKey"]), _identity(client), ports)

    def wrote(self, client: Writer, entry: Entry) -> None:
        """The host keeps a copy, with its claim."""
        script = _CLAIM.format(claim=_claim(entry))
        shell.run(_host(client, entry), _identity(client), script, entry.record.dump().decode())


def free_hosts(client: Reader, taken: Iterable[Record]) -> dict[str, Mapping[str, Any]]:
    """The hosts of the list that no record claims, by name."""
    claimed = {record.allocation.host for record in taken}
    return {name: host for name, host in _hosts(client).items() if name not in claimed}


def _choose(client: Reader, record: Record, others: Sequence[Record]) -> str:
    """Rendezvous hashing: the same Ref gets the same host whatever the order of the list."""
    free = free_hosts(client, others)
    fitting = [name for name, host in free.items() if fits(host, record.spec)]
    if not fitting:
        hint = "add one to `hosts`, or make the machine smaller"
        raise Rejected(f"no host of target {client.target} is free and large enough", hint=hint)
    return max(fitting, key=lambda name: _weight(ref_of(record.mark), name))


def _weight(ref: Ref, name: str) -> bytes:
    return hashlib.sha256(f"{ref}\0{name}".encode()).digest()


def _hosts(client: Reader) -> dict[str, Mapping[str, Any]]:
    return {str(host["name"]): host for host in client.settings.get("hosts", ())}


def _host(client: Reader, entry: Entry) -> Mapping[str, Any]:
    name = entry.record.allocation.host
    host = _hosts(client).get(name)
    if host is None:
        raise Conflict(f"host {name} is not in the list of target {client.target} any more")
    return host


def _identity(client: Reader) -> str:
    return client.places.secret(str(client.settings["identity"]))


def _claim(entry: Entry) -> str:
    record = entry.record
    return shlex.quote(f"{record.mark.owner} {record.target} {entry.name}")


def _told_by_hosts(client: Reader) -> list[Entry]:
    """What the hosts know of themselves. One that can't be asked makes the whole answer an error."""
    hosts = list(_hosts(client).values())
    identity = _identity(client)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = list(pool.map(lambda host: shell.run(host, identity, _READ), hosts))
    told = zip(hosts, answers, strict=True)
    found = [entry for host, answer in told if (entry := _entry(client, host, answer)) is not None]
    return sorted(found, key=lambda entry: entry.name)


def _entry(client: Reader, host: Mapping[str, Any], answer: str) -> Entry | None:
    """The machine that a host says it carries. Its root may write anything there."""
    claim, _, content = answer.partition("\n")
    pieces = claim.split(" ")
    if len(pieces) != 3 or pieces[1] != client.target or not is_name(pieces[2]):
        return None
    try:
        record = _credible(read_record(content), host)
    except ValueError:
        return None
    said = [record.mark.owner, record.target, record.mark.id]
    if said != [*pieces[:2], pieces[2][: len(record.mark.id)]] or record.mark.id != mark_id(
        ref_of(record.mark)
    ):
        return None
    return Entry(pieces[2], os.path.join(client.path, pieces[2]), record)


def _credible(record: Record, host: Mapping[str, Any]) -> Record:
    """The record as far as the host is believed: it stands for itself alone, and names no secret.

    A secret that a copy names would be opened for whoever wrote it. Without, the wish differs from it, and
    the role is run again with the wish's own.
    """
    had = record.allocation
    address, key = str(host["address"]), str(host["hostKey"])
    mine = Allocation(had.hostname, address, had.ports, str(host["name"]), key)
    receipts = {
        name: replace(receipt, spec=_without_markers(receipt.spec), outputs=_without_markers(receipt.outputs))
        for name, receipt in record.configurations.items()
    }
    return replace(record, allocation=mine, configurations=receipts)


def _without_markers(value: Any) -> Any:
    """The same with an empty text for every mapping that has a key of ours (`$secret`, `$join`)."""
    if isinstance(value, Mapping):
        if any(key.startswith("$") for key in value):
            return ""
        return {key: _without_markers(entry) for key, entry in value.items()}
    return [_without_markers(entry) for entry in value] if isinstance(value, list) else value
