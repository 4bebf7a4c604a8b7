"""Deployments on paper: one service, a world that is data, and what would stand if it had been made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from reconciler.kind import Primitive, World
from reconciler.kinds.deployment import KIND
from reconciler.library import Library
from reconciler.model import (
    Condition,
    Declared,
    Json,
    Observed,
    Ref,
    Resource,
    Source,
    State,
    Target,
    mark_for,
)
from reconciler.playbook.roles import RoleFacts
from reconciler.source.catalogue import read_catalogue
from reconciler.stages.diff import diff
from reconciler.stages.expand import expand
from reconciler.stages.scene import Difference, Scene

HERE = Source("deployments/cms/farm.yaml", 1)
NOW = datetime(2026, 11, 21, tzinfo=UTC)
PRIMITIVES: Mapping[str, Primitive] = {part.name: part for part in KIND.parts}

FARM = """\
tosca_definitions_version: tosca_simple_yaml_1_0
metadata: {template_version: 1.0.0}
topology_template:
  inputs:
    workers: {type: integer, default: 1}
    leave: {type: list, entry_schema: {type: integer}, default: []}
    token: {type: string}
    memory: {type: scalar-unit.size, default: 1 GB}
  node_templates:
    head:
      type: tosca.nodes.indigo.Compute
      capabilities:
        endpoint: {properties: {ports: {http: {protocol: tcp, source: 8080}}}}
        host: {properties: {num_cpus: 2, mem_size: {get_input: memory}}}
    worker:
      type: tosca.nodes.indigo.Compute
      capabilities:
        scalable: {properties: {count: {get_input: workers}, removal_list: {get_input: leave}}}
        host: {properties: {num_cpus: 1, mem_size: 1 GB}}
      requirements:
        - local_storage:
            node: scratch
            capability: tosca.capabilities.Attachment
            relationship: {type: tosca.relationships.AttachesTo, properties: {location: /scratch}}
    scratch:
      type: tosca.nodes.indigo.BlockStorage
      properties: {size: 10 GB}
    queue:
      type: tosca.nodes.reconciler.Role
      properties:
        role: queue
        variables: {queue_token: {get_input: token}, queue_members: {get_attribute: [worker, instances]}}
      requirements: [{host: head}]
    agent:
      type: tosca.nodes.reconciler.Role
      properties:
        role: agent
        variables:
          agent_queue: {concat: ["http://", {get_attribute: [head, private_address, 0]}, ":", "80"]}
          agent_url: {get_attribute: [queue, url]}
      requirements: [{host: worker}, {needs: queue}]
  outputs:
    url: {value: {get_attribute: [queue, url]}}
    first: {value: {get_attribute: [worker, private_address, 0]}}
    workers: {value: {get_input: workers}}
"""
PLAIN = """\
tosca_definitions_version: tosca_simple_yaml_1_0
metadata: {template_version: 2.0.0}
topology_template:
  node_templates:
    machine:
      type: tosca.nodes.indigo.Compute
      capabilities: {host: {properties: {num_cpus: 4, mem_size: 4 GB}}}
