"""Kind Deployment: a service of the catalogue, running.

Its template becomes a topology (`reconciler.tosca`), the topology these primitive things, all at one target
that `reconciler.placement.sites` chose: a `volume` and a `server` per node and instance, and a
`configuration` (one role on one machine) per software node and instance. Instances of a node with the
capability `scalable` are counted from 0: `Deployment/cms/analysis/worker.2.server`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import ClassVar

from reconciler.errors import BackendError
from reconciler.kind import Kind, Primitive, World
from reconciler.late import attribute_of, late_values, resolve
from reconciler.library import Library
from reconciler.model import Condition, Declared, Json, Observed, Ref, Resource, State, Word
from reconciler.placement.sites import CONFIGURATION, SERVER, VOLUME, Site, site_of
from reconciler.placement.topology import instances_of, topology_of, translated
from reconciler.tosca.topology import Topology

BASE = "base"  # the role that every real machine gets before all others


@dataclass(frozen=True, slots=True)
class Placement:
    """Where it may run: targets or providers in order of preference; none named: all that can."""

    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeploymentSpec:
    """`service` is `name` or `name@version`. `inputs` are those of its template."""

    service: str
    inputs: Mapping[str, Json] = field(default_factory=dict)
    placement: Placement = Placement()


class Deployment(Kind[DeploymentSpec]):
    """Declared by researchers; grouped."""

    name: ClassVar[str] = "Deployment"
    grouped: ClassVar[bool] = True
    spec = DeploymentSpec
    parts: ClassVar[tuple[Primitive, ...]] = (
        Primitive(VOLUME, computed={"path": "string"}, holds_data=True, rank=30),
        Primitive(
            SERVER,
            computed={"address": "address", "hostname": "string", "ports": "ports"},
            holds_data=True,
            rank=20,
        ),
        Primitive(
            CONFIGURATION,
            immutable=frozenset({"role", "server"}),
            replace_order="delete-first",
            marked="part",
            cadence=timedelta(days=7),
            proved_by_running=True,
        ),
    )

    def references(self, declared: Declared) -> Iterable[tuple[str, Ref]]:
        """The providers that it names, by their own name."""
        for path, name in _named(declared):
            if "." not in name:
                yield path, Ref("Provider", "", name)

    def targets(self, declared: Declared) -> Iterable[tuple[str, str]]:
        """The targets that it names."""
        return ((path, name) for path, name in _named(declared) if "." in name)

    def check_library(self, declared: Declared, library: Library) -> Iterable[tuple[str, str, str]]:
        """Is there such a service, do the inputs fit it, and do the variables fit its roles?"""
        from reconciler.placement.inspection import problems_of  # noqa: PLC0415  loads parser and Ansible

        return problems_of(declared, library)

    def expand(self, declared: Declared, world: World) -> Iterable[Resource | Condition]:
        """All things of the topology at the chosen target, or why there is no place for them."""
        topology = topology_of(declared, world.library)
        if isinstance(topology, str):
            return (Condition(declared.ref, Word.FAILED, "ServiceInvalid", topology, "author"),)
        site = site_of(declared, world)
        if isinstance(site, Condition):
            return (site,)
        try:
            return tuple(_Build(declared, topology, site, world).resources())
        except BackendError as error:  # a secret that can't be had
            message = f"{error}" + (f" ({error.hint})" if error.hint else "")
            return (Condition(declared.ref, Word.WAITING, "SecretMissing", message, error.who),)

    def outputs(
        self, declared: Declared, parts: Collection[Observed], library: Library
    ) -> Mapping[str, Json]:
        """The template's outputs, as far as what stands tells them."""
        topology = topology_of(declared, library)
        if isinstance(topology, str):
            return {}
        ready = {part.ref: part for part in parts if part.state is State.READY}
        known = instances_of(declared.ref, topology, parts)
        values = translated(topology.outputs, declared.ref, topology, known)

        def lookup(ref: Ref, attribute: str) -> Json:
            return attribute_of(ready[ref].attributes, attribute) if ref in ready else None

        found = {name: resolve(value, lookup) for name, value in values.items()}
        return {name: value for name, value in found.items() if not _is_open(value)}


def _named(declared: Declared) -> Iterator[tuple[str, str]]:
    for index, name in enumerate(declared.spec["placement"].get("targets") or ()):
        yield f"spec.placement.targets.{index}", name


def _is_open(value: Json) -> bool:
    return next(late_values(value), None) is not None


