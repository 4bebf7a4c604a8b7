"""Configuring machines: receipts are written before and after a run, one run for many machines. WRITES."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.drivers.hosts import records
from reconciler.drivers.hosts.backing import Backing
from reconciler.drivers.hosts.client import Writer
from reconciler.drivers.hosts.keeping import put, wanted
from reconciler.drivers.hosts.layout import (
    BEGUN,
    DONE,
    FAILED,
    MACHINE_FILE,
    READY,
    Receipt,
    names_of,
    ref_of,
    second_name,
)
from reconciler.drivers.hosts.plays import Step, plays_of, runs_of
from reconciler.drivers.hosts.records import Entry
from reconciler.drivers.hosts.running import Prepared, error_of, run_all
from reconciler.drivers.hosts.variables import without
from reconciler.errors import BackendError, Conflict, NotOurs, Untried
from reconciler.model import Change, Mark, Ref, State

if TYPE_CHECKING:
    from reconciler.playbook.work import HostResult


@dataclass(frozen=True, slots=True)
class Begun:
    """A step whose receipt says that it has begun. `before` is the receipt that stood there."""

    step: Step
    key: str
    prepared: Prepared
    before: Receipt | None

    @property
    def place(self) -> str:
        return self.prepared.entry.name


Became = dict[int, BackendError | None]  # number of a step → what became of it; None: it went well


def configure(
    client: Writer, backing: Backing, changes: Sequence[tuple[Change, Mark]]
) -> list[BackendError | None]:
    """What became of each, in the same order. One that needs another comes after it, or is Untried.

    One run of Ansible for all; another one where a machine has a role twice.
    """
    became: Became = {}
    steps: list[Step] = []
    for number, (change, mark) in enumerate(changes):
        try:
            steps.append(Step(number, change, mark, _machine_of(client, change, mark)))
        except BackendError as error:
            became[number] = error
    for plays in runs_of(plays_of(steps), seen=backing.rootless):
        lost = {changes[number][0].ref for number, error in became.items() if error is not None}
        became |= _carry_out(client, backing, plays, lost)
    return [became[number] for number in range(len(changes))]


def _machine_of(client: Writer, change: Change, mark: Mark) -> str:
    """The machine that a configuration is for: the one where it is, else the newest of its server's Ref."""
    server = Ref.parse(str(wanted(change).spec["server"]))
    with client.translated():
        found = records.of_ref(records.machines(client.path), server, mark.owner, client.target)
    names = [entry.name for entry in found]
    had = names_of(change.have.uid)[0] if change.have is not None else ""
    if had in names:
        return had
    if not names:
        raise Conflict(f"server {server} is not there", hint="the next run looks again")
    return names[0]


def _carry_out(client: Writer, backing: Backing, plays: Sequence[Sequence[Step]], lost: set[Ref]) -> Became:
    """Lock the machines, say that it begins, run, say how it ended. `lost` did not end well."""
    became: Became = {}
    with ExitStack() as stack:
        locked = _locked(stack, client, backing, {step.machine for play in plays for step in play})
        begun: list[list[Begun]] = []
        for play in plays:
            begun.append([])
            for step in play:
                found = _begun(client, backing, step, locked[step.machine], lost)
                if isinstance(found, Begun):
                    begun[-1].append(found)
                else:
                    became[step.number] = found
                    lost.add(step.change.ref)
        begun = [play for play in begun if play]
        return became | (_run(client, backing, begun) if begun else {})


def _locked(
    stack: ExitStack, client: Writer, backing: Backing, names: Iterable[str]
) -> Mapping[str, BackendError | None]:
    """The machines, for us alone; why not. Always in this order: nobody waits in a ring."""
    locked: dict[str, BackendError | None] = {}
    for name in sorted(names):
        try:
            with client.translated():
                locked_entry(stack, client, backing, name)
            locked[name] = None
        except BackendError as error:
            locked[name] = error
    return locked


def _begun(
    client: Writer, backing: Backing, step: Step, locked: BackendError | None, lost: set[Ref]
) -> Begun | BackendError:
    if locked is not None or step.needs & lost:
        return locked or Untried("what it comes after did not begin")
    try:
        with client.translated():
            return _begin(client, backing, step)
    except BackendError as error:
        return error


def _begin(client: Writer, backing: Backing, step: Step) -> Begun:
    entry = _fresh(client, step.machine)
    key, receipt = _receipt(entry, client.target, step)
    secret = client.places.secret
    prepared = Prepared(client, backing, entry, receipt, secret)  # without its secrets nothing begins
    before = entry.record.configurations.get(key)
    prepared.entry = put_receipt(client, entry, key, receipt)
    return Begun(step, key, prepared, before)


def locked_entry(stack: ExitStack, client: Writer, backing: Backing, name: str) -> Entry:
    """A machine that runs, for us alone. Raises Conflict for any other."""
    stack.enter_context(client.writing.lock(os.path.join(client.path, name)))
    entry = _fresh(client, name)
    look = backing.look(client, entry)
    if entry.record.state != READY or look.state is not State.READY:
        why = look.message or entry.record.state
        raise Conflict(f"server {entry.record.mark.ref} is not ready: {why}", hint="the next run looks again")
    return entry


