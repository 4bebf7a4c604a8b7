"""What a rule on data wants today: how many copies, on which elements. Pure; above quality classes.

A DataRule says it, or says what quality it needs; a Lifecycle says it for every age of the data. All else
works with the answer, which has the form of a DataRule with `expression` and `copies`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from functools import lru_cache
from typing import Final

from reconciler.kind import World
from reconciler.model import Condition, Declared, Json, Ref, Word
from reconciler.placement.quality import translate
from reconciler.units import duration

DATA_RULE: Final = "DataRule"
LIFECYCLE: Final = "Lifecycle"
QUALITY_CLASS: Final = "QualityClass"


@dataclass(frozen=True, slots=True)
class Wish:
    """What one object wants in this world.

    `rule` has an expression and copies, unless `why` says why nobody can tell. `ended`: the last stage is
    reached, and nothing is wanted any more. `begun`: False before the first day.
    """

    rule: Declared
    why: Condition | None = None
    ended: bool = False
    begun: bool = True

    @property
    def stays(self) -> bool:
        """Does it want copies, now and for the time being?"""
        return self.why is None and self.begun and not self.ended


def wish_of(declared: Declared, world: World) -> Wish:
    """What a DataRule or Lifecycle of this world wants. Worked out once."""
    if declared.ref.kind == DATA_RULE and not declared.spec.get("quality"):
        return Wish(declared)
    known = world.once("placement.wishes", lambda _world: dict[Ref, tuple[Declared, Wish]]())
    found = known.get(declared.ref)
    if found is None or found[0] is not declared:
        found = known[declared.ref] = (declared, _worked_out(declared, world))
    return found[1]


def _worked_out(declared: Declared, world: World) -> Wish:
    if declared.ref.kind != LIFECYCLE:
        return _with_quality(declared, world)
    start = _midnight(declared.spec["from"])
    stage = stage_of(declared.spec, world.now)
    common = {key: value for key, value in declared.spec.items() if key not in ("from", "stages")}
    rule = replace(declared, spec={**common, "expression": "", "copies": 1})
    if stage is None:
        message = f"it begins on {start.date().isoformat()}"
        why = Condition(declared.ref, Word.WAITING, "NotBegun", message, "time")
        return Wish(rule, why, begun=False)
    if stage.get("end"):
        return Wish(rule, ended=True)
    wanted = {key: stage[key] for key in ("copies", "expression", "quality") if key in stage}
    return _with_quality(replace(rule, spec={**common, **wanted}), world)


def _with_quality(rule: Declared, world: World) -> Wish:
    quality = rule.spec.get("quality")
    if not quality:
        return Wish(rule)
    try:
        found = translate(quality, world.of_kind(QUALITY_CLASS))
    except ValueError as error:
        why = Condition(rule.ref, Word.FAILED, "NoQualityClass", str(error), "author")
        return Wish(replace(rule, spec={**rule.spec, "expression": ""}), why)
    return Wish(replace(rule, spec={**rule.spec, "expression": found.expression, "copies": found.copies}))


def stage_of(spec: Mapping[str, Json], now: datetime) -> Mapping[str, Json] | None:
    """The stage of a Lifecycle that its data are in; None: its first day has not come."""
    age = now - _midnight(spec["from"])
    past = [stage for stage in spec["stages"] if duration(stage["after"]) <= age]
    return past[-1] if past else None


@lru_cache(maxsize=4096)
def _midnight(day: str) -> datetime:
    return datetime.combine(date.fromisoformat(day), time(), UTC)


def rules_of(group: str, dataset: str, world: World) -> tuple[Declared, ...]:
    """The rules of one group for one data set that are to have copies now, sorted by Ref.

    One of which nobody can tell what it wants is among them, and has an expression that selects nothing.
    """
    return tuple(rule for rule in rules_on(dataset, world) if rule.ref.group == group)


def rules_on(dataset: str, world: World) -> tuple[Declared, ...]:
    """The same for all groups."""
    return world.once("placement.wishes.rules", _rules).get(dataset, ())


def all_rules(world: World) -> tuple[Declared, ...]:
    """All objects that want copies now, sorted by Ref; not those of which nobody can tell what."""
    return world.once("placement.wishes.all", _all)


def _all(world: World) -> tuple[Declared, ...]:
    declared = (*world.of_kind(DATA_RULE), *world.of_kind(LIFECYCLE))
    return tuple(wish.rule for wish in (wish_of(entry, world) for entry in declared) if wish.stays)


def _rules(world: World) -> dict[str, tuple[Declared, ...]]:
    rules: dict[str, list[Declared]] = {}
    for declared in (*world.of_kind(DATA_RULE), *world.of_kind(LIFECYCLE)):
        wish = wish_of(declared, world)
        if wish.begun and not wish.ended:
            rules.setdefault(wish.rule.spec["dataset"], []).append(wish.rule)
    return {dataset: tuple(found) for dataset, found in rules.items()}
