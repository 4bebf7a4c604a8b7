"""expand: declared objects × world → primitive resources. Pure; placement is part of it.

What an object can't have now comes back as a Condition. Objects with a Condition lose nothing in
this pass: what is not wanted because it could not be worked out is not surplus.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from reconciler.kind import Kind, World
from reconciler.model import Condition, Declared, Ref, Resource, Word

LIFETIME_OVER = "LifetimeOver"


@dataclass(frozen=True, slots=True)
class Expansion:
    """What is wanted, by Ref; what could not be worked out, by the object's Ref; whose time is over."""

    resources: Mapping[Ref, Resource]
    conditions: Mapping[Ref, Condition]
    expired: frozenset[Ref] = frozenset()


def expand(
    wanted: Iterable[Declared], waiting: Mapping[Ref, Condition], kinds: Mapping[str, Kind[Any]], world: World
) -> Expansion:
    """Expand every object; those in `waiting` (they refer to something invalid) keep their Condition."""
    resources: dict[Ref, Resource] = {}
    conditions: dict[Ref, Condition] = dict(waiting)
    for declared in wanted:
        if declared.ref in waiting:
            continue
        for entry in _expand_one(kinds[declared.ref.kind], declared, world):
            if isinstance(entry, Condition):
                conditions.setdefault(declared.ref, _sourced(entry, declared))
            else:
                resources[entry.ref] = entry
    return _settled(resources, conditions)


def _expand_one(kind: Kind[Any], declared: Declared, world: World) -> Collection[Resource | Condition]:
    """A defect in one kind's expansion fails that object only."""
    if not kind.parts:
        return ()
    try:
        return tuple(kind.expand(declared, world))
    except Exception as error:  # noqa: BLE001  one bad object never holds up the others
        message = f"{type(error).__name__}: {error} (this is a defect of ours; please report it)"
        return (Condition(declared.ref, Word.FAILED, "Defect", message, "reconciler's authors"),)


def _sourced(condition: Condition, declared: Declared) -> Condition:
    return condition if condition.source.path else replace(condition, source=declared.source)


def _settled(resources: dict[Ref, Resource], conditions: dict[Ref, Condition]) -> Expansion:
    expired = frozenset(ref for ref, entry in conditions.items() if entry.reason == LIFETIME_OVER)
    return Expansion(resources, conditions, expired)
