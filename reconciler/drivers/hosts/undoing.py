"""Taking away what roles did on a machine that stays. WRITES."""

from __future__ import annotations

from dataclasses import replace

from reconciler.drivers.hosts.backing import Backing
from reconciler.drivers.hosts.client import Writer
from reconciler.drivers.hosts.configuring import drop_receipt, put_receipt
from reconciler.drivers.hosts.layout import REMOVING
from reconciler.drivers.hosts.records import Entry
from reconciler.drivers.hosts.running import Prepared, error_of, is_removable, run
from reconciler.drivers.hosts.variables import Open
from reconciler.errors import BackendError


def undo(client: Writer, backing: Backing, entry: Entry, key: str) -> Entry:
    """Have the role take away what it did on this (locked) machine, if it can; then forget it."""
    receipt = entry.record.configurations[key]
    if is_removable(client, str(receipt.spec["role"])):
        entry = put_receipt(client, entry, key, replace(receipt, state=REMOVING))
        prepared = Prepared(client, backing, entry, receipt, _forgiving(client))
        failed = error_of(run(client, [prepared], "remove").get(entry.name))
        if failed is not None:
            raise failed
    return drop_receipt(client, entry, key)


def undo_all(client: Writer, backing: Backing, entry: Entry) -> Entry:
    """The same for all roles of a (locked) machine, the last one first."""
    receipts = entry.record.configurations
    for key in sorted(receipts, key=lambda key: receipts[key].created, reverse=True):
        entry = undo(client, backing, entry, key)
    return entry


def _forgiving(client: Writer) -> Open:
    """Secrets for taking things away: one that is gone by now is empty, and holds nothing up."""

    def secret(reference: str) -> str:
        try:
            return client.places.secret(reference)
        except BackendError:
            return ""

    return secret
