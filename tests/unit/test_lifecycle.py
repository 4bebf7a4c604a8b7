"""Lifecycle: which stage data are in, what it wants, and that no step loses a copy."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.construct import build, filled
from reconciler.kinds.lifecycle import KIND, LifecycleSpec
from reconciler.model import Declared, Observed, Ref, Source, State, Word
from reconciler.placement.wishes import stage_of
from tests.unit.lake_paper import (
    declare,
    element,
    expanded,
    held,
    lifecycle,
    reason,
    rule,
    standing,
    target,
    wanted,
    world,
)

SCHEMAS = Path(__file__).parents[2] / "schemas"
ABC = [element("a"), element("b"), element("c")]
START = datetime(2026, 10, 1, tzinfo=UTC)
STORAGE = [target(f"t-{name}", "storage") for name in "abc"]


def day(number: int) -> datetime:
    return START + timedelta(days=number, hours=1)


# -- what is checked -------------------------------------------------------------------------

FIRST = {"after": "0d", "expression": "*"}


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"dataset": "higgs"}, "spec.dataset"),
        ({"source": "/etc"}, "spec.source"),
        ({"from": "2026-02-30"}, "spec.from"),
        ({"stages": [{"after": "1d", "expression": "*"}]}, "spec.stages.0.after"),
        ({"stages": [FIRST, {"after": "0d", "expression": "*"}]}, "spec.stages.1.after"),
        ({"stages": [FIRST, {"after": "1x", "expression": "*"}]}, "spec.stages.1.after"),
        (
            {"stages": [FIRST, {"after": "5d", "end": True}, {"after": "6d", "expression": "*"}]},
            "spec.stages.1.end",
        ),
        ({"stages": [FIRST, {"after": "5d", "end": True, "copies": 2}]}, "spec.stages.1.end"),
        ({"stages": [FIRST, {"after": "5d", "end": True, "expression": "*"}]}, "spec.stages.1.end"),
        ({"stages": [FIRST, {"after": "5d"}]}, "spec.stages.1"),
        ({"stages": [FIRST, {"after": "5d", "expression": "("}]}, "spec.stages.1.expression"),
        ({"stages": [FIRST, {"after": "5d", "expression": "*", "quality": {}}]}, "spec.stages.1.quality"),
    ],
)
def test_a_bad_lifecycle_is_refused_with_its_field(spec: Any, path: str) -> None:
    problems = list(KIND.check(lifecycle(**spec)))
    assert [found for found, _, _ in problems] == [path]
    assert all(message and hint for _, message, hint in problems)


def test_the_examples_of_the_schema_are_good() -> None:
    for example in json.loads((SCHEMAS / "Lifecycle.json").read_text())["examples"]:
        built = build(LifecycleSpec, example["spec"])
        assert isinstance(built.begin, date)
        ref = Ref("Lifecycle", "cms", example["metadata"]["name"])
        assert list(KIND.check(Declared(ref, filled(LifecycleSpec, example["spec"]), Source("x")))) == []
    assert list(KIND.check(lifecycle())) == []
    assert list(KIND.targets(lifecycle(target="far"))) == [("spec.target", "far")]
    found = {
        name: list(KIND.natural_keys(lifecycle(source="s"), name)) for name in ("rule", "upload", "replica")
    }
    assert found == {"rule": [], "upload": ["cms:higgs"], "replica": ["cms/higgs/cms.higgs"]}


# -- which stage -----------------------------------------------------------------------------


@given(
    st.lists(st.integers(1, 2000), unique=True, max_size=6),
    st.integers(-500, 3000),
    st.integers(0, 86_399),
)
def test_the_stage_is_the_last_that_has_begun(ages: list[int], days: int, seconds: int) -> None:
    stages = [{"after": f"{age}d"} for age in [0, *sorted(ages)]]
    found = stage_of({"from": "2026-10-01", "stages": stages}, START + timedelta(days=days, seconds=seconds))
    begun = [age for age in [0, *sorted(ages)] if age <= days]
    assert found == ({"after": f"{max(begun)}d"} if begun else None)


def test_a_stage_begins_at_midnight_utc() -> None:
    spec = lifecycle().spec
    second = timedelta(seconds=1)
    assert stage_of(spec, START - second) is None
    assert stage_of(spec, START)["expression"] == "a|b"  # type: ignore[index]
    assert stage_of(spec, START + timedelta(days=30) - second)["expression"] == "a|b"  # type: ignore[index]
    assert stage_of(spec, START + timedelta(days=30))["expression"] == "c"  # type: ignore[index]


# -- what it wants ---------------------------------------------------------------------------


def test_each_stage_is_as_a_data_rule_would_be() -> None:
    of = lifecycle(account="higgs", priority=5, source="higgs")
    for number, copies, expression in ((0, 2, "A|B"), (29, 2, "A|B"), (30, 1, "C"), (59, 1, "C")):
        found, conditions = expanded(of, world(*ABC, of, now=day(number)))
        same = rule(copies=copies, expression=expression, account="higgs", priority=5, source="higgs")
        its, _ = expanded(same, world(*ABC, same, now=day(number)))
        assert conditions == []
        assert found.keys() == its.keys() == {"main.rule", "main.upload"}
        assert found["main.rule"].spec == its["main.rule"].spec
        assert str(found["main.rule"].ref) == "Lifecycle/cms/higgs/main.rule"


def test_before_its_first_day_nothing_is_wanted() -> None:
    of = lifecycle()
    _, (condition,) = expanded(of, world(*ABC, of, now=day(-3)))
    assert (condition.word, condition.reason) == (Word.WAITING, "NotBegun")
    assert "2026-10-01" in condition.message
    stands = standing(of)
    assert held(stands, world(*ABC, of, seen=[stands], now=day(-3))) == "LastCopy"


def test_a_stage_may_ask_for_quality() -> None:
    disk = declare("QualityClass", "disk", {"latency": "1s", "expression": "a|c"})
    of = lifecycle(stages=[{"after": "0d", "quality": {"latency": "2s", "redundancy": 2}}])
    found = wanted(of, world(*ABC, disk, of))
    assert (found.spec["copies"], found.spec["expression"]) == (2, "A|C")
    assert reason(of, world(*ABC, of)) == "NoQualityClass"


def test_in_the_lake_each_stage_has_its_replicas() -> None:
    of = lifecycle(source="higgs")
    for number, parts in ((0, ["a.replica", "b.replica"]), (30, ["c.replica"])):
        resources, conditions = expanded(of, world(*ABC, of, targets=STORAGE, now=day(number)))
        assert sorted(resources) == parts
        assert conditions == []
    assert reason(lifecycle(), world(*ABC, lifecycle(), targets=STORAGE)) == "NoSource"


def test_a_name_has_one_place_in_the_lake() -> None:
    of, namesake = lifecycle(source="higgs"), rule(source="higgs")
    scene = world(*ABC, of, namesake, targets=STORAGE)
    assert reason(of, scene) == "SameName"
    assert expanded(namesake, scene)[1] == []
    other = lifecycle(source="higgs", dataset="cms:other")
    assert expanded(other, world(*ABC, other, namesake, targets=STORAGE))[1] == []


# -- from stage to stage -----------------------------------------------------------------------


def rules(of: Declared, *made: tuple[str, State, int, str]) -> list[Observed]:
    return [standing(of, state, uid=uid, copies=copies, expression=text) for uid, state, copies, text in made]


@pytest.mark.parametrize(
    ("states", "going"),
    [
        ((State.READY, State.PROGRESSING), []),
        ((State.READY, State.FAILED), []),
        ((State.READY, State.READY), ["disk"]),
        ((State.PROGRESSING, State.READY), ["disk"]),
        ((State.FAILED, State.PROGRESSING), []),
    ],
)
def test_the_stage_before_goes_when_the_new_one_is_ready(states: Any, going: list[str]) -> None:
    of = lifecycle()
    seen = rules(of, ("disk", states[0], 2, "A|B"), ("tape", states[1], 1, "C"))
    scene = world(*ABC, of, seen=seen, now=day(31))
    assert [thing.uid for thing in seen if held(thing, scene) == ""] == going


def test_a_stage_that_never_came_to_be_goes_while_a_sound_one_stays() -> None:
    stages = [
        {"after": "0d", "copies": 2, "expression": "a|b"},
        {"after": "10d", "copies": 2, "expression": "b|c"},
        {"after": "20d", "copies": 1, "expression": "c"},
    ]
    of = lifecycle(stages=stages)
    seen = rules(
        of,
        ("one", State.READY, 2, "A|B"),
        ("two", State.PROGRESSING, 2, "B|C"),
        ("three", State.PROGRESSING, 1, "C"),
    )
    scene = world(*ABC, of, seen=seen, now=day(21))
    assert [thing.uid for thing in seen if held(thing, scene) == ""] == ["two"]
    lost = [replace(seen[0], state=State.FAILED), *seen[1:]]
    scene = world(*ABC, of, seen=lost, now=day(21))
    assert [thing.uid for thing in lost if held(thing, scene) == ""] == []
    done = [*seen[:2], replace(seen[2], state=State.READY)]
    scene = world(*ABC, of, seen=done, now=day(21))
    assert [thing.uid for thing in done if held(thing, scene) == ""] == ["one", "two"]


# -- the end ---------------------------------------------------------------------------------


def test_at_the_end_nothing_is_wanted_and_the_last_copy_is_held() -> None:
    for said, expected in (("keep", "LastCopy"), ("delete", "LastCopyApproval")):
        of = lifecycle(lastCopy=said)
        seen = rules(of, ("old", State.READY, 1, "A"), ("tape", State.READY, 2, "C"))
        scene = world(*ABC, of, seen=seen, now=day(61))
        resources, (condition,) = expanded(of, scene)
        assert not resources
        assert (condition.word, condition.reason) == (Word.WAITING, "LifetimeOver")
        assert [held(thing, scene) for thing in seen] == ["", expected]


def test_at_the_end_another_rule_may_keep_the_data() -> None:
    of, other = lifecycle(), rule("other", expression="a")
    seen = [standing(of), standing(other, uid="r2")]
    assert held(seen[0], world(*ABC, of, other, seen=seen, now=day(61))) == ""
    ended = lifecycle("other")
    seen = [standing(of), standing(ended, uid="r2")]
    assert held(seen[0], world(*ABC, of, ended, seen=seen, now=day(61))) == "LastCopy"


def test_at_the_end_in_the_lake_the_same() -> None:
    for said, expected in (("keep", "LastCopy"), ("delete", "LastCopyApproval")):
        of = lifecycle(source="higgs", lastCopy=said)
        one, two = replica(of, "a", 60), replica(of, "b", 60)
        scene = world(*ABC, of, seen=[one, two], targets=STORAGE, now=day(61))
        resources, (condition,) = expanded(of, scene)
        assert not resources
        assert condition.reason == "LifetimeOver"
        assert held(one, scene) == ""
        assert held(one, world(*ABC, of, seen=[one], targets=STORAGE, now=day(61))) == expected
        bad = replace(two, state=State.FAILED)
        assert held(one, world(*ABC, of, seen=[one, bad], targets=STORAGE, now=day(61))) == expected
        removed = world(*ABC, seen=[one], targets=STORAGE, now=day(61))
        assert held(one, removed) == ""


def test_in_the_lake_a_stage_goes_when_the_next_is_good() -> None:
    of = lifecycle(source="higgs")
    old, new = replica(of, "a"), replica(of, "c")
    assert held(old, world(*ABC, of, seen=[old], targets=STORAGE, now=day(31))) == "LastCopy"
    assert held(old, world(*ABC, of, seen=[old, new], targets=STORAGE, now=day(31))) == ""
    half = replace(new, state=State.PROGRESSING)
    assert held(old, world(*ABC, of, seen=[old, half], targets=STORAGE, now=day(31))) == "LastCopy"


def replica(of: Declared, on: str, proved: int = 31) -> Observed:
    ref = of.ref.with_part(on, "replica")
    made = standing(of, uid=f"{on}/{of.ref.name}", at=f"t-{on}")
    spec = {"dataset": of.spec["dataset"], "element": on, "source": "higgs", "verify": of.spec["verify"]}
    return replace(made, ref=ref, kind="replica", spec=spec, verified=day(proved))