"""
PARAMETERS = "inputs: {token: {type: random_password}}\n"


@cache
def library(*, rooted: tuple[str, ...] = ()) -> Library:
    """Two services and three roles; `rooted` are those that need root."""
    files = {
        "catalogue/farm/template.yaml": FARM,
        "catalogue/farm/parameters.yml": PARAMETERS,
        "catalogue/plain/template.yaml": PLAIN,
    }
    found = read_catalogue({path: text.encode() for path, text in files.items()})
    assert found.problems == ()
    roles = {
        name: RoleFacts(
            name, f"{number:012x}", name not in rooted, removable=False, description="", options={}
        )
        for number, name in enumerate(("base", "queue", "agent"))
    }
    return Library(found.services, roles)


def deployment(
    name: str = "d", service: str = "farm", targets: Iterable[str] = (), **inputs: Json
) -> Declared:
    """A Deployment of group cms."""
    spec = {"service": service, "inputs": inputs, "placement": {"targets": tuple(targets)}}
    return Declared(Ref("Deployment", "cms", name), spec, HERE)


def site(name: str, **fields: Any) -> Target:
    """A target that can run machines, unless its driver is `disks`."""
    return Target(name, fields.pop("driver", "machines"), fields.pop("provider", name), **fields)


@dataclass(frozen=True, slots=True)
class Paper:
    """A world on paper. `free` is what a target says that it has room for; `tags` shows secrets."""

    declared: tuple[Declared, ...]
    targets: tuple[Target, ...] = (site("here"),)
    things: tuple[Observed, ...] = ()
    blind: tuple[str, ...] = ()
    free: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    traits: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    known: Library = field(default_factory=library)
    absent: frozenset[str] = frozenset()
    tag: Callable[[Ref, str], str] = lambda _ref, _reference: "0123abcd"

    @property
    def world(self) -> World:
        seen: dict[Ref, tuple[Observed, ...]] = {}
        for thing in self.things:
            seen[thing.ref.object] = (*seen.get(thing.ref.object, ()), thing)
        targets = {target.name: target for target in self.targets}
        return World(
            NOW,
            targets,
            {one.ref: one for one in self.declared},
            seen,
            dict.fromkeys(self.blind, "no answer"),
            lambda _ref, name: name in self.blind and name not in self.absent,
            {name: {"free": room} for name, room in self.free.items()},
            replace(self.known),  # what it worked out belongs to one set of deployments
            self.tag,
            lambda name, _primitive: targets[name].driver != "disks",
            lambda name: self.traits.get(name, {}),
        )

    def expand(self, number: int = 0) -> tuple[Resource | Condition, ...]:
        """What one of the deployments becomes."""
        return tuple(KIND.expand(self.declared[number], self.world))

    def wanted(self, number: int = 0) -> dict[str, Resource]:
        """Its resources, by their part."""
        found = self.expand(number)
        return {one.ref.part: one for one in found if isinstance(one, Resource)}

    def condition(self, number: int = 0) -> Condition:
        """Why it has none."""
        (found,) = self.expand(number)
        assert isinstance(found, Condition)
        return found

    def where(self) -> list[str]:
        """The target of each deployment, or its reason to have none."""
        found = [self.expand(number)[0] for number in range(len(self.declared))]
        return [one.target if isinstance(one, Resource) else one.reason for one in found]

    def difference(self, gone: Mapping[Ref, str] | None = None) -> Difference:
        """What diff makes of it; objects in `gone` left git."""
        staying = [one for one in self.declared if one.ref not in (gone or {})]
        world = replace(self, declared=tuple(staying)).world
        expansion = expand(staying, {}, {"Deployment": KIND}, world)
        return diff(Scene(expansion, world, PRIMITIVES, gone or {}, frozenset(), {}))

    def plan(self, gone: Mapping[Ref, str] | None = None) -> list[tuple[str, str, str]]:
        """(action, part, target) of all changes."""
        changes = self.difference(gone).changes
        return sorted((str(one.action), one.ref.part, one.target) for one in changes)

    def made(self, *, state: State = State.READY, only: Sequence[str] = ()) -> tuple[Observed, ...]:
        """What would stand had all that is wanted been made (or only these parts)."""
        wanted = [one for number in range(len(self.declared)) for one in self.wanted(number).values()]
        return tuple(thing_of(one, state) for one in wanted if not only or one.ref.part in only)


def thing_of(resource: Resource, state: State = State.READY) -> Observed:
    """A resource as its target would list it."""
    server = resource.spec.get("server")
    uses = [server] if server else resource.spec.get("volumes", {}).values()
    return Observed(
        resource.ref,
        resource.kind,
        resource.target,
        resource.spec,
        str(resource.ref),
        mark_for("lab", resource),
        state,
        uses=frozenset(map(str, uses)),
        attributes=_ATTRIBUTES[resource.kind],
        since="2026-01-01T00:00:00+00:00",
    )


_ATTRIBUTES: Mapping[str, Mapping[str, Json]] = {
    "server": {"address": "192.0.2.1", "hostname": "m", "ports": {"http": 8080}},
    "volume": {"path": "/v"},
    "configuration": {"url": "http://192.0.2.1/"},
}