class _Build:
    """The things of one deployment. Only `Deployment.expand` makes one."""

    def __init__(self, declared: Declared, topology: Topology, site: Site, world: World) -> None:
        self.declared, self.topology, self.site, self.world = declared, topology, site, world
        seen = world.seen.get(declared.ref, ())
        self.instances = instances_of(declared.ref, topology, seen)
        self.roles = world.library.roles

    def resources(self) -> Iterator[Resource]:
        for node, indexes in self.instances.by_compute.items():
            for index in indexes:
                yield from self._volumes(node, index)
                yield self._server(node, index)
                if not self.site.rootless:
                    yield self._base(node, index)
        for name, software in self.topology.software.items():
            for index in self.instances.by_compute[software.host]:
                yield self._configuration(
                    name, software.host, index, software.role, software.variables, software.needs
                )

    def _resource(self, ref: Ref, kind: str, spec: Mapping[str, Json], needs: Iterable[Ref]) -> Resource:
        declared = self.declared
        return Resource(
            ref,
            kind,
            self.site.target,
            spec,
            declared.source,
            declared.metadata,
            frozenset(needs),
            self.site.candidates,
        )

    def _volumes(self, node: str, index: int | None) -> Iterator[Resource]:
        for name in self.topology.computes[node].volumes.values():
            volume = self.topology.volumes[name]
            ref = self.declared.ref.with_part(name, VOLUME, index)
            spec = _given({"size": volume.size, "quality": volume.quality})
            yield self._resource(ref, VOLUME, spec, ())

    def _server(self, node: str, index: int | None) -> Resource:
        compute, ref = self.topology.computes[node], self.declared.ref
        volumes = {location: ref.with_part(name, VOLUME, index) for location, name in compute.volumes.items()}
        spec = {
            "cores": compute.cores,
            "memory": compute.memory,
            "disk": compute.disk,
            "hostname": self.instances.hostname(node, index),
            "image": dict(compute.image),
            "ports": self._ports(node),
            "volumes": {location: str(volume) for location, volume in volumes.items()},
            "users": [dict(user) for user in compute.users],
        }
        return self._resource(ref.with_part(node, SERVER, index), SERVER, _given(spec), volumes.values())

    def _base(self, node: str, index: int | None) -> Resource:
        """What every real machine gets before its services: users, firewall, updates."""
        ports = {
            name: {key: port[key] for key in ("protocol", "remote") if key in port}
            for name, port in self._ports(node).items()
        }
        return self._configuration(f"{node}-{BASE}", node, index, BASE, {"base_ports": ports}, ())

    def _ports(self, node: str) -> dict[str, Json]:
        return {
            port.name: _given({"protocol": port.protocol, "port": port.number, "remote": port.remote})
            for port in self.topology.computes[node].ports
        }

    def _configuration(
        self,
        name: str,
        node: str,
        index: int | None,
        role: str,
        variables: Mapping[str, Json],
        needs: Iterable[str],
    ) -> Resource:
        compute, ref = self.topology.computes[node], self.declared.ref
        server = ref.with_part(node, SERVER, index)
        first = {server, *self._before(needs)}
        if role != BASE and not self.site.rootless:
            first.add(ref.with_part(f"{node}-{BASE}", CONFIGURATION, index))
        facts = self.roles.get(role)
        spec = {
            "role": role,
            "content": facts.content if facts else "",
            "server": str(server),
            "machine": _given(
                {
                    "ports": self._ports(node),
                    "volumes": sorted(compute.volumes),
                    "users": [dict(user) for user in compute.users],
                }
            ),
            "variables": self._tagged(translated(variables, ref, self.topology, self.instances)),
        }
        first |= {needed for needed, _ in late_values(spec)}
        return self._resource(ref.with_part(name, CONFIGURATION, index), CONFIGURATION, spec, first)

    def _before(self, needs: Iterable[str]) -> Iterator[Ref]:
        for name in needs:
            for index in self.instances.by_compute[self.topology.software[name].host]:
                yield self.declared.ref.with_part(name, CONFIGURATION, index)

    def _tagged(self, value: Json) -> Json:
        """The same with what tells one value of a secret from another."""
        if isinstance(value, Mapping):
            if "$secret" in value:
                tag = self.world.tag(self.declared.ref, value["$secret"])
                return {**value, "tag": tag} if tag else dict(value)
            return {key: self._tagged(entry) for key, entry in value.items()}
        return [self._tagged(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def _given(spec: Mapping[str, Json]) -> dict[str, Json]:
    """Without what nobody gave: None, empty texts, lists and mappings."""
    return {key: value for key, value in spec.items() if value}


KIND = Deployment()
