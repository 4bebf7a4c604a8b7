"""Kinds StorageElement and DataRule: what they check, expand into, and refuse to let go."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.construct import build, filled
from reconciler.kind import Kind, World
from reconciler.kinds.data_rule import KIND as RULE
from reconciler.kinds.data_rule import DataRuleSpec
from reconciler.kinds.storage_element import KIND as ELEMENT
from reconciler.kinds.storage_element import StorageElementSpec
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
    Suspension,
    Target,
    Word,
    mark_id,
)

NOW = datetime(2026, 10, 8, 12, tzinfo=UTC)
FRESH, STALE = NOW - timedelta(days=1), NOW - timedelta(days=8)
SCHEMAS = Path(__file__).parents[2] / "schemas"


def target(name: str, **more: Any) -> Target:
    settings = {"path": f"sites/{name}", "uploads": "uploads"}
    return Target(name, more.pop("driver", "storage"), name, settings, **more)


def element(name: str, metadata: Metadata = PLAIN, **spec: Any) -> Declared:
    whole = filled(StorageElementSpec, {"target": f"t-{name}", **spec})
    return Declared(Ref("StorageElement", "", name), whole, Source(f"{name}.yaml"), metadata)


def rule(name: str = "higgs", group: str = "cms", metadata: Metadata = PLAIN, **spec: Any) -> Declared:
    given = {"dataset": "cms:higgs", "source": "higgs", "expression": "*", **spec}
    return Declared(
        Ref("DataRule", group, name), filled(DataRuleSpec, given), Source(f"{name}.yaml"), metadata
    )


def copy(
    of: Declared,
    on: str,
    state: State = State.READY,
    verified: datetime | None = FRESH,
    since: str = "2026-10-01T00:00:00+00:00",
    **more: Any,
) -> Observed:
    ref = of.ref.with_part(on, "replica")
    spec = {
        "dataset": more.pop("dataset", of.spec["dataset"]),
        "element": on,
        "source": of.spec["source"],
        "verify": of.spec["verify"],
    }
    where = more.pop("target", f"t-{on}")
    uid = more.pop("uid", f"{where}:{on}/{of.ref.group}.{of.ref.name}")
    return Observed(
        ref,
        "replica",
        where,
        spec,
        uid,
        Mark("o", mark_id(ref), ref),
        state,
        since=since,
        verified=verified,
        **more,
    )


def world(
    *declared: Declared,
    seen: Sequence[Observed] = (),
    blind: Sequence[str] = (),
    targets: Sequence[Target] = (),
    facts: dict[str, dict[str, Any]] | None = None,
    proven: bool = False,
) -> World:
    elements = [entry for entry in declared if entry.ref.kind == "StorageElement"]
    known = {entry.spec["target"]: target(entry.spec["target"]) for entry in elements}
    known |= {entry.name: entry for entry in targets}
    things: dict[Ref, tuple[Observed, ...]] = {}
    for thing in seen:
        things[thing.ref.object] = (*things.get(thing.ref.object, ()), thing)
    return World(
        NOW,
        known,
        {entry.ref: entry for entry in declared},
        things,
        dict.fromkeys(blind, "no answer"),
        lambda _ref, name: name in blind and not proven,
        facts or {},
    )


def expanded(of: Declared, scene: World) -> tuple[dict[str, Resource], list[Condition]]:
    found = list(RULE.expand(of, scene))
    assert list(RULE.expand(of, scene)) == found
    resources = {entry.spec["element"]: entry for entry in found if isinstance(entry, Resource)}
    return resources, [entry for entry in found if isinstance(entry, Condition)]


ABC = [element("a", attributes={"x": 1}), element("b", attributes={"x": 2}), element("c")]


# -- StorageElement --------------------------------------------------------------------------


def test_an_element_is_one_thing_at_its_target() -> None:
    declared = element("a", attributes={"tier": 1}, capacity="10GiB")
    (found,) = ELEMENT.expand(declared, world(declared))
    assert isinstance(found, Resource)
    assert (found.ref, found.kind, found.target) == (declared.ref, "StorageElement", "t-a")
    assert found.spec == {"attributes": {"tier": 1}, "capacity": "10GiB"}
    assert list(ELEMENT.targets(declared)) == [("spec.target", "t-a")]
    assert list(ELEMENT.check(declared)) == []
    assert found.facts["natural"] == "a"
    assert list(ELEMENT.natural_keys(declared, "StorageElement")) == ["a"]


def test_an_element_is_not_renamed_and_has_a_whole_capacity() -> None:
    renamed = element("a", Metadata(formerly=Ref("StorageElement", "", "z")), capacity="0.3B")
    assert [path for path, _, _ in ELEMENT.check(renamed)] == ["metadata.formerly", "spec.capacity"]


# -- what is checked -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"dataset": "higgs"}, "spec.dataset"),
        ({"dataset": "cms:a/b"}, "spec.dataset"),
        ({"dataset": "cms:../b"}, "spec.dataset"),
        ({"dataset": "c" * 26 + ":b"}, "spec.dataset"),
        ({"dataset": "c:" + "b" * 251}, "spec.dataset"),
        ({"expression": "a|"}, "spec.expression"),
        ({"copies": 0}, "spec.copies"),
        ({"source": "/etc"}, "spec.source"),
        ({"source": "a/../../etc"}, "spec.source"),
        ({"source": "a//b"}, "spec.source"),
        ({"source": "a\0b"}, "spec.source"),
        ({"source": " "}, "spec.source"),
        ({"source": "a" * 256}, "spec.source"),
        ({"lifetime": "soon"}, "spec.lifetime"),
        ({"lifetime": "5m"}, "spec.lifetime"),
        ({"verify": {"every": "1s"}}, "spec.verify.every"),
        ({"expression": None}, "spec"),
        ({"quality": {"latency": "10s"}}, "spec.quality"),
        ({"expression": None, "quality": {"latency": "soon"}}, "spec.quality.latency"),
        ({"expression": None, "quality": {"redundancy": 0}}, "spec.quality.redundancy"),
        ({"expression": None, "quality": {}, "copies": 2}, "spec.copies"),
        ({"sources": "a|"}, "spec.sources"),
    ],
)
def test_a_bad_rule_is_refused_with_its_field(spec: Any, path: str) -> None:
    problems = list(RULE.check(rule(**spec)))
    assert [found for found, _, _ in problems] == [path]
    assert all(message and hint for _, message, hint in problems)


def test_a_good_rule_passes() -> None:
    assert (
        list(RULE.check(rule(dataset="c" * 25 + ":" + "b" * 250, source="2026/higgs", lifetime="2w"))) == []
    )


def test_two_rules_for_the_same_copies_are_one_too_many() -> None:
    one, two = rule("one", expression="a|b"), rule("two", expression="b | a")
    others = [rule("three", copies=2, expression="a|b"), rule("four", group="lhcb", expression="a|b")]
    found = list(RULE.check_together([two, *others, one, rule("bad", expression="(")]))
    assert [(declared.ref, path) for declared, path, _, _ in found] == [(two.ref, "spec.expression")]
    assert "one.yaml" in found[0][2]


@pytest.mark.parametrize(
    ("name", "cls"), [("DataRule", DataRuleSpec), ("StorageElement", StorageElementSpec)]
)
def test_the_example_of_the_schema_is_good(name: str, cls: Any) -> None:
    kinds: dict[str, Kind[Any]] = {"DataRule": RULE, "StorageElement": ELEMENT}
    kind = kinds[name]
    example = json.loads((SCHEMAS / f"{name}.json").read_text())["examples"][0]
    build(cls, example["spec"])
    ref = Ref(name, example["metadata"].get("group", ""), example["metadata"]["name"])
    assert list(kind.check(Declared(ref, filled(cls, example["spec"]), Source("x")))) == []


# -- expansion -------------------------------------------------------------------------------


def test_one_replica_per_chosen_element() -> None:
    of = rule(copies=2, expression="x<3")
    resources, conditions = expanded(of, world(*ABC, of))
    assert conditions == []
    assert sorted(resources) == ["a", "b"]
    found = resources["a"]
    assert str(found.ref) == "DataRule/cms/higgs/a.replica"
    assert (found.kind, found.target) == ("replica", "t-a")
    assert found.needs == {Ref("StorageElement", "", "a")}
    assert found.candidates == {"t-b"}
    assert found.facts["uploads"] == ["uploads"]
    verify = {"how": "checksum", "every": "7d"}
    assert found.spec == {"dataset": "cms:higgs", "element": "a", "source": "higgs", "verify": verify}


def test_copies_stay_where_they_are_and_surplus_is_not_wanted() -> None:
    of = rule(copies=1)
    for on in "abc":
        resources, _ = expanded(of, world(*ABC, of, seen=[copy(of, on)]))
        assert list(resources) == [on]
    seen = [copy(of, "a", State.FAILED), copy(of, "b"), copy(of, "c", verified=STALE)]
    assert list(expanded(of, world(*ABC, of, seen=seen))[0]) == ["b"]


def test_facts_say_where_copies_lie_good_ones_first_and_only_of_the_group() -> None:
    of, sibling = rule(copies=3), rule("sibling", expression="c")
    foreign = rule("foreign", group="lhcb", expression="c")
    seen = [copy(of, "a", State.FAILED), copy(of, "b"), copy(sibling, "c"), copy(foreign, "c")]
    resources, _ = expanded(of, world(*ABC, of, sibling, foreign, seen=seen))
    told = [(entry["element"], entry["ref"]) for entry in resources["c"].facts["copies"]]
    assert told == [
        ("b", "DataRule/cms/higgs/b.replica"),
        ("c", "DataRule/cms/sibling/c.replica"),
        ("a", "DataRule/cms/higgs/a.replica"),
    ]
    assert resources["c"].facts["copies"][0]["path"] == "sites/t-b"


def test_an_expression_that_selects_nothing_is_said() -> None:
    of = rule(expression="country=XX")
    resources, (condition,) = expanded(of, world(*ABC, of))
    assert not resources
    assert (condition.word, condition.reason) == (Word.FAILED, "ExpressionSelectsNothing")
    assert "a, b, c" in condition.message


def test_an_expression_that_can_not_be_read_is_said() -> None:
    _, (condition,) = expanded(rule(expression="("), world(*ABC))
    assert (condition.word, condition.reason) == (Word.FAILED, "ExpressionInvalid")


def test_too_few_places_give_what_there_is_and_the_reasons() -> None:
    sleeping = element("d", Metadata(suspend=Suspension("cleaning")))
    of = rule(copies=6, expression="*\\c")
    targets = [
        target("t-e", status="removed"),
        target("t-f", suspended="move"),
        target("t-g", groups=frozenset({"lhcb"})),
        target("t-h", status="maintenance"),
    ]
    more = [element(name) for name in "efgh"]
    lost = element("i", target="nowhere")
    scene = world(*ABC, sleeping, *more, lost, of, targets=targets)
    scene = replace(scene, targets={name: scene.targets[name] for name in scene.targets if name != "nowhere"})
    resources, (condition,) = expanded(of, scene)
    assert sorted(resources) == ["a", "b"]
    assert (condition.word, condition.reason) == (Word.WAITING, "NotEnoughElements")
    for words in (
        "2 of 6 copies",
        "d: element suspended: cleaning",
        "e: provider removed",
        "f: target suspended: move",
        "g: target t-g does not serve group cms",
        "h: provider in status maintenance",
        "i: target nowhere is not declared",
        "c: not in expression",
    ):
        assert words in condition.message
    _, (none,) = expanded(rule(expression="d"), world(sleeping, rule(expression="d")))
    assert none.reason == "NoPlace"


def test_room_counts_for_new_copies_only() -> None:
    small = element("a", capacity="1kB")
    of, other = rule(expression="a"), rule("other", expression="a", dataset="cms:other")
    big = copy(other, "a", attributes={"bytes": 1000})
    _, (condition,) = expanded(of, world(small, of, other, seen=[big]))
    assert "a: no room: 0 bytes free" in condition.message
    resources, conditions = expanded(other, world(small, of, other, seen=[big]))
    assert list(resources) == ["a"]
    assert conditions == []
    _, (full,) = expanded(of, world(ABC[0], of, facts={"t-a": {"free": 0}}))
    assert "no room" in full.message


# -- blind -----------------------------------------------------------------------------------


def test_nothing_seen_and_a_place_unseen_is_blind() -> None:
    of = rule(copies=2)
    resources, (condition,) = expanded(of, world(*ABC, of, blind=["t-c"]))
    assert not resources
    assert (condition.word, condition.reason) == (Word.BLIND, "TargetBlind")


def test_the_store_may_prove_that_nothing_is_there() -> None:
    of = rule(copies=3)
    resources, (condition,) = expanded(of, world(*ABC, of, blind=["t-c"], proven=True))
    assert sorted(resources) == ["a", "b"]
    assert "c: blind: no answer" in condition.message


def test_an_unseen_place_counts_as_a_copy_and_does_not_stop_the_others() -> None:
    of = rule(copies=2)
    scene = world(*ABC, of, seen=[copy(of, "a")], blind=["t-c"])
    resources, conditions = expanded(of, scene)
    assert sorted(resources) == ["a", "c"]
    more = rule(copies=3)
    resources, conditions = expanded(more, world(*ABC, more, seen=[copy(more, "a")], blind=["t-c"]))
    assert sorted(resources) == ["a", "b", "c"]
    assert conditions == []
    assert "t-c" not in resources["b"].candidates


# -- moving ----------------------------------------------------------------------------------


def test_an_element_with_another_target_takes_its_copies_along() -> None:
    of = rule(copies=1)
    old = copy(of, "b", target="old")
    resources, _ = expanded(of, world(*ABC, of, seen=[old], targets=[target("old")]))
    assert list(resources) == ["b"]
    assert resources["b"].target == "t-b"
    assert resources["b"].facts["copies"][0]["target"] == "old"


def test_another_data_set_is_made_where_the_old_one_lies() -> None:
    of = rule(copies=1, dataset="cms:new")
    old = copy(of, "b", dataset="cms:old")
    resources, _ = expanded(of, world(*ABC, of, seen=[old]))
    assert list(resources) == ["b"]
    assert resources["b"].facts["copies"] == []
    assert held(old, world(*ABC, of, seen=[old])) is None


def test_copies_that_differ_are_said() -> None:
    of = rule(copies=2)
    seen = [copy(of, on, attributes={"manifest": f"sha256:{on}"}) for on in "ab"]
    _, (condition,) = expanded(of, world(*ABC, of, seen=seen))
    assert (condition.word, condition.reason) == (Word.FAILED, "CopiesDiffer")


# -- last copies -----------------------------------------------------------------------------


def held(thing: Observed, scene: World) -> Condition | None:
    change = Change(thing.ref, "replica", thing.target, Action.DELETE, "Surplus", have=thing)
    return RULE.hold_removal(change, scene)


@pytest.mark.parametrize(
    ("others", "is_held"),
    [
        ([("b", State.READY, FRESH), ("c", State.READY, FRESH)], False),
        ([("b", State.READY, FRESH)], True),
        ([("b", State.READY, FRESH), ("c", State.READY, STALE)], True),
        ([("b", State.READY, FRESH), ("c", State.READY, None)], True),
        ([("b", State.READY, FRESH), ("c", State.FAILED, FRESH)], True),
        ([("b", State.READY, FRESH), ("c", State.PROGRESSING, FRESH)], True),
        ([], True),
    ],
)
def test_a_copy_goes_only_while_enough_good_ones_stay(
    others: list[tuple[str, State, datetime | None]], is_held: bool
) -> None:
    of = rule(copies=2, expression="b|c")
    surplus = copy(of, "a")
    seen = [surplus, *(copy(of, on, state, verified) for on, state, verified in others)]
    found = held(surplus, world(*ABC, of, seen=seen))
    assert (found is not None) is is_held
    if found:
        assert (found.word, found.reason) == (Word.HELD, "LastCopy")
        assert "2 are needed" in found.message


def test_unseen_copies_are_never_good() -> None:
    of = rule(copies=2, expression="b|c")
    seen = [copy(of, "a"), copy(of, "b")]
    assert held(seen[0], world(*ABC, of, seen=seen, blind=["t-c"])) is not None


def test_two_surplus_copies_do_not_vouch_for_each_other() -> None:
    of = rule(copies=1, expression="c")
    seen = [copy(of, "a"), copy(of, "b"), copy(of, "c", State.FAILED)]
    scene = world(*ABC, of, seen=seen)
    assert held(seen[0], scene) is not None
    assert held(seen[1], scene) is not None


def test_other_content_is_no_other_copy() -> None:
    of = rule(copies=1, expression="b")
    seen = [copy(of, "a", attributes={"manifest": "1"}), copy(of, "b", attributes={"manifest": "2"})]
    assert held(seen[0], world(*ABC, of, seen=seen)) is not None


def test_a_removed_rule_lets_its_copies_go_unless_another_needs_them() -> None:
    gone, other = rule("gone"), rule("other", expression="b")
    thing = copy(gone, "a")
    assert held(thing, world(*ABC, seen=[thing])) is None
    assert held(thing, world(*ABC, other, seen=[thing])) is not None
    assert held(thing, world(*ABC, other, seen=[thing, copy(other, "b")])) is None
    stranger = rule("stranger", group="lhcb", expression="b")
    assert held(thing, world(*ABC, stranger, seen=[thing])) is None


def test_half_a_copy_may_go() -> None:
    of = rule()
    assert held(copy(of, "a", State.FAILED, reason="Partial"), world(*ABC, of)) is None


# -- lifetime --------------------------------------------------------------------------------


def test_after_the_lifetime_the_oldest_copy_stays_and_the_others_may_go() -> None:
    of = rule(copies=2, lifetime="7d")
    old = copy(of, "a", since="2026-09-30T00:00:00+00:00")
    new = copy(of, "b", since="2026-10-07T00:00:00+00:00")
    scene = world(*ABC, of, seen=[new, old])
    resources, (condition,) = expanded(of, scene)
    assert list(resources) == ["a"]
    assert (condition.word, condition.reason) == (Word.WAITING, "LifetimeOver")
    assert held(new, scene) is None
    assert held(old, scene) is not None
    alone = world(*ABC, of, seen=[old])
    assert list(expanded(of, alone)[0]) == ["a"]
    young = world(*ABC, of, seen=[new])
    assert len(expanded(of, young)[0]) == 2
    assert len(expanded(of, world(*ABC, of))[0]) == 2


# -- cost ------------------------------------------------------------------------------------


def test_a_quiet_expansion_is_cheap() -> None:
    elements = [element(f"e{number}", attributes={"x": number}) for number in range(40)]
    rules = [rule(f"r{number}", copies=4, expression="x<20|x>19") for number in range(2500)]
    seen = [copy(of, f"e{(position + step) % 40}") for position, of in enumerate(rules) for step in range(4)]
    scene = world(*elements, *rules, seen=seen)
    started = time.perf_counter()
    found = [entry for of in rules for entry in RULE.expand(of, scene)]
    seconds = time.perf_counter() - started
    assert len(found) == 10_000
    assert seconds < 1.5
