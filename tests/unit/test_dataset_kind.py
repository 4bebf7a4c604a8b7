"""Data sets as authors declare them: checks, the one thing they expand into, and when they want nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from reconciler.construct import filled
from reconciler.kind import World
from reconciler.kinds.dataset import COLUMNS, KIND, TRANSIENT, DatasetSpec
from reconciler.model import Condition, Declared, Observed, Ref, Resource, Source, Target
from reconciler.resources import bundled
from reconciler.stages.fields import of_specs

REF = Ref("Dataset", "cms", "higgs")
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def declared(name: str = "higgs", **spec: Any) -> Declared:
    written = {"target": "lake", "dataset": "cms:higgs", **spec}
    return Declared(REF._replace(name=name), filled(DatasetSpec, written), Source(f"{name}.yaml"))


def world(*others: Declared, serves: bool = True, groups: frozenset[str] | None = None) -> World:
    targets = {"lake": Target("lake", "rucio", "lake", groups=groups)}
    known = {one.ref: one for one in others}
    return World(NOW, targets, known, {}, {}, lambda *_: True, serves=lambda *_: serves)


def expanded(one: Declared, **told: Any) -> Resource | Condition:
    (found,) = KIND.expand(one, world(**told))
    return found


def problems(**spec: Any) -> list[str]:
    return [path for path, _, _ in KIND.check(declared(**spec))]


def refused(**spec: Any) -> bool:
    """Does its schema refuse this spec? Only what it says itself; what it refers to is checked elsewhere."""
    properties = bundled("Dataset")["properties"]["spec"]
    own = {**properties, "properties": {**properties["properties"], "until": {}}}
    return not Draft202012Validator(own).is_valid({"target": "lake", "dataset": "cms:higgs", **spec})


def test_what_is_left_out_is_not_managed() -> None:
    found = expanded(declared())
    assert isinstance(found, Resource)
    assert found.spec == {"dataset": "cms:higgs", "type": "dataset"}
    assert (found.ref, found.kind, found.target) == (REF, "Dataset", "lake")
    seen = {**found.spec, "metadata": {"project": "x"}, "closed": True, "until": "2026-12-01"}
    assert list(of_specs(found.spec, found.spec, seen)) == []


def test_everything_that_is_said_is_wanted() -> None:
    said: dict[str, Any] = {
        "metadata": {"project": "higgs", "seats": 4},
        "closed": False,
        "until": "2026-11-21",
    }
    found = expanded(declared(**said, contents={"list": ["b", "raw:a", "cms:b"]}))
    assert isinstance(found, Resource)
    base = {"dataset": "cms:higgs", "type": "dataset"}
    assert found.spec == {**base, **said, "contents": {"list": ["cms:b", "raw:a"]}}
    seen = {**found.spec, "metadata": {"project": "higgs", "seats": 4, "others": 1}}
    assert list(of_specs(found.spec, found.spec, seen)) == []
    seen = {**found.spec, "metadata": {"project": "other"}, "closed": True}
    changed = [entry.path for entry in of_specs(found.spec, found.spec, seen)]
    assert changed == ["closed", "metadata.project", "metadata.seats"]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, ""),
        ({"contents": {"list": ["a"]}}, " contents"),
        ({"contents": {"pattern": "a*"}}, " pattern=a*"),
        ({"metadata": {"project": "x", "transient": True}}, ""),
        ({"metadata": {"project": "x", "seats": 4}}, " metadata"),
        ({"contents": {"pattern": "a*"}, "metadata": {"seats": 4}}, " pattern=a* metadata"),
    ],
)
def test_the_key_says_what_must_be_read(spec: Mapping[str, Any], words: str) -> None:
    one = declared(**spec)
    found = expanded(one)
    assert isinstance(found, Resource)
    assert list(KIND.natural_keys(one, "Dataset")) == [found.facts["natural"]] == [f"cms:higgs{words}"]


def test_columns_take_what_rucio_takes() -> None:
    assert problems(metadata={name: "x" for name, longest in COLUMNS.items() if longest}) == []
    assert problems(metadata={"run_number": 7, TRANSIENT: True, "own": "x" * 900}) == []
    for name, value in (
        ("provenance", "toolong"),
        ("project", 7),
        ("run_number", "7"),
        ("run_number", True),
        ("task_id", 2**31),
        ("transient", "yes"),
        ("account", "root"),
        ("bytes", 3),
        ("eol_at", "2027-01-01"),
        ("lifetime", 3),
    ):
        assert problems(metadata={name: value}) == [f"spec.metadata.{name}"], name


def test_names_and_days_are_checked() -> None:
    assert problems(dataset="cms:a/b.c_d-1") == problems(until="2027-01-31") == []
    for dataset in ("cms", "cms:", ":a", "c ms:a", "cms:.a", "x" * 26 + ":a", "cms:" + "a" * 251):
        assert problems(dataset=dataset) == ["spec.dataset"], dataset
    assert problems(until="2027-02-30") == ["spec.until"]
    assert problems(contents={"list": ["a", "higgs", "cms:higgs", "raw:higgs"]}) == [
        "spec.contents.list.1",
        "spec.contents.list.2",
    ]


def test_the_schema_refuses_what_could_be_meant_in_two_ways() -> None:
    assert not refused(contents={"list": ["a", "raw:b/c"]}, closed=True, metadata={"a": 1, "b": "x"})
    assert not refused(contents={"pattern": "*"}, type="container")
    unclear: list[dict[str, Any]] = [
        {"contents": {}},
        {"contents": {"list": []}},
        {"contents": {"list": ["a"], "pattern": "a"}},
        {"contents": {"pattern": "a?"}},
        {"contents": {"pattern": "a b"}},
        {"contents": {"list": ["a*"]}},
        {"metadata": {"a.b": 1}},
        {"metadata": {"a": None}},
        {"type": "file"},
        {"closed": "yes"},
    ]
    for spec in unclear:
        assert refused(**spec), spec


def test_two_files_for_one_data_set_are_a_mistake() -> None:
    one, twin = declared("a"), declared("b")
    other = replace(declared("c"), spec={**one.spec, "target": "elsewhere"})
    ((found, path, message, _),) = KIND.check_together([twin, other, one])
    assert (found.ref.name, path) == ("b", "spec.dataset")
    assert "a.yaml" in message


@pytest.mark.parametrize(
    ("told", "spec", "reason"),
    [
        ({}, {"target": "none"}, "NoTarget"),
        ({"serves": False}, {}, "NotServed"),
        ({"groups": frozenset({"atlas"})}, {}, "TargetNotForGroup"),
        ({}, {"until": "2026-11-20"}, "LifetimeOver"),
    ],
)
def test_what_can_not_be_says_why(told: Mapping[str, Any], spec: Mapping[str, Any], reason: str) -> None:
    found = expanded(declared(**spec), **told)
    assert isinstance(found, Condition)
    assert (found.reason, found.ref, found.who) == (reason, REF, "author")


def test_its_last_day_is_part_of_its_life() -> None:
    assert isinstance(expanded(declared(until="2026-11-21")), Resource)


def test_what_an_upload_fills_has_no_declared_contents() -> None:
    spec = {"dataset": "cms:higgs", "source": "higgs", "expression": "X"}
    rule = Declared(Ref("DataRule", "cms", "r"), spec, Source("rule.yaml"))
    one = declared(contents={"pattern": "*"})
    (found,) = KIND.expand(one, world(rule))
    assert isinstance(found, Condition)
    assert (found.reason, "rule.yaml" in found.message) == ("FilledByUpload", True)
    (found,) = KIND.expand(declared(metadata={"project": "x"}), world(rule))
    assert isinstance(found, Resource)
    (found,) = KIND.expand(one, world(replace(rule, spec={**spec, "source": None})))
    assert isinstance(found, Resource)


def test_it_is_never_deleted() -> None:
    (primitive,) = KIND.parts
    assert (primitive.name, primitive.marked, primitive.by_key) == ("Dataset", "natural", True)
    assert Observed(REF, "Dataset", "lake", {}, "x").mark is None


def at(groups: Mapping[str, Any] | None, one: Declared) -> Resource | Condition:
    told = {} if groups is None else {"groups": groups}
    scene = replace(world(), targets={"lake": Target("lake", "rucio", "site", told)})
    (found,) = KIND.expand(one, scene)
    return found


def test_a_group_makes_data_sets_of_its_scopes_only() -> None:
    cms = {"cms": {"scopes": ["cms", "cms.*"]}}
    for one in (declared(), declared(dataset="cms.raw:a"), declared(contents={"list": ["b", "cms.raw:c"]})):
        assert isinstance(at(cms, one), Resource)
    far, other = declared(dataset="lhcb:b"), declared(contents={"list": ["a", "lhcb:b"]})
    for one, field in ((far, "spec.dataset"), (other, "spec.contents.list.1")):
        assert isinstance(at(None, one), Resource)
        refused = at(cms, one)
        assert isinstance(refused, Condition)
        assert refused.reason == "ScopeNotAllowed"
        assert refused.message.startswith(f"{field}: group cms may not use scope lhcb at target lake")
        assert "cms, cms.*" in refused.message
        assert "Provider/site" in refused.message


def test_a_name_early_in_the_alphabet_takes_no_data_set_from_the_group_of_its_scope() -> None:
    own = declared("z")
    other = replace(declared("a"), ref=Ref("Dataset", "atlas", "a"))
    assert [entry[0].ref for entry in KIND.check_together([other, own])] == [other.ref]
