"""The rules at Rucio that an object has: which there are, since when, and which is the best. Pure.

There may be several for a while: what can't be changed is replaced, and goes after its successor is OK.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Final

from reconciler.kind import World
from reconciler.model import Declared, Observed, Ref, Spec, State
from reconciler.placement.copies import server_of
from reconciler.placement.expression import ExpressionError, parse
from reconciler.placement.primitives import RULE
from reconciler.units import duration

_BEST_FIRST: Final = (State.READY, State.PROGRESSING, State.FAILED, State.DELETING)
IMMUTABLE: Final = ("dataset", "copies", "grouping")


def rules_of_object(ref: Ref, world: World, former: Ref | None = None) -> list[Observed]:
    """All rules of an object that were seen, those of its former name and those at its key included."""
    things = (*world.seen.get(ref, ()), *(world.seen.get(former, ()) if former else ()))
    return [thing for thing in things if thing.kind == RULE and not thing.partial]


def standing(declared: Declared, server: str, world: World) -> list[Observed]:
    """Those of one server for the data set that is declared now, the best first."""
    found = rules_of_object(declared.ref, world, declared.metadata.formerly)
    dataset = declared.spec["dataset"]
    here = [
        rule
        for rule in found
        if rule.spec.get("dataset") == dataset and server_of(rule.target, world) == server
    ]
    return sorted(here, key=lambda rule: (_BEST_FIRST.index(rule.state), rule.since, rule.uid))


def begun_of(rules: Collection[Observed]) -> str:
    """Since when an object has had copies of its data set (ISO 8601); empty: it has none.

    Only rules of ours count, and only times that can be read.
    """
    ours = [rule for rule in rules if rule.mark is not None and rule.state is not State.DELETING]
    known = [(when, text) for when, text in map(_begun, ours) if when is not None]
    return min(known)[1] if known else ""


def _begun(rule: Observed) -> tuple[datetime | None, str]:
    """What its mark says, if that is a time: whoever writes to Rucio can write anything there."""
    said = str(rule.attributes.get("begun") or "")
    text = said if moment(said) is not None else rule.since
    return moment(text), text


def is_past(begun: str, lifetime: str, now: datetime) -> bool:
    """Has a lifetime passed since then?"""
    span: timedelta = duration(lifetime)
    when = moment(begun)
    return when is not None and now - when > span


def moment(text: str) -> datetime | None:
    """Read ISO 8601 (UTC where it names no zone); None: it is no time."""
    try:
        when = datetime.fromisoformat(text)
        return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def same_meaning(one: str, other: str) -> bool:
    """Do two expressions select the same? Those that we can't read are compared as they are."""
    if "".join(one.split()) == "".join(other.split()):
        return True
    try:
        return parse(one).meaning == parse(other).meaning
    except ExpressionError:
        return False


def is_as(rule: Observed, spec: Spec) -> bool:
    """Is a rule what this spec wants, in all that can't be changed?"""
    if any(rule.spec.get(key) != spec[key] for key in IMMUTABLE):
        return False
    if "account" in spec and rule.spec.get("account", spec["account"]) != spec["account"]:
        return False
    return same_meaning(rule.spec["expression"], spec["expression"])
