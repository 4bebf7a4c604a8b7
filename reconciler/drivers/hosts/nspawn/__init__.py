"""Real machines on this host: systemd-nspawn on an overlay of one base tree, each with its own network.

Only a driver's hands call these functions. Nothing here knows primitives, marks or the repository.
All of it needs root and a Debian host. `network.ensure_network` turns IP forwarding on and leaves it on.
A machine keeps its disk to itself, but root inside is root of this host with fewer powers: it is a place
for people whom one trusts, not a jail.
"""

from __future__ import annotations

from reconciler.drivers.hosts.nspawn.base import base_tree
from reconciler.drivers.hosts.nspawn.machine import State, create, look, machines, remove, start, stop, why
from reconciler.drivers.hosts.nspawn.network import addresses, ensure_network, remove_network
from reconciler.drivers.hosts.nspawn.nouns import Machine, Settings
from reconciler.drivers.hosts.nspawn.programs import prepare

__all__ = [
    "Machine",
    "Settings",
    "State",
    "addresses",
    "base_tree",
    "create",
    "ensure_network",
    "look",
    "machines",
    "prepare",
    "remove",
    "remove_network",
    "start",
    "stop",
    "why",
]
