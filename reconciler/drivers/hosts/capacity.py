"""How much a target holds: what its settings allow, what is taken, what a new machine must fit into."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.drivers.hosts.layout import Record
from reconciler.errors import Rejected
from reconciler.units import size

_MACHINES = 50


@dataclass(frozen=True, slots=True)
class Amount:
    """So many machines, cores, and bytes of memory."""

    machines: int
    cores: int
    memory: int

    def minus(self, other: Amount) -> Amount:
        """What is left; never below nothing."""
        left = (self.machines - other.machines, self.cores - other.cores, self.memory - other.memory)
        return Amount(*(max(0, each) for each in left))


def limits(settings: Mapping[str, Any]) -> Amount:
    """What the settings allow. Not said: 50 machines, four times the cores and all memory of this host."""
    told = settings.get("capacity", {})
    memory = told.get("memory")
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Amount(
        told.get("machines", _MACHINES),
        told.get("cores", 4 * (os.cpu_count() or 1)),
        whole if memory is None else in_bytes(memory),
    )


def in_bytes(value: int | str) -> int:
    """A number of bytes, or a size as people write it."""
    return value if isinstance(value, int) else size(value)


def taken(records: Iterable[Record]) -> Amount:
    """What machines have, by their specs."""
    specs = [record.spec for record in records]
    return Amount(len(specs), sum(map(_cores, specs)), sum(map(_memory, specs)))


def refuse_without_room(
    settings: Mapping[str, Any], spec: Mapping[str, Any], others: Sequence[Record]
) -> None:
    """Raises Rejected when the machine does not fit beside the others."""
    free = limits(settings).minus(taken(others))
    asked = Amount(1, _cores(spec), _memory(spec))
    for what in ("machines", "cores", "memory"):
        if getattr(asked, what) > getattr(free, what):
            sizes = f"{getattr(asked, what)} {what} asked, {getattr(free, what)} free"
            message = f"no room for this machine: {sizes}"
            raise Rejected(message, hint="raise `capacity` of the target, or make a machine smaller")


def fits(host: Mapping[str, Any], spec: Mapping[str, Any]) -> bool:
    """Is a static host large enough? One that does not say how large it is, is."""
    cores, memory = host.get("cores"), host.get("memory")
    return (cores is None or cores >= _cores(spec)) and (memory is None or in_bytes(memory) >= _memory(spec))


def _cores(spec: Mapping[str, Any]) -> int:
    return int(spec.get("cores") or 0)


def _memory(spec: Mapping[str, Any]) -> int:
    return int(spec.get("memory") or 0)
