"""Rules on data on paper: a world of storage and Rucio targets, and a toy Rucio that does what it is told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from reconciler.construct import filled
from reconciler.kind import Kind, World
from reconciler.kinds.data_rule import KIND as RULE
from reconciler.kinds.lifecycle import KIND as LIFECYCLE
from reconciler.kinds.quality_class import KIND as QUALITY
from reconciler.kinds.storage_element import KIND as ELEMENT
from reconciler.model import (
    PLAIN,
    Action,
    Change,
    Condition,
    Declared,
    Mark,
    Metadata,
    Observed,
    Ref,
    Resource,
    Source,
    State,
    Target,
    mark_id,
)

NOW = datetime(2026, 10, 8, 12, tzinfo=UTC)
KINDS: dict[str, Kind[Any]] = {kind.name: kind for kind in (RULE, LIFECYCLE, QUALITY, ELEMENT)}
SERVED = {"rucio": {"rule", "upload", "rse"}, "storage": {"replica", "StorageElement"}}


def declare(kind: str, name: str, spec: dict[str, Any], group: str = "", **metadata: Any) -> Declared:
    """An object with its defaults filled in."""
    whole = filled(KINDS[kind].spec, spec) if kind in KINDS else spec
    said = Metadata(**metadata) if metadata else PLAIN
    return Declared(Ref(kind, group, name), whole, Source(f"{name}.yaml"), said)


def element(name: str, target: str = "", **spec: Any) -> Declared:
    """An element at the target `t-<name>`, unless another is named."""
    return declare("StorageElement", name, {"target": target or f"t-{name}", **spec})


def rule(name: str = "higgs", group: str = "cms", **spec: Any) -> Declared:
    """A DataRule without a source, for everything."""
    metadata = spec.pop("metadata", {})
    given = {"dataset": "cms:higgs", "expression": "*", **spec}
    return declare(
        "DataRule", name, {key: value for key, value in given.items() if value is not None}, group, **metadata
    )


def lifecycle(name: str = "higgs", group: str = "cms", **spec: Any) -> Declared:
    """A Lifecycle: two copies, after 30 days one on c, after 60 none."""
    stages = [
        {"after": "0d", "copies": 2, "expression": "a|b"},
        {"after": "30d", "copies": 1, "expression": "c"},
        {"after": "60d", "end": True},
    ]
    return declare(
        "Lifecycle", name, {"dataset": "cms:higgs", "from": "2026-10-01", "stages": stages, **spec}, group
    )


def target(name: str, driver: str = "rucio", url: str = "https://rucio.example.org", **more: Any) -> Target:
    """A target; those of type rucio are one server unless said otherwise."""
    settings = {"url": url, "account": "robot"} if driver == "rucio" else {"path": name}
    return Target(name, driver, name, {**settings, "uploads": "uploads"}, **more)


def standing(
    of: Declared,
    state: State = State.READY,
    *,
    uid: str = "r1",
    at: str = "t-a",
    marked: bool = True,
    **spec: Any,
) -> Observed:
    """A rule that stands at Rucio for an object."""
    ref = of.ref.with_part("main", "rule")
    more = {key: spec.pop(key) for key in ("reason", "attributes", "since") if key in spec}
    more.setdefault("since", "2026-10-01T00:00:00+00:00")
    whole = {
        "dataset": of.spec["dataset"],
        "copies": of.spec.get("copies", 1),
        "expression": of.spec.get("expression", ""),
        "grouping": "DATASET",
        "activity": "User Subscriptions",
        "priority": 3,
        "purge": False,
        "sources": "",
        "lastCopy": of.spec["lastCopy"],
        "repairs": 3,
        **spec,
    }
    mark = Mark("o", mark_id(ref), ref) if marked else None
    return Observed(ref, "rule", at, whole, uid, mark, state, **more)


def world(
    *declared: Declared,
    seen: Sequence[Observed] = (),
    targets: Sequence[Target] = (),
    blind: Iterable[str] = (),
    now: datetime = NOW,
) -> World:
    """All targets of elements are of type rucio and one server, unless they are given."""
    elements = [entry for entry in declared if entry.ref.kind == "StorageElement"]
    known = {entry.spec["target"]: target(entry.spec["target"]) for entry in elements}
    known |= {entry.name: entry for entry in targets}
    things: dict[Ref, tuple[Observed, ...]] = {}
    for thing in seen:
        things[thing.ref.object] = (*things.get(thing.ref.object, ()), thing)

    def serves(name: str, primitive: str) -> bool:
        driver = known[name].driver if name in known else ""
        return driver == "simulated" or primitive in SERVED.get(driver, ())

    return World(
        now,
        known,
        {entry.ref: entry for entry in declared},
        things,
        dict.fromkeys(blind, "no answer"),
        lambda _ref, name: name in blind,
        serves=serves,
    )


def expanded(of: Declared, scene: World) -> tuple[dict[str, Resource], list[Condition]]:
    """What an object becomes: its things by their part, and its conditions."""
    found = list(KINDS[of.ref.kind].expand(of, scene))
    resources = {entry.ref.part: entry for entry in found if isinstance(entry, Resource)}
    return resources, [entry for entry in found if isinstance(entry, Condition)]


def wanted(of: Declared, scene: World) -> Resource:
    """The one rule that is wanted, and nothing to say about it."""
    resources, conditions = expanded(of, scene)
    assert conditions == []
    return resources["main.rule"]


def reason(of: Declared, scene: World) -> str:
    """Why nothing is wanted."""
    resources, (condition,) = expanded(of, scene)
    assert not resources
    return condition.reason


def held(thing: Observed, scene: World, action: Action = Action.DELETE) -> str:
    """The reason for which this thing must not go now; empty: it may."""
    change = Change(thing.ref, thing.kind, thing.target, action, "Surplus", have=thing)
    found = RULE.hold_removal(change, scene)
    return found.reason if found else ""


def later(scene: World, **fields: Any) -> World:
    """The same world with other fields; nothing is remembered of the first."""
    return replace(scene, **fields)
