"""Which of several objects comes first where only one can have something at a Rucio. Pure.

The name of a file must not decide it alone: anybody may choose one that is early in the alphabet. First comes
the group to which the scope belongs, then what has stood longest with our mark, then the Ref.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from reconciler.kind import World
from reconciler.model import Declared, Ref
from reconciler.placement.expression import ExpressionError
from reconciler.placement.ground import Ground, against_target, ground_of
from reconciler.placement.standing_rules import begun_of, moment, standing
from reconciler.placement.tenancy import not_allowed, owns, reached_by
from reconciler.placement.wishes import rules_on

Claim = tuple[bool, datetime, Ref]
Pairs = tuple[tuple[Declared, Ground], ...]

_NEVER: Final = datetime.max.replace(tzinfo=UTC)


def rivals_of(declared: Declared, server: str, world: World) -> Iterator[tuple[Declared, Ground]]:
    """The other rules for its data set at one Rucio, with their ground; not those that may not be there."""
    known = world.once("placement.claims", lambda _world: dict[tuple[str, str], Pairs]())
    place = (declared.spec["dataset"], server)
    if place not in known:
        known[place] = tuple(_at(*place, world))
    return (pair for pair in known[place] if pair[0].ref != declared.ref)


def _at(dataset: str, server: str, world: World) -> Iterator[tuple[Declared, Ground]]:
    for rule in rules_on(dataset, world):
        try:
            ground = ground_of(rule, world)
        except ExpressionError:
            continue  # `check` says so
        if ground.server == server and _may_be(rule, ground, world):
            yield rule, ground


def _may_be(rule: Declared, ground: Ground, world: World) -> bool:
    if ground.named and any(against_target(rule, world)):
        return False
    return not_allowed(rule, reached_by(rule, ground, world), world) is None


def claim_of(rule: Declared, ground: Ground, world: World) -> Claim:
    """The least comes first. Worked out once."""
    known = world.once("placement.claims.claims", lambda _world: dict[tuple[Ref, Ground], Claim]())
    if (rule.ref, ground) not in known:
        known[rule.ref, ground] = _claim(rule, ground, world)
    return known[rule.ref, ground]


def _claim(rule: Declared, ground: Ground, world: World) -> Claim:
    begun = moment(begun_of(standing(rule, ground.server, world)))
    its = owns(rule.ref.group, rule.spec["dataset"], reached_by(rule, ground, world), world)
    return not its, begun or _NEVER, rule.ref
