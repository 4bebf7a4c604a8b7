"""A service with its inputs filled in: what machines, volumes and software a deployment consists of. Pure.

Sizes are bytes. In `variables` and `outputs` a value that is known only later is `{"$attribute": [node,
attribute, *path]}`, text that holds one is `{"$join": [piece, …]}`, a secret is `{"$secret": reference}`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from reconciler.errors import Problem
from reconciler.model import NOTHING, Json
from reconciler.printable import shown
from reconciler.tosca.expressions import is_open
from reconciler.tosca.flaw import Flaw, FlawError, Path
from reconciler.tosca.functions import Scope, evaluate, is_late
from reconciler.tosca.memory import Memory
from reconciler.tosca.nodes import Family, Node
from reconciler.tosca.services import Service
from reconciler.tosca.values import marker_in, size, text_of

_IMAGE: Final = ("distribution", "version", "architecture", "type", "image")
_USER: Final = ("os_user_name", "os_user_guid", "os_user_add_to_sudoers", "os_user_ssh_public_key")
_ROLE = re.compile(r"[a-z][a-z0-9_]{0,62}")
_LOCATION = re.compile(r"(/[A-Za-z0-9._+@-]+)+")
_DOTS: Final = frozenset({".", ".."})
_MEMORY: Final = 10**9  # bytes of a machine that says nothing
_MAX_COUNT: Final = 1000
_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True)
class Port:
    """One port that is open: `number` is what the service listens on, `remote` a CIDR, empty: anywhere."""

    name: str
    protocol: str
    number: int
    remote: str = ""


@dataclass(frozen=True, slots=True)
class Compute:
    """Machines of one kind. `count` is None where the node is not scalable; `removal` are indexes to give up.

    `memory` and `disk` are bytes. `image` holds what is given of distribution, version, architecture, type,
    image. `volumes`: where → the volume node. `public`: bound to a public network.
    """

    name: str
    count: int | None
    removal: tuple[int, ...]
    cores: int
    memory: int
    disk: int | None
    image: Mapping[str, str]
    ports: tuple[Port, ...]
    volumes: Mapping[str, str]
    public: bool
    users: tuple[Mapping[str, Json], ...]


@dataclass(frozen=True, slots=True)
class Volume:
    """Storage that outlives a machine: `size` in bytes, `quality` a label, empty: any."""

    name: str
    size: int
    quality: str


@dataclass(frozen=True, slots=True)
class Software:
    """One role on the machines of `host`, after the software nodes in `needs`."""

    name: str
    host: str
    role: str
    variables: Mapping[str, Json]
    needs: frozenset[str]


@dataclass(frozen=True, slots=True)
class Topology:
    """All nodes by name, and the outputs."""

    computes: Mapping[str, Compute] = NOTHING
    volumes: Mapping[str, Volume] = NOTHING
    software: Mapping[str, Software] = NOTHING
    outputs: Mapping[str, Json] = NOTHING


def compile(service: Service, values: Mapping[str, Json]) -> Topology | tuple[Problem, ...]:  # noqa: A001  the word for it
    """The topology of one deployment; `values` are those of `inputs.resolve`. Else all that is wrong."""
    scope = Scope(values, service.nodes)
    flaws: list[Flaw] = []
    nodes = service.nodes.values()
    made = Topology(
        _made(nodes, Family.COMPUTE, partial(_shared, service.memory, _compute), scope, flaws),
        _made(nodes, Family.VOLUME, partial(_shared, service.memory, _volume), scope, flaws),
        _made(nodes, Family.SOFTWARE, partial(_software, service.memory), scope, flaws),
        _outputs(service, scope, flaws),
    )
    if flaws:
        return tuple(sorted(service.problem(flaw) for flaw in flaws))
    return made


def _made(
    nodes: Any, family: Family, make: Callable[[Node, Scope], _Made], scope: Scope, flaws: list[Flaw]
) -> dict[str, _Made]:
    found: dict[str, _Made] = {}
    for node in nodes:
        if node.family is family:
            try:
                found[node.name] = make(node, scope)
            except FlawError as error:
                flaws.append(error.flaw)
    return found


def _shared(memory: Memory, make: Callable[[Node, Scope], _Made], node: Node, scope: Scope) -> _Made:
    return memory.once(node.name, scope, lambda: make(node, scope))


def _outputs(service: Service, scope: Scope, flaws: list[Flaw]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for name, expression in service.outputs.items():
        try:
            found[name] = evaluate(expression, scope)
        except FlawError as error:
            flaws.append(error.flaw)
    return found


def _volume(node: Node, scope: Scope) -> Volume:
    wanted = evaluate(node.properties.get("size"), scope, node.name)
    if wanted is None:
        raise FlawError(node.path, f"the volume `{node.name}` has no size", "properties: {size: 10 GB}")
    quality = evaluate(node.properties.get("type"), scope, node.name)
    return Volume(node.name, _bytes(wanted, (*node.path, "properties", "size")), text_of(quality))


def _software(memory: Memory, node: Node, scope: Scope) -> Software:
    """Its variables are remembered one by one: some hold what no other deployment says."""
    role = evaluate(node.role, scope, node.name)
    if not isinstance(role, str) or not _ROLE.fullmatch(role):
        hint = "a role's name has small letters, digits and _"
        raise FlawError(node.path, f"`{shown(text_of(role))}` can't be the role of `{node.name}`", hint)
    given = {
        name: memory.once((node.name, name), scope, partial(evaluate, expression, scope, node.name))
        if is_open(expression)
        else expression
        for name, expression in node.variables.items()
    }
    variables = {name: value for name, value in given.items() if value is not None}
    return Software(node.name, node.hosts[-1], role, {**_generic(node, scope), **variables}, node.needs)


def _generic(node: Node, scope: Scope) -> Mapping[str, Json]:
    """The property `variables` of the generic type."""
    if node.type != "tosca.nodes.reconciler.Role":
        return NOTHING
    given = evaluate(node.properties.get("variables"), scope, node.name)
    if given is not None and not isinstance(given, dict):
        raise FlawError((*node.path, "properties", "variables"), "`variables` must be a mapping")
    return {name: value for name, value in (given or {}).items() if value is not None}


def _compute(node: Node, scope: Scope) -> Compute:
    host, system, scalable, endpoint = (
        _capability(node, name, scope) for name in ("host", "os", "scalable", "endpoint")
    )
    path = (*node.path, "capabilities")
    if marker_in(system):
        raise FlawError((*path, "os"), "the system can't be a secret, or known only later")
    disk = host.get("disk_size")
    memory = host.get("mem_size")
    return Compute(
        name=node.name,
        count=_whole(scalable.get("count"), (*path, "scalable"), 0, _MAX_COUNT) if node.scalable else None,
        removal=_removal(scalable.get("removal_list"), (*path, "scalable")),
        cores=_whole(host.get("num_cpus", 1), (*path, "host"), 1, 4096),
        memory=_MEMORY if memory is None else _bytes(memory, (*path, "host")),
        disk=None if disk is None else _bytes(disk, (*path, "host")),
        image={name: text_of(system[name]) for name in _IMAGE if system.get(name) not in (None, "")},
        ports=tuple(_ports(endpoint.get("ports"), (*path, "endpoint", "properties", "ports"))),
        volumes=_volumes(node, scope),
        public=_public(node, scope, endpoint),
        users=_users(node, scope),
    )


def _capability(node: Node, name: str, scope: Scope) -> dict[str, Json]:
    properties = node.capabilities.get(name, NOTHING)
    return {
        key: value
        for key, entry in properties.items()
        if (value := evaluate(entry, scope, node.name) if is_open(entry) else entry) is not None
    }


def _bytes(value: Json, path: Path) -> int:
    try:
        return size(value if isinstance(value, str) else text_of(None if is_late(value) else value))
    except ValueError as error:
        raise FlawError(path, f"`{shown(str(value))}`: {error}") from error


def _whole(value: Json, path: Path, low: int, high: int) -> int:
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    if isinstance(number, bool) or not isinstance(number, int) or not low <= number <= high:
        raise FlawError(path, f"`{shown(str(value))}`: expected a whole number from {low} to {high}")
    return number


def _removal(value: Json, path: Path) -> tuple[int, ...]:
    if value is not None and not isinstance(value, list):
        raise FlawError(path, "`removal_list` must be a list of indexes")
    return tuple(_whole(entry, path, 0, 10**6) for entry in value or ())


def _ports(value: Json, path: Path) -> Iterator[Port]:
    if value is not None and not isinstance(value, dict):
        raise FlawError(path, "`ports` must be a mapping: <name>: {protocol: tcp, source: 80}")
    for name, entry in (value or {}).items():
        if not isinstance(entry, dict):
            raise FlawError((*path, name), f"the port `{name}` must be {{protocol: tcp, source: 80}}")
        yield _port(name, entry, (*path, name))


def _port(name: str, entry: Mapping[str, Json], path: Path) -> Port:
    protocol = entry.get("protocol") or "tcp"
    if protocol not in ("tcp", "udp"):
        raise FlawError(path, f"the port `{name}` has the protocol `{shown(str(protocol))}`", "tcp or udp")
    if entry.get("source_range") or entry.get("target_range"):
        raise FlawError(path, f"the port `{name}` is a range, which is not supported", "write one port each")
    number = entry.get("target") if entry.get("target") is not None else entry.get("source")
    return Port(name, protocol, _whole(number, path, 1, 65535), _cidr(name, entry.get("remote_cidr"), path))


def _cidr(name: str, value: Json, path: Path) -> str:
    if value in (None, ""):
        return ""
    try:
        return str(ipaddress.ip_network(value if isinstance(value, str) else "", strict=False))
    except ValueError as error:
        raise FlawError(
            path, f"the port `{name}`: `{shown(str(value))}` is no CIDR", "like 192.0.2.0/24"
        ) from error


def _volumes(node: Node, scope: Scope) -> dict[str, str]:
    """Where volumes are attached."""
    found: dict[str, str] = {}
    for entry in node.requirements:
        if scope.nodes[entry.node].family is not Family.VOLUME:
            continue
        location = evaluate(entry.properties.get("location"), scope, node.name)
        if (
            not isinstance(location, str)
            or not _LOCATION.fullmatch(location)
            or _DOTS & {*location.split("/")}
        ):
            hint = "relationship: {type: tosca.relationships.AttachesTo, properties: {location: /data}}"
            raise FlawError(
                entry.path, f"the volume `{entry.node}` needs an absolute `location` below /", hint
            )
        if location in found:
            raise FlawError(entry.path, f"two volumes are attached at {shown(location)}")
        found[location] = entry.node
    return found


def _public(node: Node, scope: Scope, endpoint: Mapping[str, Json]) -> bool:
    if endpoint.get("network_name") == "PUBLIC":
        return True
    kinds = (
        evaluate(scope.nodes[name].properties.get("network_type"), scope, name) for name in node.networks
    )
    return "public" in kinds


def _users(node: Node, scope: Scope) -> tuple[Mapping[str, Json], ...]:
    given = evaluate(node.properties.get("os_users"), scope, node.name)
    path = (*node.path, "properties", "os_users")
    if not isinstance(given or [], list) or not all(isinstance(entry, dict) for entry in given or ()):
        raise FlawError(path, "`os_users` must be a list of users")
    if marker_in(given):
        raise FlawError(path, "accounts can't hold secrets, or what is known only later")
    return tuple(
        {name: entry[name] for name in _USER if entry.get(name) is not None} for entry in given or ()
    )
