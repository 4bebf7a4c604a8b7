"""Kind Lifecycle: where the copies of one data set lie as the data grow old.

It expands as a DataRule would that says what today's stage says; a stage that ends is replaced: first the new
copies, then the old ones go. The clock is a date in the file, so nothing has to be remembered.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import ClassVar

from reconciler.kind import Kind, Primitive, World
from reconciler.library import Library
from reconciler.model import Change, Condition, Declared, Json, Observed, Resource
from reconciler.placement.checks import check_common, check_where
from reconciler.placement.expanding import expand_rule, hold_removal_of, natural_keys_of, outputs_of
from reconciler.placement.primitives import PARTS
from reconciler.placement.spoken import Quality, Verify
from reconciler.units import duration


@dataclass(frozen=True, slots=True)
class Stage:
    """From this age of the data on: so many copies there, or such a quality, or no copies any more."""

    after: str
    copies: int = 1
    expression: str | None = None
    quality: Quality | None = None
    end: bool = False


@dataclass(frozen=True, slots=True)
class LifecycleSpec:
    """`begin` (`from` in files) is the day on which the first stage begins, at midnight UTC."""

    dataset: str
    begin: date = field(metadata={"key": "from"})
    stages: tuple[Stage, ...] = field()
    source: str | None = None
    last_copy: str = "keep"
    verify: Verify = field(default_factory=Verify)
    target: str | None = None
    account: str | None = None
    grouping: str = "DATASET"
    activity: str = "User Subscriptions"
    priority: int = 3
    sources: str | None = None
    purge: bool = False
    staged: bool = False
    repairs: int = 3


class Lifecycle(Kind[LifecycleSpec]):
    """Declared by data managers; grouped."""

    name: ClassVar[str] = "Lifecycle"
    grouped: ClassVar[bool] = True
    spec = LifecycleSpec
    parts: ClassVar[tuple[Primitive, ...]] = PARTS

    def targets(self, declared: Declared) -> Iterable[tuple[str, str]]:
        """The Rucio that the file names, if it does."""
        target = declared.spec.get("target")
        return (("spec.target", target),) if target else ()

    def check(self, declared: Declared) -> Iterable[tuple[str, str, str]]:
        """Data set, source, the first day, and stages that follow each other."""
        spec = declared.spec
        yield from check_common(spec)
        try:
            date.fromisoformat(spec["from"])
        except ValueError:
            yield "spec.from", f"there is no day {spec['from']}", "write it as YYYY-MM-DD"
        yield from _check_order(spec["stages"])
        for number, stage in enumerate(spec["stages"]):
            yield from _check_stage(f"spec.stages.{number}", stage)

    def natural_keys(self, declared: Declared, primitive: str) -> Iterable[str]:
        """Where a replica lies, and the data set of an upload. Which rule it is, only the day can tell."""
        return natural_keys_of(declared, primitive)

    def expand(self, declared: Declared, world: World) -> Iterable[Resource | Condition]:
        """What a DataRule with today's stage would be."""
        return expand_rule(declared, world)

    def hold_removal(self, change: Change, world: World) -> Condition | None:
        """As for a DataRule; and the time alone never takes the last copy."""
        return hold_removal_of(change, world)

    def outputs(
        self,
        declared: Declared,
        parts: Collection[Observed],
        library: Library,
    ) -> Mapping[str, Json]:
        """Where the copies lie: element → path; at Rucio the rule that sees to them."""
        return outputs_of(parts)


def _check_order(stages: Collection[Mapping[str, Json]]) -> Iterator[tuple[str, str, str]]:
    before: timedelta | None = None
    for number, stage in enumerate(stages):
        path = f"spec.stages.{number}"
        try:
            age = duration(stage["after"])
        except ValueError as error:
            yield f"{path}.after", str(error), "write like 0d, 30d or 52w"
            continue
        if before is None and age:
            yield f"{path}.after", "the first stage begins at once", "write 0d, and another day in `from`"
        elif before is not None and age <= before:
            yield f"{path}.after", f"'{stage['after']}' is not after the stage before", "sort them by age"
        if stage["end"] and number < len(stages) - 1:
            yield f"{path}.end", "no stage comes after the end", "make it the last one"
        before = age


def _check_stage(path: str, stage: Mapping[str, Json]) -> Iterator[tuple[str, str, str]]:
    said = [key for key in ("expression", "quality") if stage.get(key) is not None]
    if not stage["end"]:
        yield from check_where(path, stage)
    elif said or stage["copies"] > 1:
        yield f"{path}.end", "at the end there are no copies", "take copies, expression and quality out"


KIND = Lifecycle()