def _fresh(client: Writer, name: str) -> Entry:
    """The machine as its record says now: other roles write theirs into it, too."""
    folder = os.path.join(client.path, name)
    record = records.record_in(folder, MACHINE_FILE)
    if record is None or record.released:
        raise Conflict(f"the machine {name} is not there any more", hint="the next run looks again")
    return Entry(name, folder, record)


def _receipt(entry: Entry, target: str, step: Step) -> tuple[str, Receipt]:
    """The key on the machine and what is written there; what was there before goes on where it can."""
    there = entry.record.configurations
    key = _key(there, target, step)
    old = there.get(key)
    spec = dict(wanted(step.change).spec)
    if old is None:
        return key, Receipt(step.mark, spec, BEGUN, records.now())
    return key, replace(old, mark=step.mark, spec=spec, state=BEGUN, message="", released=False)


def _key(there: Mapping[str, Receipt], target: str, step: Step) -> str:
    have, mark = step.change.have, step.mark
    if have is not None and have.uid.startswith(f"{target}:{step.machine}/"):
        key = names_of(have.uid)[1]
        if key in there:
            _refuse_other(there[key], step)
            return key
    for key in (mark.id, second_name(mark)):
        if key not in there:
            return key
        if there[key].released:
            raise NotOurs(f"{step.change.ref} was released, and still configures the machine")
        if (there[key].mark.id, there[key].mark.spec_hash) == (mark.id, mark.spec_hash):
            return key
    raise NotOurs(f"other things stand where {step.change.ref} is to be", hint="remove them first")


def _refuse_other(receipt: Receipt, step: Step) -> None:
    have = step.change.have
    adopted = have is not None and have.mark is None and wanted(step.change).metadata.adopt
    if receipt.released and not adopted:
        raise NotOurs(f"{step.change.ref} was released, and still configures the machine")
    former = have.mark.ref if have and have.mark else None
    if not receipt.released and ref_of(receipt.mark) not in (step.change.ref, former):
        raise NotOurs(f"{receipt.mark.ref} stands where {step.change.ref} is to be")


def _run(client: Writer, backing: Backing, plays: Sequence[Sequence[Begun]]) -> Became:
    where = {one.step.change.ref: (number, one.place) for number, play in enumerate(plays) for one in play}
    asked = [
        [(one.prepared, frozenset(where[ref] for ref in one.step.needs & where.keys())) for one in play]
        for play in plays
    ]
    try:
        results = run_all(client, asked)
    except BackendError as error:  # nothing was done on any machine
        return {one.step.number: _given_back(client, one, error) for play in plays for one in play}
    became: Became = {}
    for play, told in zip(plays, results, strict=True):
        for one in play:
            became[one.step.number] = _ended(client, backing, one, told.get(one.place))
    return became


def _ended(client: Writer, backing: Backing, one: Begun, result: HostResult | None) -> BackendError | None:
    failed = error_of(result)
    if isinstance(failed, Untried):
        return _given_back(client, one, failed)
    try:
        with client.translated():
            _end(client, backing, one, result, failed)
    except BackendError as error:
        return error
    return failed


def _end(
    client: Writer, backing: Backing, one: Begun, result: HostResult | None, failed: BackendError | None
) -> None:
    entry, receipt = _fresh(client, one.place), one.prepared.receipt
    if failed is not None or result is None:
        new = replace(receipt, state=FAILED, message=str(failed))
    else:
        outputs = without(result.outputs, one.prepared.secrets)
        kept = _services(backing, entry, one.key)
        new = replace(receipt, state=DONE, finished=records.now(), outputs=outputs, services=kept)
    backing.wrote(client, put_receipt(client, entry, one.key, new))


def _given_back(client: Writer, one: Begun, why: BackendError) -> BackendError:
    """It was not begun after all: what stood there stands again."""
    try:
        with client.translated():
            entry = _fresh(client, one.place)
            if one.before is None:
                drop_receipt(client, entry, one.key)
            else:
                put_receipt(client, entry, one.key, one.before)
    except BackendError as worse:  # its own matter, none of the others'
        return worse
    return why


def _services(backing: Backing, entry: Entry, key: str) -> tuple[str, ...]:
    """The services that this configuration keeps running: those that belong to no other one."""
    others = [receipt for name, receipt in entry.record.configurations.items() if name != key]
    taken = {service for receipt in others for service in receipt.services}
    return tuple(sorted(backing.services(entry).keys() - taken))


def put_receipt(client: Writer, entry: Entry, key: str, receipt: Receipt) -> Entry:
    """Write one receipt into its machine's record."""
    configurations = {**entry.record.configurations, key: receipt}
    return put(client, MACHINE_FILE, entry, replace(entry.record, configurations=configurations))


def drop_receipt(client: Writer, entry: Entry, key: str) -> Entry:
    """Take one receipt out of its machine's record."""
    left = {name: receipt for name, receipt in entry.record.configurations.items() if name != key}
    return put(client, MACHINE_FILE, entry, replace(entry.record, configurations=left))
