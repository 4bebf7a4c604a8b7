"""Where the copies of a rule lie, how good they are, and where they may lie. Pure; between world and choice.

What all rules ask of one world (elements, room) is worked out once per world. A rule comes in here with an
expression and a number of copies, whatever its file says (see `wishes`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from reconciler.kind import World
from reconciler.model import NOTHING, Declared, Json, Observed, Ref, Spec, State, Target
from reconciler.placement.choose import (
    BAD,
    GOOD,
    NOTHING_THERE,
    PROGRESSING,
    UNPROVEN,
    UNSEEN,
    Candidate,
    Choice,
    choose,
)
from reconciler.placement.expression import parse
from reconciler.placement.naming import rse_of
from reconciler.units import duration, size

ELEMENT: Final = "StorageElement"
REPLICA: Final = "replica"
NOT_SELECTED: Final = "not in expression"
_EVERY: Final = "7d"


@dataclass(frozen=True, slots=True)
class Element:
    """One declared storage element at its target. `barred` and `closed` as in a Candidate, for all rules.

    `server` is the Rucio that it is an RSE of, and `rse` what it is called there; empty in the lake.
    """

    name: str
    ref: Ref
    target: str
    place: Target | None
    barred: str = ""
    closed: str = ""
    room: int | None = None
    server: str = ""
    rse: str = ""


@dataclass(frozen=True, slots=True)
class Lake:
    """What all rules share: the elements by name, their attributes, and selections made so far."""

    elements: Mapping[str, Element]
    attributes: Mapping[str, Mapping[str, Json]]
    selections: dict[str, frozenset[str]] = field(default_factory=dict)

    def select(self, expression: str) -> frozenset[str]:
        """The names of the selected elements. Raises ExpressionError as `parse` does."""
        if expression not in self.selections:
            self.selections[expression] = parse(expression).select(self.attributes)
        return self.selections[expression]


@dataclass(frozen=True, slots=True)
class Placed:
    """Where the copies of one rule are to be, and what is there now (element → copy, the best of each)."""

    choice: Choice
    copies: Mapping[str, Observed]
    selected: frozenset[str]
    unseen: frozenset[str]  # selected elements that can't be read and could hold a copy


def lake(world: World) -> Lake:
    """The elements of this world. Worked out once."""
    return world.once("placement.copies.lake", _lake)


def _lake(world: World) -> Lake:
    used = _used(world)
    declared = world.of_kind(ELEMENT)
    elements = {entry.ref.name: _element(entry, world, used) for entry in declared}
    return Lake(
        elements, {entry.ref.name: _attributes(entry, elements[entry.ref.name]) for entry in declared}
    )


def _attributes(declared: Declared, element: Element) -> Mapping[str, Json]:
    """What expressions compare. An RSE has its own name as an attribute, too, as Rucio sees to it."""
    attributes: Mapping[str, Json] = declared.spec.get("attributes", NOTHING)
    return {**attributes, element.rse: True} if element.rse else attributes


def is_rucio(target: str, world: World) -> bool:
    """Does Rucio itself see to the copies there? Where we can do it ourselves, we do."""
    return world.serves(target, "rule") and not world.serves(target, REPLICA)


def server_of(target: str, world: World) -> str:
    """What tells one Rucio from another: several targets may be one."""
    place = world.targets.get(target)
    return str(place.settings.get("url", target)).rstrip("/") if place else target


def _element(declared: Declared, world: World, used: Mapping[str, int]) -> Element:
    name = declared.spec["target"]
    place = world.targets.get(name)
    barred, closed = _state_of(place, name)
    if not closed and name in world.blind:
        closed = f"blind: {world.blind[name]}"
    suspend = declared.metadata.suspend
    if not closed and suspend is not None and suspend.active(world.now):
        closed = f"element suspended: {suspend.reason}"
    if place is not None and is_rucio(name, world):
        server = server_of(name, world)
        return Element(
            declared.ref.name, declared.ref, name, place, barred, closed, None, server, rse_of(declared)
        )
    room = _room(declared, world.facts.get(name, NOTHING), used)
    return Element(declared.ref.name, declared.ref, name, place, barred, closed, room)


def _state_of(place: Target | None, name: str) -> tuple[str, str]:
    """Why nothing may lie at a target, and why nothing new may come there."""
    if place is None:
        return f"target {name} is not declared", ""
    if place.status == "removed":
        return "provider removed", ""
    if place.suspended:
        return "", f"target suspended: {place.suspended}"
    return "", "" if place.status == "active" else f"provider in status {place.status}"


def _room(declared: Declared, facts: Mapping[str, Json], used: Mapping[str, int]) -> int | None:
    """How many bytes still fit: what the target has free, and what the element's capacity leaves."""
    free, capacity = facts.get("free"), declared.spec.get("capacity")
    limits = [free] if isinstance(free, int) else []
    if capacity:
        limits.append(size(capacity) - used.get(declared.ref.name, 0))
    return min(limits, default=None)


