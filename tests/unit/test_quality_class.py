"""QualityClass: from what data need to elements and copies."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.construct import build, filled
from reconciler.kinds.quality_class import KIND, QualityClassSpec
from reconciler.model import Declared, Ref, Source, State, Word
from reconciler.placement.expression import parse
from reconciler.placement.quality import MOST_COPIES, fits, latency, translate
from tests.unit.lake_paper import (
    declare,
    element,
    expanded,
    held,
    reason,
    rule,
    standing,
    target,
    wanted,
    world,
)

SCHEMAS = Path(__file__).parents[2] / "schemas"
ELEMENTS = [
    element("disk-a", attributes={"quality": "disk"}),
    element("disk-b", attributes={"quality": "disk"}),
    element("tape-a", attributes={"quality": "tape"}),
]


def quality_class(name: str, slowest: str, expression: str, **spec: Any) -> Declared:
    return declare("QualityClass", name, {"latency": slowest, "expression": expression, **spec})


DISK = quality_class("disk", "100ms", "quality=disk", placement=["IT"])
TAPE = quality_class("tape", "4h", "quality=tape", redundancy=2, placement=["IT", "CH"])


def asking(**quality: Any) -> Declared:
    return rule(expression=None, quality=quality)


# -- the words -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("20ms", timedelta(milliseconds=20)),
        ("0ms", timedelta()),
        ("10s", timedelta(seconds=10)),
        ("4h", timedelta(hours=4)),
    ],
)
def test_latencies_are_read(text: str, span: timedelta) -> None:
    assert latency(text) == span


@pytest.mark.parametrize("text", ["", "ms", "soon", "1.5s", "-1ms", "9" * 13 + "ms", "٣ms"])
def test_what_is_no_latency_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="is not a latency"):
        latency(text)


@pytest.mark.parametrize(
    ("wish", "names"),
    [
        ({}, ["disk", "tape"]),
        ({"latency": "4h"}, ["disk", "tape"]),
        ({"latency": "10s"}, ["disk"]),
        ({"latency": "10ms"}, []),
        ({"placement": ["IT"]}, ["disk"]),
        ({"placement": ["CH", "IT", "FR"]}, ["disk", "tape"]),
        ({"placement": ["FR"]}, []),
    ],
)
def test_a_class_fits_when_it_is_quick_enough_and_in_no_other_country(wish: Any, names: list[str]) -> None:
    assert [entry.ref.name for entry in (DISK, TAPE) if fits(wish, entry.spec)] == names


def test_a_class_that_may_be_anywhere_fits_only_data_that_may() -> None:
    anywhere = quality_class("any", "1s", "*")
    assert fits({}, anywhere.spec)
    assert not fits({"placement": ["IT"]}, anywhere.spec)


@given(st.integers(1, 100), st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_copies_are_as_many_as_the_weakest_class_needs_and_no_more(redundancy: int, kept: list[int]) -> None:
    classes = [
        quality_class(f"c{number}", "1s", f"q={number}", redundancy=own) for number, own in enumerate(kept)
    ]
    found = translate({"redundancy": redundancy}, classes)
    assert found.copies * min(kept) >= redundancy > (found.copies - 1) * min(kept)
    assert translate({"redundancy": redundancy}, classes[::-1]) == found
    attributes = {f"e{number}": {"q": number} for number in range(9)}
    assert parse(found.expression).select(attributes) == {f"e{number}" for number in range(len(kept))}


def test_expressions_of_one_meaning_come_once() -> None:
    classes = [
        quality_class("one", "1s", "a|b"),
        quality_class("two", "2s", "b | a"),
        quality_class("three", "3s", "c"),
    ]
    assert translate({"redundancy": 1}, classes).expression == "(a|b)|(c)"
    assert translate({"redundancy": 1}, classes[:2]).expression == "a|b"


def test_too_many_copies_are_refused() -> None:
    with pytest.raises(ValueError, match=f"the most are {MOST_COPIES}"):
        translate({"redundancy": MOST_COPIES + 1}, [DISK])


# -- the kind --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"latency": "soon", "expression": "*"}, "spec.latency"),
        ({"latency": "1s", "expression": "("}, "spec.expression"),
    ],
)
def test_a_bad_class_is_refused_with_its_field(spec: Any, path: str) -> None:
    declared = declare("QualityClass", "x", spec)
    assert [found for found, _, _ in KIND.check(declared)] == [path]


def test_the_examples_of_the_schema_are_good() -> None:
    for example in json.loads((SCHEMAS / "QualityClass.json").read_text())["examples"]:
        build(QualityClassSpec, example["spec"])
        ref = Ref("QualityClass", "", example["metadata"]["name"])
        whole = filled(QualityClassSpec, example["spec"])
        assert list(KIND.check(Declared(ref, whole, Source("x")))) == []
    assert KIND.parts == ()


# -- rules that ask for quality ----------------------------------------------------------------


def test_a_rule_gets_the_elements_of_all_classes_that_fit() -> None:
    of = asking(redundancy=3)
    found = wanted(of, world(*ELEMENTS, DISK, TAPE, of))
    assert (found.spec["copies"], found.spec["expression"]) == (3, "(quality=disk)|(quality=tape)")
    only = asking(latency="5h", placement=["IT", "CH"], redundancy=2)
    slow = world(*ELEMENTS, quality_class("tape", "4h", "quality=tape", redundancy=2, placement=["IT"]), only)
    assert wanted(only, slow).spec["copies"] == 1


def test_the_same_in_the_lake() -> None:
    of = rule(expression=None, source="higgs", quality={"latency": "1s", "redundancy": 2})
    storage = [target(f"t-{one.ref.name}", "storage") for one in ELEMENTS]
    resources, conditions = expanded(of, world(*ELEMENTS, DISK, TAPE, of, targets=storage))
    assert sorted(resources) == ["disk-a.replica", "disk-b.replica"]
    assert conditions == []


def test_no_class_that_fits_is_said_with_what_there_is() -> None:
    of = asking(latency="1ms")
    _, (condition,) = expanded(of, world(*ELEMENTS, DISK, of))
    assert (condition.word, condition.reason) == (Word.FAILED, "NoQualityClass")
    assert "disk (latency 100ms, redundancy 1, IT)" in condition.message
    assert condition.message.endswith("; declare a QualityClass, or write expression and copies")
    assert reason(of, world(*ELEMENTS, of)) == "NoQualityClass"


def test_a_rule_of_which_nobody_can_tell_what_it_wants_lets_nothing_go() -> None:
    of = asking(latency="1ms")
    stands = standing(of)
    assert held(stands, world(*ELEMENTS, of, seen=[stands])) == "LastCopy"


def test_a_class_that_is_written_anew_with_the_same_meaning_changes_no_rule() -> None:
    of = asking(latency="1s")
    stands = standing(of, State.READY, at="t-disk-a", expression="quality=disk")
    again = quality_class("disk", "200ms", "(quality=disk)")
    assert wanted(of, world(*ELEMENTS, again, of, seen=[stands])).spec["expression"] == "quality=disk"
