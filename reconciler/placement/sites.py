"""Which target runs a deployment, and why not the others. Pure and sticky.

Where something of it stands it stays, as long as it may. What can't be seen counts as standing, so that
nothing is made twice. Else the first target of the author's list that has room, or, without a list, the first
by rendezvous hashing, which spreads deployments and does not move when others come and go. Deployments that
are new in one pass take room from each other in the order of their Refs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from reconciler.kind import World
from reconciler.model import NOTHING, Condition, Declared, Json, Ref, Target, Word
from reconciler.placement.topology import (
    CONFIGURATION,
    SERVER,
    VOLUME,
    instances_of,
    topology_of,
)
from reconciler.tosca.topology import Topology

DEPLOYMENT: Final = "Deployment"
_SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class Site:
    """The chosen target; the others where it could be; is it without root there?"""

    target: str
    candidates: frozenset[str]
    rootless: bool


@dataclass(slots=True)
class Room:
    """What is left at one target while deployments are placed. None: nobody knows, so it is not counted."""

    machines: int | None = None
    cores: int | None = None
    memory: int | None = None

    def lacks(self, need: Need) -> str:
        """Why this does not fit; empty: it does."""
        sides = ((self.machines, need.machines, "machines"), (self.cores, need.cores, "cores"))
        for have, want, what in sides:
            if have is not None and have < want:
                return f"no room: {max(have, 0)} {what} free, {want} needed"
        if self.memory is not None and self.memory < need.memory:
            return f"no room: {_gib(max(self.memory, 0))} memory free, {_gib(need.memory)} needed"
        return ""

    def take(self, need: Need) -> None:
        self.machines = None if self.machines is None else self.machines - need.machines
        self.cores = None if self.cores is None else self.cores - need.cores
        self.memory = None if self.memory is None else self.memory - need.memory


@dataclass(frozen=True, slots=True)
class Need:
    """What one deployment takes. Memory in bytes. `roles` are those that need root."""

    machines: int
    cores: int
    memory: int
    volumes: bool
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Placed:
    """All deployments of one world: where they go, or why they have no place."""

    sites: Mapping[Ref, str] = field(default_factory=dict)
    reasons: Mapping[Ref, Mapping[str, str]] = field(default_factory=dict)


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


def site_of(declared: Declared, world: World) -> Site | Condition:
    """Where this deployment goes. A Condition: it is Blind, or nothing has a place for it."""
    if world.blind and not _standing(declared, world):
        places = _possible(declared, world)
        unseen = sorted(
            name for name in places if name in world.blind and world.could_hold(declared.ref, name)
        )
        if unseen:
            return _blind(declared, unseen, world)
    placed: _Placed = world.once("placement.sites", _place_all)
    name = placed.sites.get(declared.ref, "")
    if not name:
        return _nowhere(declared, placed.reasons.get(declared.ref, NOTHING))
    rootless = bool(world.traits(name).get("rootless"))
    return Site(name, frozenset(_possible(declared, world)) - {name}, rootless)


def candidates(declared: Declared, world: World) -> tuple[str, ...]:
    """The targets that may run it, best first. A rehearsal stands in for none that is real, unless named."""
    possible = _possible(declared, world)
    if _named(declared):
        return possible
    real = [name for name in possible if not world.traits(name).get("rehearsal")]
    return tuple(sorted(real or possible, key=lambda name: _rank(declared.ref, name)))


def _possible(declared: Declared, world: World) -> tuple[str, ...]:
    """The same in the order of the author's list, or, without a list, in none that means anything."""
    able = world.once("placement.sites.able", _able)
    named = _named(declared)
    if not named:
        return able
    return tuple(
        dict.fromkeys(name for wish in named for name in able if wish in (name, world.targets[name].provider))
    )


def _able(world: World) -> tuple[str, ...]:
    """The targets that can run machines. They are the same for all."""
    return tuple(name for name in sorted(world.targets) if world.serves(name, SERVER))


def _named(declared: Declared) -> Sequence[str]:
    return declared.spec["placement"].get("targets") or ()


def _rank(ref: Ref, target: str) -> bytes:
    return hashlib.sha256(f"{ref}\n{target}".encode()).digest()


