"""What the gates of judge look at besides the change itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from reconciler.kind import Kind, Primitive, World
from reconciler.model import Action, Change, Observed, Ref
from reconciler.settings import Settings

FREE = frozenset({"Superseded", "Duplicate"})


NEVER_APPROVED = frozenset({"Locked", "InUse", "LastCopy", "BlindBucket", "ProviderInUse"})


FIGHT = 3


@dataclass(frozen=True, slots=True)
class Case:
    """What the gates look at besides the change itself.

    `invalid` is why removals can't be trusted (a file could not be read), `rewound` why nothing can
    (git went backwards), `reowned` why it all looks new (its owner has another name now), `clock` why the
    time can't. `removals` are those of the last 24 hours as
    (kind, group, site). `lock_known` answers for marks that have no room for the lock.
    """

    world: World
    settings: Settings
    kinds: Mapping[str, Kind[Any]]
    primitives: Mapping[str, Primitive]
    now: datetime
    invalid: str = ""
    empty: bool = False
    rewound: str = ""
    reowned: str = ""
    clock: str = ""
    moved: Callable[[Change], str] = lambda _change: ""  # where its target was, if the thing can be there
    leaving: frozenset[str] = frozenset()  # providers that went from git without a drain
    timed: frozenset[Ref] = frozenset()  # objects that only the time has taken out
    removals: Sequence[tuple[str, str, str]] = ()
    approved: Callable[[str], bool] = lambda _digest: False
    healed: Mapping[str, int] = field(default_factory=dict)  # digest → how often in the last 24 hours
    lock_known: Callable[[str], bool | None] = lambda _id: None
    users: Mapping[str, tuple[Observed, ...]] = field(default_factory=dict)
    planned: Mapping[str, Change] = field(default_factory=dict)  # uid → its change

    def site(self, target: str) -> str:
        known = self.world.targets.get(target)
        return known.provider if known else target


def removes(change: Change) -> bool:
    """Does something go away: a delete, or a replace of it?"""
    return change.action in (Action.DELETE, Action.REPLACE)


def lets_go(change: Change) -> bool:
    """Does something go away, or stop being ours (onRemove: keep)?"""
    return change.release or removes(change)


def counts(change: Change, primitives: Mapping[str, Primitive]) -> bool:
    """Is it a removal that the budgets count: a whole object, or a part that holds data?"""
    if not removes(change) or change.reason in FREE or is_partial(change):
        return False
    primitive = primitives.get(change.kind)
    return change.reason != "Surplus" or primitive is None or primitive.holds_data


def is_partial(change: Change) -> bool:
    """Is it about a half-made thing, which nobody has ever had?"""
    return change.have is not None and change.have.partial


def users_of(
    seen: Mapping[Ref, tuple[Observed, ...]], primitives: Mapping[str, Primitive]
) -> dict[str, tuple[Observed, ...]]:
    """uid → the observed things that use it, whoever owns them; parts go with it and do not count."""
    parts = {name for name, primitive in primitives.items() if primitive.marked == "part"}
    users: dict[str, tuple[Observed, ...]] = {}
    for things in seen.values():
        for thing in things:
            for uid in thing.uses if thing.kind not in parts else ():
                users[uid] = (*users.get(uid, ()), thing)
    return users
