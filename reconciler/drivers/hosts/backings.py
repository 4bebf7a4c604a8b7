"""The backing of a target, by its setting `machines`."""

from __future__ import annotations

from typing import Final

from reconciler.drivers.hosts.backing import Backing
from reconciler.drivers.hosts.client import Reader
from reconciler.drivers.hosts.local import Local
from reconciler.drivers.hosts.real import Real
from reconciler.drivers.hosts.remote import Remote

_BACKINGS: Final[dict[str, Backing]] = {"local": Local(), "nspawn": Real(), "ssh": Remote()}


def backing_of(client: Reader) -> Backing:
    """How this target's machines come to be."""
    return _BACKINGS[client.machines]
