"""What a set of machines has room for: what placement asks before it decides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from reconciler.drivers.hosts import records
from reconciler.drivers.hosts.backings import backing_of
from reconciler.drivers.hosts.capacity import in_bytes, limits, taken
from reconciler.drivers.hosts.client import Reader
from reconciler.drivers.hosts.remote import free_hosts
from reconciler.model import Json


def facts(client: Reader) -> Mapping[str, Json]:
    """`machines` (how they come to be), `rootless`, `volumes`, `free` (machines, cores, memory in bytes).

    Static hosts are listed one by one in `hosts`: name, cores, memory (null: not said, large enough), free.
    """
    told: dict[str, Json] = {"machines": client.machines, "rootless": backing_of(client).rootless}
    told["volumes"] = backing_of(client).has_volumes
    with client.translated():
        if client.machines == "ssh":
            return {**told, **_of_hosts(client)}
        free = limits(client.settings).minus(taken(entry.record for entry in records.machines(client.path)))
    return {
        **told,
        "free": {"machines": free.machines, "cores": free.cores, "memory": free.memory},
        "hosts": [],
    }


def _of_hosts(client: Reader) -> dict[str, Json]:
    entries = backing_of(client).entries(client, "")
    free = free_hosts(client, (entry.record for entry in entries))
    hosts = [_host(host, free=host["name"] in free) for host in client.settings.get("hosts", ())]
    room = {name: _sum(host[name] for host in hosts if host["free"]) for name in ("cores", "memory")}
    return {"free": {"machines": len(free), **room}, "hosts": hosts}


def _sum(sizes: Iterable[int | None]) -> int | None:
    """Of all; null where one of them is not said, and so large enough for everything."""
    total = 0
    for size in sizes:
        if size is None:
            return None
        total += size
    return total


def _host(host: Mapping[str, Any], *, free: bool) -> dict[str, Any]:
    memory = host.get("memory")
    size = None if memory is None else in_bytes(memory)
    return {"name": host["name"], "cores": host.get("cores"), "memory": size, "free": free}