def _standing(declared: Declared, world: World) -> str:
    """The target where most of it is; empty: it is nowhere."""
    count: dict[str, int] = {}
    for thing in world.seen.get(declared.ref, ()):
        if thing.kind in (SERVER, VOLUME) and thing.mark is not None:
            count[thing.target] = count.get(thing.target, 0) + 1
    return min(count, key=lambda name: (-count[name], name), default="")


def _place_all(world: World) -> _Placed:
    rooms = {name: _room(world.facts.get(name, NOTHING)) for name in world.targets}
    sites: dict[Ref, str] = {}
    reasons: dict[Ref, Mapping[str, str]] = {}
    for declared in world.of_kind(DEPLOYMENT):
        topology = topology_of(declared, world.library)
        if isinstance(topology, str):
            continue
        stays = _standing(declared, world)
        need = _need(declared, topology, world)
        if stays and not _against(stays, declared, need, world):
            sites[declared.ref] = stays
            continue
        refused = {}
        for name in candidates(declared, world):
            why = _against_new(name, declared, need, world) or rooms[name].lacks(need)
            if not why:
                sites[declared.ref] = name
                rooms[name].take(need)
                break
            refused[name] = why
        reasons[declared.ref] = refused
    return _Placed(sites, reasons)


def _room(facts: Mapping[str, Json]) -> Room:
    free = facts.get("free")
    if not isinstance(free, Mapping):
        return Room()
    return Room(free.get("machines"), free.get("cores"), free.get("memory"))


def _need(declared: Declared, topology: Topology, world: World) -> Need:
    counts = {
        node: len(indexes) for node, indexes in instances_of(declared.ref, topology, ()).by_compute.items()
    }
    computes = [(counts[node], compute) for node, compute in topology.computes.items()]
    roles = {software.role for software in topology.software.values()}
    return Need(
        machines=sum(count for count, _ in computes),
        cores=sum(count * compute.cores for count, compute in computes),
        memory=sum(count * compute.memory for count, compute in computes),
        volumes=bool(topology.volumes),
        roles=tuple(sorted(role for role in roles if _needs_root(role, world))),
    )


def _needs_root(role: str, world: World) -> bool:
    facts = world.library.roles.get(role)
    return facts is not None and not facts.rootless


def _against(name: str, declared: Declared, need: Need, world: World) -> str:
    """Why it can't be at this target at all; empty: it may."""
    target: Target | None = world.targets.get(name)
    if target is None:
        return "not declared"
    if target.status == "removed":
        return "provider removed"
    if not target.serves(declared.ref.group):
        return f"does not serve group {declared.ref.group}"
    traits = world.traits(name)
    if traits.get("rootless") and need.roles:
        return f"its machines are without root, which {', '.join(need.roles)} needs"
    if traits.get("volumes") is False and need.volumes:
        return "its machines have no volumes"
    return ""


def _against_new(name: str, declared: Declared, need: Need, world: World) -> str:
    """Why nothing new of it may come to this target; empty: it may."""
    why = _against(name, declared, need, world)
    if why:
        return why
    target = world.targets[name]
    if target.suspended:
        return f"suspended: {target.suspended}"
    if target.status != "active":
        return f"provider in status {target.status}"
    return f"blind: {world.blind[name]}" if name in world.blind else ""


def _blind(declared: Declared, unseen: Iterable[str], world: World) -> Condition:
    why = "; ".join(f"{name}: {world.blind[name]}" for name in unseen)
    message = f"it could be on targets that were not read ({why})"
    return Condition(declared.ref, Word.BLIND, "TargetBlind", message, "operator of the target")


def _nowhere(declared: Declared, refused: Mapping[str, str]) -> Condition:
    shown = [f"{name}: {refused[name]}" for name in refused][:_SHOWN]
    more = f"; and {len(refused) - _SHOWN} more" if len(refused) > _SHOWN else ""
    named = ", ".join(_named(declared))
    nothing = f"none of {named} can run machines" if named else "no target can run machines"
    message = f"no target has a place for it ({'; '.join(shown) + more if shown else nothing})"
    return Condition(declared.ref, Word.WAITING, "NoPlace", message, "author")


__all__ = ["CONFIGURATION", "SERVER", "VOLUME", "Site", "candidates", "site_of"]
