"""Configuring machines: receipts are written before and after a run, one run for many machines. WRITES."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Protocol

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
from reconciler.drivers.hosts.records import Entry
from reconciler.drivers.hosts.running import Prepared, error_of, run
from reconciler.drivers.hosts.variables import without
from reconciler.errors import BackendError, Conflict, NotOurs
from reconciler.model import Change, Mark, Ref, State


class _Result(Protocol):
    """What the engine says of one machine."""

    @property
    def outputs(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Step:
    """One change and the machine that it is about. `number` is its place in the batch."""

    number: int
    change: Change
    mark: Mark
    machine: str

    @property
    def role(self) -> tuple[str, str]:
        """The role and what its files are."""
        spec = wanted(self.change).spec
        return str(spec["role"]), str(spec.get("content", ""))


@dataclass(frozen=True, slots=True)
class Begun:
    """A step whose receipt says that it has begun."""

    step: Step
    key: str
    prepared: Prepared


def configure(
    client: Writer, backing: Backing, changes: Sequence[tuple[Change, Mark]]
) -> list[BackendError | None]:
    """What became of each, in the same order.

    One run of Ansible per role; another one for machines that have the role twice.
    """
    errors: list[BackendError | None] = [None] * len(changes)
    steps: list[Step] = []
    for number, (change, mark) in enumerate(changes):
        try:
            steps.append(Step(number, change, mark, _machine_of(client, change, mark)))
        except BackendError as error:
            errors[number] = error
    for wave in _waves(steps):
        for number, failed in _carry_out(client, backing, wave).items():
            errors[number] = failed
    return errors


def _waves(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """Steps of one role, every machine once."""
    left = list(steps)
    while left:
        wave: dict[str, Step] = {}
        for step in left:
            if step.role == left[0].role:
                wave.setdefault(step.machine, step)
        left = [step for step in left if step not in wave.values()]
        yield list(wave.values())


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


def _carry_out(client: Writer, backing: Backing, wave: Sequence[Step]) -> dict[int, BackendError | None]:
    """Lock the machines, say that it begins, run, say how it ended."""
    became: dict[int, BackendError | None] = {}
    begun: list[Begun] = []
    with ExitStack() as stack:
        for step in sorted(
            wave, key=lambda step: step.machine
        ):  # always in this order: nobody waits in a ring
            try:
                begun.append(_begin(stack, client, backing, step))
            except BackendError as error:
                became[step.number] = error
        if begun:
            became |= _run(client, backing, begun)
    return became


def _begin(stack: ExitStack, client: Writer, backing: Backing, step: Step) -> Begun:
    with client.translated():
        entry = locked_entry(stack, client, backing, step.machine)
        key, receipt = _receipt(entry, client.target, step)
        prepared = Prepared(
            client, backing, entry, receipt, client.places.secret
        )  # secrets first: without them nothing begins
        prepared.entry = put_receipt(client, entry, key, receipt)
        return Begun(step, key, prepared)


def locked_entry(stack: ExitStack, client: Writer, backing: Backing, name: str) -> Entry:
    """A machine that runs, for us alone. Raises Conflict for any other."""
    folder = os.path.join(client.path, name)
    stack.enter_context(client.writing.lock(folder))
    record = records.record_in(folder, MACHINE_FILE)
    if record is None or record.released:
        raise Conflict(f"the machine {name} is not there any more", hint="the next run looks again")
    entry = Entry(name, folder, record)
    look = backing.look(client, entry)
    if record.state != READY or look.state is not State.READY:
        why = look.message or record.state
        raise Conflict(f"server {record.mark.ref} is not ready: {why}", hint="the next run looks again")
    return entry


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


def _run(client: Writer, backing: Backing, begun: Sequence[Begun]) -> dict[int, BackendError | None]:
    try:
        results = run(client, [one.prepared for one in begun])
    except BackendError as error:  # nothing was done on any machine
        return {one.step.number: error for one in begun}
    became: dict[int, BackendError | None] = {}
    for one in begun:
        result = results.get(one.prepared.entry.name)
        failed = error_of(result)
        try:
            with client.translated():
                _end(client, backing, one, result, failed)
            became[one.step.number] = failed
        except BackendError as error:
            became[one.step.number] = error
    return became


def _end(
    client: Writer, backing: Backing, one: Begun, result: _Result | None, failed: BackendError | None
) -> None:
    entry, receipt = one.prepared.entry, one.prepared.receipt
    if failed is not None or result is None:
        new = replace(receipt, state=FAILED, message=str(failed))
    else:
        outputs = without(result.outputs, one.prepared.secrets)
        kept = _services(backing, entry, one.key)
        new = replace(receipt, state=DONE, finished=records.now(), outputs=outputs, services=kept)
    backing.wrote(client, put_receipt(client, entry, one.key, new))


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