def _used(world: World) -> dict[str, int]:
    """Element → bytes of all replicas seen on it."""
    used: dict[str, int] = {}
    for things in world.seen.values():
        for thing in things:
            if thing.kind == REPLICA:
                element = element_of(thing.ref)
                used[element] = used.get(element, 0) + size_of(thing)
    return used


def element_of(replica: Ref) -> str:
    """The element that a replica's Ref names: its part is `<element>.replica`."""
    return replica.part.removesuffix(f".{REPLICA}")


def size_of(replica: Observed) -> int:
    """The bytes of one replica; 0 where the back-end does not tell."""
    told = replica.attributes.get("bytes", 0)
    return told if isinstance(told, int) else 0


def replicas_of(declared: Declared, world: World) -> tuple[Observed, ...]:
    """All marked replicas of a rule that were seen, those of its former name included."""
    former = declared.metadata.formerly
    things = (*world.seen.get(declared.ref, ()), *(world.seen.get(former, ()) if former else ()))
    return tuple(thing for thing in things if thing.kind == REPLICA and thing.mark is not None)


@lru_cache(maxsize=256)
def _span(text: str) -> timedelta:
    return duration(text)


def cadence(spec: Spec) -> timedelta:
    """How often a replica of this spec (or a rule's) is verified."""
    return _span((spec.get("verify") or NOTHING).get("every", _EVERY))


def is_good(replica: Observed, spec: Spec, now: datetime) -> bool:
    """Seen, Ready, of the right data set, and verified within the cadence of the rule's `spec`."""
    if replica.state is not State.READY or replica.drift or replica.verified is None:
        return False
    if replica.spec.get("dataset") != spec["dataset"]:
        return False
    return now - replica.verified <= cadence(spec)


def _holds(replica: Observed, element: Element, spec: Spec, now: datetime) -> str:
    if replica.target != element.target or replica.spec.get("dataset", spec["dataset"]) != spec["dataset"]:
        return PROGRESSING  # it will be made here; its element moved, or the rule has another data set now
    if is_good(replica, spec, now):
        return GOOD
    if replica.state is State.FAILED:
        return BAD
    return UNPROVEN if replica.state is State.READY else PROGRESSING


_BEST_FIRST = (GOOD, UNPROVEN, PROGRESSING, BAD)


def place(declared: Declared, world: World) -> Placed:
    """Where this rule's copies are to be. Raises ExpressionError when its expression can't be read."""
    elements = lake(world)
    selected = elements.select(declared.spec["expression"])
    now, spec, group = world.now, declared.spec, declared.ref.group
    copies: dict[str, Observed] = {}
    holds: dict[str, str] = {}
    for replica in replicas_of(declared, world):
        name = element_of(replica.ref)
        element = elements.elements.get(name)
        word = _holds(replica, element, spec, now) if element else BAD
        if name not in holds or _BEST_FIRST.index(word) < _BEST_FIRST.index(holds[name]):
            holds[name], copies[name] = word, replica
    if _is_settled(holds, spec["copies"], selected, elements, group):
        return Placed(Choice(tuple(sorted(holds))), copies, selected, frozenset())
    unseen = frozenset(name for name in selected - holds.keys() if _is_unseen(name, declared, world))
    holds.update(dict.fromkeys(unseen, UNSEEN))
    candidates = [_candidate(elements.elements[name], holds, group) for name in sorted(selected)]
    needed = max((size_of(replica) for replica in copies.values()), default=0)
    return Placed(choose(declared.ref, candidates, spec["copies"], needed), copies, selected, unseen)


def _is_settled(
    holds: Mapping[str, str], copies: int, selected: frozenset[str], elements: Lake, group: str
) -> bool:
    """The quiet case: as many copies as wanted, each where it may stay. Decides as `choose` would."""
    return len(holds) == copies and all(
        name in selected and not barred_for(elements.elements[name], group) for name in holds
    )


def barred_for(element: Element, group: str) -> str:
    """Why nothing of a group may lie on an element; empty: it may."""
    if element.barred or element.place is None or element.place.serves(group):
        return element.barred
    return f"target {element.target} does not serve group {group}"


def _is_unseen(name: str, declared: Declared, world: World) -> bool:
    target = lake(world).elements[name].target
    return target in world.blind and world.could_hold(declared.ref, target)


def _candidate(element: Element, holds: Mapping[str, str], group: str) -> Candidate:
    word = holds.get(element.name, NOTHING_THERE)
    return Candidate(element.name, word, barred_for(element, group), element.closed, element.room)
