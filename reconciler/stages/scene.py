"""What diff looks at, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.kind import Primitive, World
from reconciler.model import (
    Change,
    Condition,
    Observed,
    Ref,
)
from reconciler.stages.expand import Expansion


@dataclass(frozen=True, slots=True)
class Scene:
    """All that the comparison looks at.

    `gone` says why an object that git still has is not wanted any more (Expired, Removed),
    `untouchable` are objects of which nothing may change (suspended, invalid), `adoptable` are
    unmarked things at the natural keys of objects that say `adopt`, by (target, kind, key).
    """

    expansion: Expansion
    world: World
    primitives: Mapping[str, Primitive]
    gone: Mapping[Ref, str]
    untouchable: frozenset[Ref]
    adoptable: Mapping[tuple[str, str, str], Observed]


@dataclass(frozen=True, slots=True)
class Difference:
    """The changes, unsorted, and the parts that could not be decided."""

    changes: tuple[Change, ...]
    conditions: Mapping[Ref, Condition] = field(default_factory=dict)
