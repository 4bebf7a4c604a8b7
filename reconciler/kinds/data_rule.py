"""Kind DataRule: so many copies of one data set, on storage elements that an expression selects.

Expands into one `replica` per chosen element (part `<element>.replica`). Every rule has replicas of its own:
two rules for one data set on one element lie side by side and never share bytes, so that removing one rule
can't harm the other.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, Final

from reconciler.kind import Kind, Primitive, World
from reconciler.library import Library
from reconciler.model import NOTHING, Change, Condition, Declared, Json, Observed, Resource, State, Word
from reconciler.placement.copies import (
    NOT_SELECTED,
    REPLICA,
    Placed,
    element_of,
    lake,
    place,
    replicas_of,
    rules_of,
)
from reconciler.placement.expression import parse
from reconciler.placement.keeping import disagreement, is_over, last_copy, oldest_of
from reconciler.placement.supply import is_sound, supply
from reconciler.units import duration

# Rucio's limits: scope 25, name 250 characters (lib/rucio/common/schema/generic.py).
_DATASET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,24}:[A-Za-z0-9][A-Za-z0-9._-]{0,249}")
_OFTENEST: Final = timedelta(hours=1)
_SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class Verify:
    """How the content of copies is proved, and how often.

    `checksum`: sha256 of every byte; `size`: size and time of change only.
    """

    how: str = "checksum"
    every: str = "7d"


@dataclass(frozen=True, slots=True)
class DataRuleSpec:
    """`dataset` is `scope:name`. `source` is the folder below `uploads` that the first copy is made from."""

    dataset: str
    source: str
    expression: str
    copies: int = 1
    lifetime: str | None = None
    verify: Verify = field(default_factory=Verify)


class DataRule(Kind[DataRuleSpec]):
    """Declared by data managers; grouped."""

    name: ClassVar[str] = "DataRule"
    grouped: ClassVar[bool] = True
    spec = DataRuleSpec
    parts: ClassVar[tuple[Primitive, ...]] = (
        Primitive(
            REPLICA,
            immutable=frozenset({"dataset"}),
            computed={"path": "string"},
            marked="atomic",
            listed="full",
            holds_data=True,
            cadence=timedelta(days=7),
        ),
    )

    def check(self, declared: Declared) -> Iterable[tuple[str, str, str]]:
        """Data set, expression, source and durations that a schema can't judge."""
        spec = declared.spec
        if not _DATASET.fullmatch(spec["dataset"]):
            hint = "scope of at most 25 and name of at most 250 letters, digits, dots, - and _"
            yield "spec.dataset", f"'{spec['dataset']}' is not of the form scope:name", hint
        try:
            parse(spec["expression"])
        except ValueError as error:
            what, _, hint = str(error).partition("; ")
            yield "spec.expression", what, hint
        if spec["copies"] < 1:
            yield (
                "spec.copies",
                f"{spec['copies']} copies are none",
                "at least 1; remove the file to have none",
            )
        yield from _check_source(spec["source"])
        yield from _check_spans(spec)

    def check_together(self, declared: Collection[Declared]) -> Iterable[tuple[Declared, str, str, str]]:
        """No two rules of one group that want the same copies of the same data set on the same elements."""
        alike: dict[Any, list[Declared]] = defaultdict(list)
        for rule in declared:
            alike[rule.ref.group, rule.spec["dataset"], rule.spec["copies"]].append(rule)
        for rules in alike.values():
            yield from _twins(sorted(rules, key=lambda rule: rule.ref)) if len(rules) > 1 else ()

    def natural_keys(self, declared: Declared) -> Iterable[str]:
        """Below an element a replica lies in `<scope>/<name>/<group>.<rule>`."""
        return (_natural_key(declared),)

    def expand(self, declared: Declared, world: World) -> Iterable[Resource | Condition]:
        """One replica per chosen element, and a Condition where there are too few."""
        try:
            placed = place(declared, world)
        except ValueError as error:
            yield Condition(declared.ref, Word.FAILED, "ExpressionInvalid", str(error), "author")
            return
        if is_over(declared, world):
            yield from _at_the_end(declared, placed, world)
        elif not placed.selected:
            yield _selects_nothing(declared, world)
        elif not placed.copies and placed.unseen:
            yield _blind(declared, placed, world)
        else:
            yield from _resources(declared, placed, placed.choice.chosen, world)
            yield from _shortage(declared, placed, world)
            yield from disagreement(declared, placed)

    def hold_removal(self, change: Change, world: World) -> Condition | None:
        """A copy goes only while enough other good ones stay, or when its rule was removed on purpose."""
        have = change.have
        if have is None or have.reason == "Partial":
            return None
        declared = world.declared.get(change.ref.object)
        if declared is not None and declared.spec["dataset"] == have.spec.get("dataset"):
            needed = 1 if is_over(declared, world) else declared.spec["copies"]
            return last_copy(declared, have, needed, world)
        for rule in rules_of(change.ref.group, have.spec.get("dataset", ""), world):
            found = last_copy(rule, have, rule.spec["copies"], world)
            if rule.ref != change.ref.object and found is not None:
                return found
        return None

    def outputs(
        self,
        declared: Declared,
        parts: Collection[Observed],
        library: Library,
    ) -> Mapping[str, Json]:
        """Where the copies lie: element → path."""
        ready = [part for part in parts if part.state is State.READY and "path" in part.attributes]
        return {"copies": {element_of(part.ref): part.attributes["path"] for part in ready}} if ready else {}


