"""From the names of a topology to Refs: which instances there are, and what late values point to. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from reconciler.late import AFTER, JOIN, after
from reconciler.library import Library
from reconciler.model import Declared, Json, Observed, Ref, State
from reconciler.tosca.inputs import resolve as resolve_inputs
from reconciler.tosca.services import Service
from reconciler.tosca.topology import Compute, Topology
from reconciler.tosca.topology import compile as compile_topology

SERVER: Final = "server"
VOLUME: Final = "volume"
CONFIGURATION: Final = "configuration"
_ADDRESSES: Final = frozenset({"private_address", "public_address", "private_ip", "public_ip", "address"})
_MIB: Final = 2**20
_DIGITS: Final = 10  # of an index


@dataclass(frozen=True, slots=True)
class Instances:
    """Which instances each compute node has: their indexes, (None,) for a node that is not scalable."""

    deployment: Ref
    by_compute: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)

    def hostname(self, node: str, index: int | None) -> str:
        """The name that a machine gives itself: of the deployment, the node and the index."""
        pieces = [
            self.deployment.name,
            node.replace("_", "-").lower(),
            *([] if index is None else [str(index)]),
        ]
        return "-".join(pieces)[-63:].lstrip("-")

    def servers(self, node: str) -> tuple[Ref, ...]:
        return tuple(self.deployment.with_part(node, SERVER, index) for index in self.by_compute[node])


def service_of(declared: Declared, library: Library) -> Service | str:
    """The service that a deployment names; a message where there is none."""
    name, _, version = declared.spec["service"].partition("@")
    versions = library.services.get(name)
    if versions is None and f"catalogue/{name}" in library.broken:
        return f"service '{name}' can't be read: there are problems in catalogue/{name}/"
    if versions is None:
        there = ", ".join(sorted(library.services)) or "no service at all"
        return f"there is no service '{name}' in the catalogue; there are: {there}"
    found = versions.get(version) if version else next(iter(versions.values()))
    if found is None:
        return f"service {name} has no version {version}; there are: {', '.join(sorted(versions))}"
    return found


def topology_of(declared: Declared, library: Library) -> Topology | str:
    """The topology of a deployment; a message where it can't have one. Worked out once."""
    return library.once(f"topology {declared.ref}", lambda: _topology(declared, library))


def _topology(declared: Declared, library: Library) -> Topology | str:
    service = service_of(declared, library)
    if isinstance(service, str):
        return service
    values, problems = resolve_inputs(service, declared.spec.get("inputs", {}), str(declared.ref))
    if problems:
        return "; ".join(f"{found.path}: {found.message}" for found in problems)
    topology = compile_topology(service, values)
    if isinstance(topology, Topology):
        return topology
    return "; ".join(problem.message for problem in topology)


def instances_of(ref: Ref, topology: Topology, seen: Iterable[Observed]) -> Instances:
    """The instances that a deployment shall have, given those that it has.

    Those that are there stay, the lowest first, but for the ones that `removal_list` names. New ones take
    numbers that nothing has which is still there.
    """
    there: dict[str, dict[int, State]] = {}
    for thing in seen:
        node, _, kind = thing.ref.part.rpartition(".")
        name, _, index = node.rpartition(".")
        if kind == SERVER and index.isdigit():
            there.setdefault(name, {})[int(index)] = thing.state
    chosen = {name: _indexes(compute, there.get(name, {})) for name, compute in topology.computes.items()}
    return Instances(ref, chosen)


def _indexes(compute: Compute, there: Mapping[int, State]) -> tuple[int | None, ...]:
    if compute.count is None:
        return (None,)
    living = (index for index, state in there.items() if state is not State.DELETING)
    stay = sorted(index for index in living if index not in compute.removal)[: compute.count]
    free = (
        index
        for index in range(compute.count + len(there) + len(compute.removal))
        if index not in there and index not in compute.removal
    )
    new = [next(free) for _ in range(compute.count - len(stay))]
    return tuple(sorted([*stay, *new]))


def translated(value: Json, ref: Ref, topology: Topology, instances: Instances) -> Json:
    """The same with every `$attribute` of a node as the late value of a Ref, and `$join` of such.

    What is asked of a node without instances, or of one that is not there, is None; so is text with that.
    """
    if isinstance(value, Mapping):
        if "$attribute" in value:
            return _attribute(value["$attribute"], ref, topology, instances)
        if JOIN in value:
            pieces = [translated(piece, ref, topology, instances) for piece in value[JOIN]]
            return None if None in pieces else {JOIN: pieces}
        return {key: translated(entry, ref, topology, instances) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [translated(entry, ref, topology, instances) for entry in value]
    return value


def _attribute(words: Collection[Json], ref: Ref, topology: Topology, instances: Instances) -> Json:
    node, name, *path = words
    host = topology.software[node].host if node in topology.software else node
    if not instances.by_compute.get(host):
        return None
    if node in topology.software:
        index = instances.by_compute[host][0]
        return after(ref.with_part(node, CONFIGURATION, index), ".".join(map(str, [name, *path])))
    if name in _ADDRESSES:
        return _picked([after(server, "address") for server in instances.servers(node)], path)
    if name == "instances":
        return _picked(_described(node, topology, instances), path)
    return after(instances.servers(node)[0], ".".join(map(str, [name, *path])))


def _picked(values: list[Json], path: Collection[Json]) -> Json:
    """All, or what these steps lead to; None where there is nothing."""
    if not path:
        return values
    number, *rest = map(str, path)
    there = number.isascii() and number.isdecimal() and len(number) < _DIGITS and int(number) < len(values)
    found = values[int(number)] if there else None
    return _inside(found, rest) if rest and isinstance(found, Mapping) and AFTER not in found else found


def _inside(found: Json, steps: Collection[str]) -> Json:
    for step in steps:
        found = found.get(step) if isinstance(found, Mapping) else None
    return found


def _described(node: str, topology: Topology, instances: Instances) -> list[Json]:
    """What other machines want to know of each instance: name, address, cores, memory in MiB."""
    compute = topology.computes[node]
    return [
        {
            "name": instances.hostname(node, index),
            "address": after(server, "address"),
            "cores": compute.cores,
            "memory": compute.memory // _MIB,
        }
        for index, server in zip(instances.by_compute[node], instances.servers(node), strict=True)
    ]
