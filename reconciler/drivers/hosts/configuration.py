"""The hand for configurations: one role on one machine, remembered in the machine's record."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime

from reconciler.drivers.hosts import records
from reconciler.drivers.hosts.backing import Backing
from reconciler.drivers.hosts.backings import backing_of
from reconciler.drivers.hosts.client import Reader, Writer
from reconciler.drivers.hosts.configuring import configure, drop_receipt, locked_entry, put_receipt
from reconciler.drivers.hosts.keeping import seen
from reconciler.drivers.hosts.layout import (
    BEGUN,
    CONFIGURATION,
    FAILED,
    MACHINE_FILE,
    READY,
    REMOVING,
    Receipt,
    configuration_uid,
    names_of,
    ref_of,
    server_uid,
)
from reconciler.drivers.hosts.plays import role_of
from reconciler.drivers.hosts.records import Entry
from reconciler.drivers.hosts.running import Prepared, error_of, run
from reconciler.drivers.hosts.undoing import undo
from reconciler.drivers.hosts.variables import without
from reconciler.drivers.hosts.writing import is_locked
from reconciler.errors import BackendError, Conflict
from reconciler.kind import Ask
from reconciler.model import NOTHING, PARTIAL, Change, FieldChange, Mark, Observed, Ref, State


class ConfigurationHand:
    """Stateless."""

    def observe(self, client: Reader, ask: Ask) -> Iterable[Observed]:
        """From the records of all machines alone: no machine is asked, no role is run."""
        backing = backing_of(client)
        with client.translated():
            entries = [entry for entry in backing.entries(client, ask.owner) if not entry.record.released]
            return [thing for entry in entries for thing in _on(backing, client, entry, ask)]

    def verify(self, client: Reader, thing: Observed) -> Observed:
        """Run the role without changing anything: the tasks that would change something have drifted."""
        backing = backing_of(client)
        with client.translated():
            entry, receipt = _found(client, thing)
            if thing.state is not State.READY or entry is None or receipt is None or is_locked(entry.folder):
                return thing
            prepared = Prepared(client, backing, entry, receipt, client.places.secret)
            result = run(client, [prepared], check=True).get(entry.name)
        failed = error_of(result)
        if result is None or failed is not None:
            raise failed or Conflict(f"{thing.ref} could not be looked at")
        return _drifted(thing, without(list(result.differences), prepared.secrets))

    def apply(self, client: Writer, change: Change, mark: Mark) -> None:
        """A batch of one."""
        for error in self.apply_together(client, [(change, mark)]):
            if error is not None:
                raise error

    def batch(self, change: Change) -> str:
        """A run of Ansible begins with one role on many machines."""
        return "@".join(role_of(change))

    def apply_together(
        self, client: Writer, changes: Sequence[tuple[Change, Mark]]
    ) -> Sequence[BackendError | None]:
        """One run for all machines, role after role."""
        _ = client.writing  # a client that only reads is refused before anything else
        return configure(client, backing_of(client), changes)

    def release(self, client: Writer, change: Change) -> None:
        """What the role did stays; nobody here looks after it any more."""
        self._go(client, seen(change), keep=True)

    def delete(self, client: Writer, change: Change) -> None:
        """The role takes away what it did, where it can; on a machine that is gone there is nothing to do."""
        self._go(client, seen(change), keep=False)

    def _go(self, client: Writer, thing: Observed, *, keep: bool) -> None:
        writing, backing = client.writing, backing_of(client)
        with client.translated():
            entry, receipt = _found(client, thing)
            if entry is None or receipt is None or thing.mark is None:
                return
            if receipt.mark.id != thing.mark.id:
                raise Conflict(f"{receipt.mark.ref} stands now where {thing.ref} was seen")
            key = names_of(thing.uid)[1]
            with ExitStack() as stack:
                if keep:
                    stack.enter_context(writing.lock(entry.folder))
                    put_receipt(client, entry, key, replace(receipt, released=True))
                else:
                    _undo(stack, client, backing, entry, key)


def _undo(stack: ExitStack, client: Writer, backing: Backing, entry: Entry, key: str) -> None:
    """Where the machine is half removed or damaged, its files are gone and forgetting is enough."""
    if entry.record.state == REMOVING or backing.look(client, entry).reason == "Damaged":
        stack.enter_context(client.writing.lock(entry.folder))
        drop_receipt(client, entry, key)
        return
    entry = locked_entry(stack, client, backing, entry.name)
    if key in entry.record.configurations:
        backing.wrote(client, undo(client, backing, entry, key))


def _found(client: Reader, thing: Observed) -> tuple[Entry | None, Receipt | None]:
    """The machine and the receipt that was seen; None for what is gone, or marked no more."""
    name, key = names_of(thing.uid)
    folder = os.path.join(client.path, name)
    record = records.record_in(folder, MACHINE_FILE)
    if record is None or record.released:
        return None, None
    receipt = record.configurations.get(key)
    whole = receipt if receipt is not None and not receipt.released else None
    return Entry(name, folder, record), whole


def _on(backing: Backing, client: Reader, entry: Entry, ask: Ask) -> Iterator[Observed]:
    """All configurations of one machine."""
    record = entry.record
    if record.target != client.target or not record.configurations:
        return
    watched = any(receipt.services for receipt in record.configurations.values())
    services = backing.services(entry) if watched else {}
    for key, receipt in sorted(record.configurations.items()):
        uid = configuration_uid(client.target, entry.name, key)
        ref = ref_of(receipt.mark)
        if receipt.released and str(ref) in ask.natural:
            at_key = Ref(CONFIGURATION, "", str(ref))
            yield Observed(at_key, CONFIGURATION, client.target, NOTHING, uid, since=receipt.created)
        elif not receipt.released and receipt.mark.owner == ask.owner:
            yield _thing(client.target, entry, uid, receipt, _state(entry, receipt, services))


def _thing(target: str, entry: Entry, uid: str, receipt: Receipt, how: tuple[State, str, str]) -> Observed:
    """Its `server` is what the machine is called now: renaming a machine changes nothing on it.

    A role that was run to its end has proved the machine at that time.
    """
    spec = {**receipt.spec, "server": str(ref_of(entry.record.mark))}
    return Observed(
        ref_of(receipt.mark),
        CONFIGURATION,
        target,
        spec,
        uid,
        receipt.mark,
        *how,
        uses=frozenset((server_uid(target, entry.name),)),
        attributes=receipt.outputs,
        since=receipt.created,
        verified=datetime.fromisoformat(receipt.finished) if receipt.finished else None,
    )


def _state(entry: Entry, receipt: Receipt, services: Mapping[str, bool]) -> tuple[State, str, str]:
    if receipt.state in (BEGUN, REMOVING):
        return _half(entry, receipt)
    if receipt.state == FAILED:
        return State.FAILED, "RoleFailed", receipt.message
    if entry.record.state == READY:
        down = [name for name in receipt.services if not services.get(name, False)]
        if down:
            return State.FAILED, "ServiceDown", f"{', '.join(down)} does not run"
    return State.READY, "", ""


def _half(entry: Entry, receipt: Receipt) -> tuple[State, str, str]:
    if is_locked(entry.folder):
        return State.PROGRESSING, "Configuring", "its role is being run"
    if receipt.state == BEGUN and receipt.finished:
        return State.FAILED, "Interrupted", "the last run of its role was interrupted"
    return State.FAILED, PARTIAL, "the first run of its role was interrupted"


def _drifted(thing: Observed, tasks: Iterable[str]) -> Observed:
    names = sorted(dict.fromkeys(tasks))
    if not names:
        return thing
    drift = tuple(FieldChange(f"tasks.{name}", "differs", "as the role says") for name in names)
    message = f"the role would change: {', '.join(names)}"
    return replace(thing, state=State.FAILED, reason="Drifted", message=message, drift=drift)