def _natural_key(declared: Declared) -> str:
    scope, _, name = declared.spec["dataset"].partition(":")
    return f"{scope}/{name}/{declared.ref.group}.{declared.ref.name}"


def _check_source(source: str) -> Iterator[tuple[str, str, str]]:
    hint = "a folder below `uploads`, like higgs-2026"
    pieces = source.split("/")
    if source.startswith("/") or not source.strip():
        yield "spec.source", f"'{source}' is not a relative path", hint
    elif any(piece in ("", ".", "..") for piece in pieces) or "\0" in source or "\\" in source:
        yield "spec.source", "a source has no '..', '.', '\\' or empty pieces", hint
    elif any(len(piece.encode()) > 255 for piece in pieces):
        yield "spec.source", "a piece of the source is longer than 255 bytes", hint


def _check_spans(spec: Mapping[str, Json]) -> Iterator[tuple[str, str, str]]:
    spans = {"spec.lifetime": spec.get("lifetime"), "spec.verify.every": spec["verify"]["every"]}
    for path, text in spans.items():
        try:
            span = duration(text) if text else None
        except ValueError as error:
            yield path, str(error), "write like 6h, 7d or 2w"
            continue
        if span is not None and span < _OFTENEST:
            yield path, f"'{text}' is too short", "at least 1h"


def _twins(rules: list[Declared]) -> Iterator[tuple[Declared, str, str, str]]:
    first: dict[Any, Declared] = {}
    for rule in rules:
        try:
            other = first.setdefault(parse(rule.spec["expression"]).meaning, rule)
        except ValueError:
            continue  # `check` says so
        if other is not rule:
            message = f"{other.ref} ({other.source}) wants the same copies of {rule.spec['dataset']} already"
            yield rule, "spec.expression", message, "remove one of the two, or change copies or expression"


def _at_the_end(declared: Declared, placed: Placed, world: World) -> Iterator[Resource | Condition]:
    """The oldest copy stays while the file does: it is the clock; without it all would begin anew."""
    oldest = oldest_of(replicas_of(declared, world))
    kept = element_of(oldest.ref) if oldest else ""
    if kept in lake(world).elements:
        yield from _resources(declared, placed, (kept,), world)
    message = (
        f"its lifetime of {declared.spec['lifetime']} is over; one copy stays on {kept} until this file goes"
    )
    yield Condition(declared.ref, Word.WAITING, "LifetimeOver", message, "author")


def _resources(declared: Declared, placed: Placed, names: Iterable[str], world: World) -> Iterator[Resource]:
    elements, spec = lake(world).elements, declared.spec
    chosen = tuple(names)
    targets = frozenset(elements[name].target for name in placed.selected - placed.unseen)
    facts = NOTHING if is_sound(declared, placed, chosen, world) else supply(declared, world)
    if facts and declared.metadata.adopt:
        facts = {**facts, "natural": _natural_key(declared)}
    for name in chosen:
        element = elements[name]
        yield Resource(
            declared.ref.with_part(name, REPLICA),
            REPLICA,
            element.target,
            {"dataset": spec["dataset"], "element": name, "source": spec["source"], "verify": spec["verify"]},
            declared.source,
            declared.metadata,
            frozenset((element.ref,)),
            targets - {element.target},
            facts,
        )


def _shortage(declared: Declared, placed: Placed, world: World) -> Iterator[Condition]:
    wanted, chosen = declared.spec["copies"], placed.choice.chosen
    if len(chosen) >= wanted:
        return
    refused = dict(placed.choice.refused)
    others = sorted(lake(world).elements.keys() - placed.selected)
    refused.update(dict.fromkeys(others, NOT_SELECTED))
    reasons = [
        f"{name}: {refused[name]}" for name in sorted(refused, key=lambda name: (name in others, name))
    ]
    more = f"; and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else ""
    why = ("; ".join(reasons[:_SHOWN]) + more) or "there are no other elements"
    reason = "NotEnoughElements" if chosen else "NoPlace"
    message = f"{len(chosen)} of {wanted} copies have a place ({why})"
    yield Condition(declared.ref, Word.WAITING, reason, message, "author")


def _selects_nothing(declared: Declared, world: World) -> Condition:
    there = ", ".join(sorted(lake(world).elements)[:_SHOWN]) or "none"
    message = f"'{declared.spec['expression']}' selects no storage element; there are: {there}"
    return Condition(declared.ref, Word.FAILED, "ExpressionSelectsNothing", message, "author")


def _blind(declared: Declared, placed: Placed, world: World) -> Condition:
    places = sorted({lake(world).elements[name].target for name in placed.unseen})
    why = "; ".join(f"{name}: {world.blind[name]}" for name in places)
    message = f"copies could lie on targets that were not read ({why})"
    return Condition(declared.ref, Word.BLIND, "TargetBlind", message, "operator of the target")


KIND = DataRule()
