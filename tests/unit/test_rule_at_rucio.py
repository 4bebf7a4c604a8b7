"""DataRules at Rucio: what they expand into, what they keep and say, and what they refuse to let go."""

from __future__ import annotations

import string
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.checks.schema import compiled
from reconciler.drivers.rucio.settings import SETTINGS
from reconciler.kind import World
from reconciler.kinds.data_rule import KIND
from reconciler.model import Action, Declared, Observed, Ref, State, Suspension, Word
from reconciler.placement.expanding import natural_keys_of
from reconciler.placement.primitives import PARTS
from reconciler.stages.diff import diff
from reconciler.stages.expand import expand
from reconciler.stages.scene import Scene
from tests.unit.lake_paper import (
    NOW,
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

ABC = [element("a", attributes={"x": 1}), element("b", attributes={"x": 2}), element("c")]
PRIMITIVES = {part.name: part for part in PARTS}


def changes(of: Declared, scene: World) -> list[tuple[str, str]]:
    """(action, reason) of what a pass would do for one object."""
    expansion = expand([of], {}, {"DataRule": KIND}, scene)
    found = diff(Scene(expansion, scene, PRIMITIVES, {}, frozenset(), {})).changes
    return sorted((str(change.action), change.reason) for change in found)


# -- what is wanted --------------------------------------------------------------------------


def test_elements_at_rucio_make_one_rule() -> None:
    of = rule(copies=2, expression="( x<3 )")
    found = wanted(of, world(*ABC, of))
    assert str(found.ref) == "DataRule/cms/higgs/main.rule"
    assert (found.kind, found.target, found.candidates) == ("rule", "t-a", frozenset({"t-b", "t-c"}))
    assert found.spec == {
        "dataset": "cms:higgs",
        "copies": 2,
        "expression": "(x<3)",
        "grouping": "DATASET",
        "activity": "User Subscriptions",
        "priority": 3,
        "purge": False,
        "sources": "",
        "lastCopy": "keep",
        "repairs": 3,
    }
    assert found.needs == {Ref("StorageElement", "", name, "main.rse") for name in "ab"}
    assert found.facts == {"natural": "|cms:higgs|2|(x<3)", "declared": ["A", "B", "C"]}


def test_the_same_file_makes_replicas_in_the_lake_and_in_a_rehearsal() -> None:
    of = rule(copies=2, expression="x<3", source="higgs", account="higgs", staged=True)
    for driver in ("storage", "simulated"):
        scene = world(*ABC, of, targets=[target(f"t-{name}", driver) for name in "abc"])
        resources, conditions = expanded(of, scene)
        assert sorted(resources) == ["a.replica", "b.replica"]
        assert conditions == []


def test_what_the_file_says_for_rucio_gets_there() -> None:
    said: dict[str, Any] = {
        "grouping": "ALL",
        "activity": "Debug",
        "priority": 5,
        "purge": True,
        "repairs": 0,
    }
    of = rule(**said, account="higgs", sources="a|b", lastCopy="delete", copies=3)
    found = wanted(of, world(*ABC, of))
    assert said.items() <= found.spec.items()
    assert (found.spec["account"], found.spec["sources"], found.spec["lastCopy"]) == (
        "higgs",
        "A|B",
        "delete",
    )
    assert found.facts["natural"] == "higgs|cms:higgs|3|*"


def test_elements_are_named_as_rucio_names_them() -> None:
    other = element("old-disk", rse="SITE_OLD")
    of = rule(expression="( a | old-disk ) \\ x=2")
    found = wanted(of, world(*ABC, other, of))
    assert found.spec["expression"] == "(A|SITE_OLD)\\x=2"
    assert Ref("StorageElement", "", "old-disk", "main.rse") in found.needs
    by_rse = rule(expression="SITE_OLD|B")
    assert wanted(by_rse, world(*ABC, other, by_rse)).needs == {
        Ref("StorageElement", "", name, "main.rse") for name in ("b", "old-disk")
    }


def test_a_target_that_is_named_takes_the_expression_as_it_is() -> None:
    of = rule(target="far", expression="nobody|declares=it", copies=9)
    scene = world(of, targets=[target("far")])
    found = wanted(of, scene)
    assert (found.target, found.spec["expression"], found.needs) == ("far", "nobody|declares=it", frozenset())
    assert list(KIND.targets(of)) == [("spec.target", "far")]
    assert list(KIND.targets(rule())) == []
    near = rule(target="t-a", expression="a|c|nobody")
    scene = world(*ABC, near, targets=[target("t-c", url="https://other.example.org")])
    assert wanted(near, scene).needs == {Ref("StorageElement", "", "a", "main.rse")}


@pytest.mark.parametrize(
    ("there", "why"),
    [
        ([], "NoTarget"),
        ([target("far", "storage")], "NotRucio"),
        ([target("far", groups=frozenset({"lhcb"}))], "NoPlace"),
        ([target("far", status="removed")], "NoPlace"),
    ],
)
def test_a_named_target_that_can_not_be_is_said(there: Any, why: str) -> None:
    of = rule(target="far")
    assert reason(of, world(of, targets=there)) == why


def test_a_named_target_may_be_a_rehearsal() -> None:
    of = rule(target="far", source="higgs")
    resources, conditions = expanded(of, world(of, targets=[target("far", "simulated")]))
    assert sorted(resources) == ["main.rule", "main.upload"]
    assert conditions == []


def test_elements_of_two_places_are_said() -> None:
    of = rule(source="higgs", copies=2)
    two = world(*ABC, of, targets=[target("t-c", url="https://other.example.org")])
    mixed = world(*ABC, of, targets=[target("t-c", "storage")])
    for scene, words in ((two, "https://other.example.org: c"), (mixed, "the lake: c")):
        _, (condition,) = expanded(of, scene)
        assert (condition.word, condition.reason) == (Word.FAILED, "ElementsDivided")
        assert words in condition.message
    narrow = rule(source="higgs", expression="x<3")
    assert "main.rule" in expanded(narrow, world(*ABC, narrow, targets=[target("t-c", "storage")]))[0]


def test_one_server_is_one_server_however_its_url_ends() -> None:
    of = rule(copies=3)
    slash = target("t-c", url="https://rucio.example.org/")
    assert wanted(of, world(*ABC, of, targets=[slash])).candidates == {"t-b", "t-c"}


def test_the_lake_needs_a_source_and_rucio_does_not() -> None:
    of = rule()
    assert (
        reason(of, world(*ABC, of, targets=[target(f"t-{name}", "storage") for name in "abc"])) == "NoSource"
    )
    assert wanted(of, world(*ABC, of)).kind == "rule"


# -- where it stands -------------------------------------------------------------------------


def test_a_rule_stays_at_the_target_that_knows_it() -> None:
    of = rule()
    assert wanted(of, world(*ABC, of, seen=[standing(of, at="t-c")])).target == "t-c"


def test_new_rules_go_where_something_may_be_written() -> None:
    of = rule(expression="a|b|c")
    assert wanted(of, world(*ABC, of, targets=[target("t-a", suspended="move")])).target == "t-b"
    assert wanted(of, world(*ABC, of, targets=[target("t-a", status="maintenance")])).target == "t-b"
    assert wanted(of, world(*ABC, of, blind=["t-a"])).target == "t-b"
    assert "t-a" in wanted(of, world(*ABC, of, blind=["t-a"])).candidates


def test_what_is_blind_is_not_made_anew() -> None:
    of = rule(expression="a|b|c")
    scene = world(*ABC, of, blind=["t-a"])
    expansion = expand([of], {}, {"DataRule": KIND}, scene)
    found = diff(Scene(expansion, scene, PRIMITIVES, {}, frozenset(), {}))
    assert found.changes == ()
    assert [entry.word for entry in found.conditions.values()] == [Word.BLIND]


def test_a_provider_that_goes_or_is_closed_to_the_group_is_left_out_of_the_expression() -> None:
    of = rule(expression="*")
    going = world(*ABC, of, targets=[target("t-a", status="removed")])
    assert wanted(of, going).spec["expression"] == "(*)\\A"
    assert wanted(of, going).target == "t-b"
    closed = world(*ABC, of, targets=[target("t-c", groups=frozenset({"lhcb"}))])
    found = wanted(of, closed)
    assert found.spec["expression"] == "(*)\\C"
    assert Ref("StorageElement", "", "c", "main.rse") not in found.needs


# -- what is kept ----------------------------------------------------------------------------


def test_another_text_of_the_same_meaning_is_no_change() -> None:
    of = rule(expression="b | a")
    stands = standing(of, expression="(A|B)")
    assert wanted(of, world(*ABC, of, seen=[stands])).spec["expression"] == "(A|B)"
    assert changes(of, world(*ABC, of, seen=[stands])) == []


@pytest.mark.parametrize(
    "change", [{"copies": 2}, {"expression": "A"}, {"grouping": "ALL"}, {"account": "higgs"}]
)
def test_what_rucio_can_not_change_is_replaced(change: Any) -> None:
    of = rule(expression="a|b")
    scene = world(*ABC, of, seen=[standing(of, **({"expression": "A|B"} | change))])
    assert changes(of, scene) == [("replace", "ImmutableField")]


@pytest.mark.parametrize(
    "change", [{"priority": 5}, {"activity": "Debug"}, {"purge": True}, {"sources": "A"}, {"repairs": 1}]
)
def test_what_rucio_can_change_is_updated(change: Any) -> None:
    of = rule(expression="a|b")
    scene = world(*ABC, of, seen=[standing(of, **({"expression": "A|B"} | change))])
    assert changes(of, scene) == [("update", "Differs")]


def test_a_rule_as_it_should_be_is_no_change_and_a_going_one_is_taken_back() -> None:
    of = rule(expression="a|b")
    assert changes(of, world(*ABC, of, seen=[standing(of, expression="A|B")])) == []
    going = standing(of, State.DELETING, expression="B|A")
    assert changes(of, world(*ABC, of, seen=[going])) == [("update", "Undeleted")]


def test_what_somebody_else_made_as_wanted_is_no_change() -> None:
    of = rule(expression="A|B")
    unmarked = standing(of, marked=False)
    assert changes(of, world(*ABC, of, seen=[unmarked])) == []
    keeping = rule(expression="A|B", metadata={"adopt": True})
    assert changes(keeping, world(*ABC, keeping, seen=[unmarked])) == [("update", "Adopted")]


def test_of_an_old_and_a_new_rule_the_text_of_the_one_that_fits_is_kept() -> None:
    of = rule(expression="a|b", copies=2)
    old = standing(of, uid="old", copies=1, expression="B|A")
    new = standing(of, State.PROGRESSING, uid="new", expression="(A|B)")
    assert wanted(of, world(*ABC, of, seen=[old, new])).spec["expression"] == "(A|B)"
    assert changes(of, world(*ABC, of, seen=[old, new])) == [("delete", "Superseded")]


def test_the_targets_account_comes_back_when_the_file_names_none() -> None:
    of = rule(expression="A|B")
    scene = world(*ABC, of, seen=[standing(of, account="higgs")])
    assert wanted(of, scene).spec["account"] == "robot"
    assert "account" not in wanted(of, world(*ABC, of, seen=[standing(of)])).spec


def test_the_targets_account_may_be_named_and_is_no_other_account() -> None:
    of = rule(expression="A|B", account="robot")
    scene = world(*ABC, of, seen=[standing(of)])
    assert "account" not in wanted(of, scene).spec
    assert wanted(of, scene).facts["natural"] == "robot|cms:higgs|1|A|B"
    assert changes(of, scene) == []
    assert changes(of, world(*ABC, of, seen=[standing(of, account="robot")])) == []


def test_what_it_is_called_depends_on_what_is_asked_for() -> None:
    of = rule(expression="a | b", source="higgs", account="higgs")
    assert list(natural_keys_of(of, "rule")) == ["higgs|cms:higgs|1|a|b"]
    assert list(natural_keys_of(of, "upload")) == ["cms:higgs"]
    assert list(natural_keys_of(of, "replica")) == ["cms/higgs/cms.higgs"]
    assert list(KIND.natural_keys(of, "rule")) == ["higgs|cms:higgs|1|a|b"]
    assert list(natural_keys_of(rule(staged=True), "rule")) == []
    quality = {"latency": "1s", "redundancy": 2}
    for other in (
        rule(staged=True, account="higgs"),
        rule(expression=None, quality=quality, account="higgs"),
    ):
        assert list(natural_keys_of(other, "rule")) == ["higgs|"]
    assert list(natural_keys_of(lifecycle(account="higgs"), "rule")) == ["higgs|"]
    assert list(natural_keys_of(lifecycle(), "rule")) == []
    assert list(natural_keys_of(rule(), "upload")) == []


# -- what is said before anything is written ---------------------------------------------------


def test_too_few_elements_are_said_with_numbers() -> None:
    of = rule(copies=3, expression="x<9")
    _, (condition,) = expanded(of, world(*ABC, of))
    assert (condition.word, condition.reason) == (Word.WAITING, "NotEnoughElements")
    assert "2 of 3 copies have a place" in condition.message
    stuck = element("d", availability={"write": False})
    asleep = declare("StorageElement", "e", {"target": "t-e"}, suspend=Suspension("cleaning"))
    more = rule(copies=6)
    targets = [target("t-f", status="removed"), target("t-g", suspended="move")]
    others = [stuck, asleep, element("f"), element("g")]
    _, (condition,) = expanded(more, world(*ABC, *others, more, targets=targets))
    for words in (
        "3 of 6",
        "d: not writable",
        "e: element suspended: cleaning",
        "f: provider removed",
        "g: target suspended: move",
    ):
        assert words in condition.message
    none = rule(expression="d")
    assert reason(none, world(stuck, none)) == "NoPlace"


def test_a_rule_that_stands_stays_when_elements_leave_git() -> None:
    of = rule(copies=3, expression="a|b|c|d")
    stands = standing(of, expression="A|B|C|d")
    resources, conditions = expanded(of, world(*ABC[:2], of, seen=[stands]))
    assert [entry.reason for entry in conditions] == ["NotEnoughElements"]
    assert not resources
    same = standing(of, expression="A|B|c|d")
    resources, conditions = expanded(of, world(*ABC[:2], of, seen=[same]))
    assert list(resources) == ["main.rule"]
    assert [entry.reason for entry in conditions] == ["NotEnoughElements"]


def test_an_expression_that_selects_nothing_or_can_not_be_read_is_said() -> None:
    assert reason(rule(expression="x=9"), world(*ABC, rule(expression="x=9"))) == "ExpressionSelectsNothing"
    assert reason(rule(expression="("), world(*ABC, rule(expression="("))) == "ExpressionInvalid"


def test_two_objects_can_not_have_one_rule() -> None:
    one, two = rule("one", group="cms"), rule("two", group="lhcb")
    _, (condition,) = expanded(two, world(*ABC, one, two))
    assert (condition.word, condition.reason) == (Word.FAILED, "SameRule")
    assert "DataRule/cms/one (one.yaml:1)" in condition.message
    assert wanted(one, world(*ABC, one, two)).kind == "rule"
    for change in ({"copies": 2}, {"expression": "a"}, {"account": "other"}, {"dataset": "cms:other"}):
        other = rule("two", group="lhcb", **change)
        assert wanted(other, world(*ABC, one, other)).kind == "rule"


def test_a_target_that_is_named_opens_no_element_that_is_closed_to_the_group() -> None:
    closed = [target("t-c", groups=frozenset({"lhcb"}))]
    for said, meant in (
        ("*", "(*)\\C"),
        ("a|c", "(A|C)\\C"),
        ("x<3", "(x<3)\\C"),
        ("secret=yes", "(secret=yes)\\C"),
        ("nobody", "(nobody)\\C"),
        ("a|b", "A|B"),
    ):
        of = rule(target="t-a", expression=said)
        assert wanted(of, world(*ABC, of, targets=closed)).spec["expression"] == meant
    going = rule(target="t-a", expression="*")
    scene = world(*ABC, going, targets=[target("t-b", status="removed")])
    assert wanted(going, scene).spec["expression"] == "(*)\\B"
    assert "declared" not in wanted(going, scene).facts
    far = [target("t-c", url="https://other.example.org", groups=frozenset({"lhcb"}))]
    assert wanted(going, world(*ABC, going, targets=far)).spec["expression"] == "*"


@pytest.mark.parametrize("named", [{}, {"target": "t-a"}])
def test_nothing_new_comes_to_a_limited_provider_and_what_stands_stays(named: Any) -> None:
    of = rule(expression="*", **named)
    limited = [target("t-c", status="limited")]
    assert wanted(of, world(*ABC, of, targets=limited)).spec["expression"] == "(*)\\C"
    for text in ("*", "(*)\\C"):
        scene = world(*ABC, of, seen=[standing(of, expression=text)], targets=limited)
        assert changes(of, scene) == []
    more = rule(expression="*", copies=2, **named)
    old = standing(more, copies=1)
    assert wanted(more, world(*ABC, more, seen=[old], targets=limited)).spec["expression"] == "(*)\\C"


def test_a_limited_target_that_is_named_takes_no_new_rule() -> None:
    of, limited = rule(target="far"), [target("far", status="limited")]
    assert reason(of, world(of, targets=limited)) == "NoPlace"
    assert changes(of, world(of, seen=[standing(of, at="far")], targets=limited)) == []


def test_a_rule_is_told_which_elements_are_declared_for_its_group() -> None:
    of = rule(expression="a")
    two = [target("t-b", groups=frozenset({"lhcb"})), target("t-c", url="https://other.example.org")]
    assert wanted(of, world(*ABC, of)).facts["declared"] == ["A", "B", "C"]
    assert wanted(of, world(*ABC, of, targets=two)).facts["declared"] == ["A"]


# -- whose data, whose account, who comes first ----------------------------------------------------


def tenants(name: str, **groups: Any) -> Any:
    plain = target(name)
    return replace(plain, settings={**plain.settings, "groups": groups})


CMS = {"scopes": ["cms", "cms.*"], "accounts": ["higgs", "cms-*"]}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, ""),
        ({"dataset": "cms.raw:x"}, ""),
        ({"dataset": "cmsx:x"}, "ScopeNotAllowed"),
        ({"dataset": "lhcb:x"}, "ScopeNotAllowed"),
        ({"account": "higgs"}, ""),
        ({"account": "cms-top"}, ""),
        ({"account": "robot"}, ""),
        ({"account": "root"}, "AccountNotAllowed"),
        ({"group": "lhcb"}, "ScopeNotAllowed"),
        ({"group": "alice"}, "ScopeNotAllowed"),
    ],
)
@pytest.mark.parametrize("where", [{"expression": "a|b"}, {"expression": "nobody", "target": "t-b"}])
def test_a_group_uses_its_scopes_and_accounts_only(change: Any, why: str, where: Any) -> None:
    of = rule(**{**where, **change})
    there = [tenants("t-b", cms=CMS, lhcb={"scopes": ["lhcb"]})]
    resources, conditions = expanded(of, world(*ABC, of, targets=there))
    assert [entry.reason for entry in conditions] == ([why] if why else [])
    assert bool(resources) == (not why)
    assert wanted(of, world(*ABC, of)).kind == "rule"
    if why:
        field = "spec.dataset" if why == "ScopeNotAllowed" else "spec.account"
        assert conditions[0].message.startswith(f"{field}: group {of.ref.group} may not ")
        assert "Provider/t-b" in conditions[0].message


@pytest.mark.parametrize(
    ("groups", "good"),
    [
        ({}, True),
        ({"cms": CMS, "lhcb-2": {"scopes": []}}, True),
        ({"cms": {"accounts": ["higgs"]}}, False),
        ({"cms": {"scopes": "cms"}}, False),
        ({"cms": {"scopes": ["c ms"]}}, False),
        ({"cms": {**CMS, "colour": "green"}}, False),
        ({"CMS!": CMS}, False),
    ],
)
def test_what_groups_may_use_is_a_setting(groups: Any, *, good: bool) -> None:
    auth = {"type": "oidc", "token": "file:/run/token"}
    whole = {"url": "https://rucio.example.org", "account": "robot", "auth": auth, "groups": groups}
    assert compiled(SETTINGS)(whole) == good


def test_a_rule_that_a_group_may_not_have_is_neither_made_nor_removed() -> None:
    of = rule(dataset="lhcb:x", expression="a")
    scene = world(*ABC, of, seen=[standing(of, expression="A")], targets=[tenants("t-a", cms=CMS)])
    assert changes(of, scene) == []


def pair(**more: Any) -> tuple[Declared, Declared]:
    """A newcomer whose name is early in the alphabet, and the one that should come first."""
    return rule("a", group="alice", **more), rule("z", **{"group": "lhcb", **more})


def first(*rules: Declared, **scene: Any) -> str:
    """Which of two has its rule; the other is told why not."""
    found = {one.ref.group: expanded(one, world(*ABC, *rules, **scene))[1] for one in rules}
    assert sorted(why.reason for whys in found.values() for why in whys) == ["SameRule"]
    return next(group for group, whys in found.items() if not whys)


def test_the_group_of_the_scope_comes_first_then_what_stands_then_the_name() -> None:
    new, old = pair(expression="A")
    assert first(new, old) == "alice"
    assert first(new, old, seen=[standing(old)]) == "lhcb"
    assert first(new, old, seen=[standing(old, marked=False)]) == "alice"
    early = standing(new, uid="r2", since="2026-10-02T00:00:00+00:00")
    assert first(new, old, seen=[standing(old), early]) == "lhcb"
    own = rule("z", group="cms", expression="A")
    assert first(new, own) == "cms"
    assert first(new, own, seen=[standing(new)]) == "cms"
    near, far = (replace(one, spec={**one.spec, "expression": "nobody"}) for one in (old, new))
    near, far = (replace(one, spec={**one.spec, "target": at}) for one, at in ((near, "t-a"), (far, "t-b")))
    assert first(far, near) == "alice"
    assert first(far, near, targets=[tenants("t-a", lhcb={"scopes": ["cms"]})]) == "lhcb"


def test_who_may_not_have_it_stands_in_nobodys_way() -> None:
    new, old = rule("a", expression="A", source="higgs"), pair(expression="A", source="higgs")[1]
    targets = [tenants("t-a", lhcb={"scopes": ["cms"]})]
    scene = world(*ABC, new, old, targets=targets)
    assert reason(new, scene) == "ScopeNotAllowed"
    assert sorted(expanded(old, scene)[0]) == ["main.rule", "main.upload"]


def test_nobody_brings_other_content_by_a_name_that_is_early() -> None:
    new, _ = pair(source="other", expression="b")
    for old, seen in (
        (rule("z", source="higgs", expression="A"), []),
        (rule("z", group="lhcb", source="higgs", expression="A"), [1]),
    ):
        stands = [standing(old) for _ in seen]
        scene = world(*ABC, new, old, seen=stands)
        assert "main.upload" in expanded(old, scene)[0]
        assert reason(new, scene) == "SourcesDiffer"


@pytest.mark.parametrize("bad", ["yesterday", "2026-13-01", "", "0001-01-01T00:00:00+14:00"])
def test_a_time_that_is_none_is_not_believed(bad: str) -> None:
    of = rule(copies=2, lifetime="52w")
    thing = standing(of, attributes={"begun": bad})
    assert wanted(of, world(*ABC, of, seen=[thing])).facts["begun"] == thing.since
    lost = replace(thing, since="never")
    assert "begun" not in wanted(of, world(*ABC, of, seen=[lost])).facts
    foreign = standing(of, marked=False, since="2020-01-01T00:00:00+00:00")
    assert "begun" not in wanted(of, world(*ABC, of, seen=[foreign])).facts


def test_what_is_wrong_with_us_is_not_blamed_on_the_expression() -> None:
    of = rule(lifetime="soon")
    with pytest.raises(ValueError, match="not a duration"):
        expanded(of, world(*ABC, of, seen=[standing(of)]))


QUOTA = {"target": "t-a", "account": "higgs", "quotas": {"local": {"a": "10kB"}, "global": {"x<3": "15kB"}}}


@pytest.mark.parametrize(
    ("size", "used", "places"),
    [
        (1, {}, 3),
        (10_000, {}, 3),
        (10_001, {}, 2),
        (15_001, {}, 1),
        (1000, {"A": {"bytes": 9500}}, 2),
        (1000, {"A": {"bytes": 9000}, "B": {"bytes": 5500}}, 1),
        (0, {"A": {"bytes": 10_000}}, 2),
    ],
)
def test_quotas_are_said_with_numbers(size: int, used: Any, places: int) -> None:
    account = declare("DataAccount", "higgs", QUOTA)
    of = rule(copies=3, account="higgs", source="higgs")
    upload = replace(
        standing(of), ref=of.ref.with_part("main", "upload"), kind="upload", attributes={"bytes": size}
    )
    account_seen = replace(standing(of), ref=account.ref, kind="DataAccount", attributes={"use": used})
    _, conditions = expanded(of, world(*ABC, account, of, seen=[upload, account_seen]))
    if places == 3:
        assert conditions == []
    else:
        assert f"{places} of 3 copies have a place" in conditions[0].message
        assert "bytes left of its quota" in conditions[0].message
    own = rule(copies=3, source="higgs")
    assert expanded(own, world(*ABC, account, own, seen=[account_seen]))[1] == []


def test_what_is_declared_and_not_there_yet_comes_first() -> None:
    scope = declare("Scope", "one", {"target": "t-a", "scope": "cms", "account": "root"})
    account = declare("DataAccount", "higgs", {"target": "t-b"})
    data = declare("Dataset", "d", {"target": "t-a", "dataset": "cms:higgs"}, "cms")
    far = declare("Scope", "cms", {"target": "far", "account": "root"})
    of = rule(expression="a", account="higgs")
    targets = [target("far", url="https://other.example.org")]
    needs = wanted(of, world(*ABC, scope, account, data, far, of, targets=targets)).needs
    assert needs == {Ref("StorageElement", "", "a", "main.rse"), scope.ref, account.ref, data.ref}
    there = replace(standing(of), ref=data.ref, kind="Dataset", state=State.FAILED)
    assert data.ref not in wanted(of, world(*ABC, data, of, seen=[there])).needs


# -- uploads ---------------------------------------------------------------------------------


def test_a_source_is_uploaded_first() -> None:
    of = rule(expression="a", source="2026/higgs")
    resources, _ = expanded(of, world(*ABC, of))
    upload = resources["main.upload"]
    assert (upload.kind, upload.target) == ("upload", "t-a")
    assert upload.spec == {"dataset": "cms:higgs", "source": "2026/higgs"}
    assert upload.facts == {"natural": "cms:higgs", "element": "A", "uploads": ["uploads"], "mounts": []}
    assert upload.needs == {Ref("StorageElement", "", "a", "main.rse")}
    assert resources["main.rule"].needs == {*upload.needs, upload.ref}


def test_disks_come_before_tapes_and_open_ones_before_closed_ones() -> None:
    tapes = [element(f"tape{number}", type="tape") for number in range(9)]
    of = rule(source="higgs")
    scene = world(*tapes, ABC[0], of)
    assert expanded(of, scene)[0]["main.upload"].facts["element"] == "A"
    only = rule(source="higgs", expression="*\\a")
    assert expanded(only, world(*tapes, ABC[0], only))[0]["main.upload"].facts["element"].startswith("TAPE")
    asleep = world(*ABC[:2], of, targets=[target("t-a", status="maintenance")])
    assert expanded(of, asleep)[0]["main.upload"].facts["element"] == "B"


def test_one_rule_brings_the_data_for_all() -> None:
    one, two = rule("one", source="higgs", expression="a"), rule("two", source="higgs", expression="b")
    scene = world(*ABC, one, two)
    assert "main.upload" in expanded(one, scene)[0]
    resources, conditions = expanded(two, scene)
    assert list(resources) == ["main.rule"]
    assert one.ref.with_part("main", "upload") in resources["main.rule"].needs
    assert conditions == []
    other = rule("two", source="other", expression="b")
    resources, (condition,) = expanded(other, world(*ABC, one, other))
    assert not resources
    assert condition.reason == "SourcesDiffer"
    plain = rule("two", expression="b")
    assert wanted(plain, world(*ABC, one, plain)).needs == {Ref("StorageElement", "", "b", "main.rse")}


def test_an_upload_needs_an_element_that_is_declared() -> None:
    of = rule(target="far", source="higgs")
    assert reason(of, world(of, targets=[target("far")])) == "NoElement"


# -- staged ----------------------------------------------------------------------------------


def copies(of: Declared, *seen: Observed, others: Any = ()) -> int:
    found: int = wanted(of, world(*ABC, of, *others, seen=seen)).spec["copies"]
    return found


def test_staged_brings_one_copy_and_then_all() -> None:
    of = rule(copies=3, staged=True)
    one = standing(of, State.PROGRESSING, copies=1)
    assert copies(of) == 1
    assert copies(of, one) == 1
    assert copies(of, standing(of, State.FAILED, copies=1)) == 1
    assert copies(of, standing(of, copies=1)) == 3
    whole = standing(of, State.PROGRESSING, uid="r2")
    assert copies(of, standing(of, copies=1), whole) == 3
    assert copies(of, whole) == 3
    assert copies(of, replace(one, state=State.DELETING)) == 1


def test_staged_never_goes_back_and_does_not_wait_for_what_is_there() -> None:
    of = rule(copies=3, staged=True)
    assert copies(of, standing(of, State.FAILED, copies=2)) == 3
    other = rule("other", expression="a")
    assert copies(of, standing(other), others=[other]) == 3
    assert copies(of, standing(other, State.PROGRESSING), others=[other]) == 1


# -- lifetime --------------------------------------------------------------------------------


def test_a_new_rule_is_told_since_when_there_were_copies() -> None:
    of = rule(copies=2, lifetime="52w")
    old = standing(
        of, copies=1, since="2026-10-05T00:00:00+00:00", attributes={"begun": "2026-09-01T00:00:00+00:00"}
    )
    assert wanted(of, world(*ABC, of, seen=[old])).facts["begun"] == "2026-09-01T00:00:00+00:00"
    plain = standing(of, copies=1)
    assert wanted(of, world(*ABC, of, seen=[plain])).facts["begun"] == plain.since


def test_after_the_lifetime_one_copy_stays_until_the_file_goes() -> None:
    of = rule(copies=2, lifetime="7d", source="higgs")
    begun = {"begun": "2026-10-01T00:00:00+00:00"}
    stands = standing(of, attributes=begun, since="2026-10-08T00:00:00+00:00")
    resources, (condition,) = expanded(of, world(*ABC, of, seen=[stands]))
    assert list(resources) == ["main.rule"]
    assert resources["main.rule"].spec["copies"] == 1
    assert (condition.word, condition.reason) == (Word.WAITING, "LifetimeOver")
    assert ("replace", "ImmutableField") in changes(of, world(*ABC, of, seen=[stands]))
    left = standing(of, copies=1, attributes=begun)
    assert changes(of, world(*ABC, of, seen=[left])) == []
    young = standing(of, attributes={"begun": (NOW - timedelta(days=6)).isoformat()})
    assert expanded(of, world(*ABC, of, seen=[young]))[1] == []


def test_another_data_set_has_a_clock_of_its_own() -> None:
    of = rule(lifetime="7d")
    old = standing(of, dataset="cms:old", since="2020-01-01T00:00:00+00:00")
    found = wanted(of, world(*ABC, of, seen=[old]))
    assert "begun" not in found.facts


# -- what must not go --------------------------------------------------------------------------


def test_the_last_rule_of_a_removed_file_is_held() -> None:
    of = rule()
    assert held(standing(of), world(*ABC, seen=[standing(of)])) == "LastCopy"
    said = standing(of, lastCopy="delete")
    assert held(said, world(*ABC, seen=[said])) == "LastCopyApproval"
    for state in (State.PROGRESSING, State.FAILED):
        assert held(standing(of, state), world(*ABC, seen=[standing(of, state)])) == "LastCopy"


def test_what_waits_for_approval_or_is_half_made_protects_nothing() -> None:
    of = rule()
    for thing in (
        standing(of, State.PROGRESSING, reason="WaitingApproval"),
        standing(of, State.FAILED, reason="Partial"),
    ):
        assert held(thing, world(*ABC, seen=[thing])) == ""


def test_the_words_of_the_file_count_when_they_stand_at_rucio() -> None:
    """Only what was applied before counts: one commit takes the protection off, the next the rule."""
    of = rule(lastCopy="delete", dataset="cms:new")
    old = standing(of, dataset="cms:higgs", lastCopy="keep")
    assert held(old, world(*ABC, of, seen=[old])) == "LastCopy"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ""),
        ({"state": State.PROGRESSING}, "LastCopy"),
        ({"state": State.FAILED}, "LastCopy"),
        ({"state": State.DELETING}, "LastCopy"),
        ({"marked": False}, "LastCopy"),
        ({"at": "t-c"}, "LastCopy"),
        ({"dataset": "cms:other"}, "LastCopy"),
    ],
)
def test_another_sound_rule_of_ours_protects(change: Any, expected: str) -> None:
    gone, other = rule("gone"), rule("other", group="lhcb", expression="b")
    thing, its = standing(gone), standing(other, uid="r2", **{"at": "t-b", **change})
    far = [target("t-c", url="https://other.example.org")]
    assert held(thing, world(*ABC, other, seen=[thing, its], targets=far)) == expected


def test_what_is_not_declared_or_wants_other_data_protects_nothing() -> None:
    gone, other = rule("gone"), rule("other", expression="b")
    moved = rule("other", expression="b", dataset="cms:new")
    thing, its = standing(gone), standing(other, uid="r2")
    assert held(thing, world(*ABC, seen=[thing, its])) == "LastCopy"
    assert held(thing, world(*ABC, moved, seen=[thing, its])) == "LastCopy"


def test_another_data_set_leaves_the_old_one_protected() -> None:
    of = rule(dataset="cms:new")
    old, new = standing(of, dataset="cms:old"), standing(of, uid="r2")
    assert held(old, world(*ABC, of, seen=[old, new])) == "LastCopy"
    asked = replace(old, spec={**old.spec, "lastCopy": "delete"})
    assert held(asked, world(*ABC, of, seen=[asked, new])) == "LastCopyApproval"


def test_a_predecessor_waits_for_its_successor() -> None:
    of = rule(copies=2)
    old = standing(of, uid="old", copies=1)
    for state, expected in (
        (State.READY, ""),
        (State.PROGRESSING, "LastCopy"),
        (State.FAILED, "LastCopy"),
        (State.DELETING, "LastCopy"),
    ):
        new = standing(of, state, uid="new")
        assert held(old, world(*ABC, of, seen=[old, new])) == expected
        assert held(old, world(*ABC, of, seen=[old, new]), Action.REPLACE) == ""


def test_fewer_copies_are_a_wish_like_any_other() -> None:
    of = rule(copies=1)
    old, new = standing(of, uid="old", copies=3), standing(of, uid="new")
    assert held(old, world(*ABC, of, seen=[old, new])) == ""
    assert held(old, world(*ABC, of, seen=[old])) == "LastCopy"


def test_two_that_are_not_wanted_do_not_stand_in_for_each_other() -> None:
    of = rule(copies=1, expression="c")
    more, less = standing(of, uid="more", copies=3, expression="A"), standing(of, uid="less", expression="B")
    scene = world(*ABC, of, seen=[more, less])
    assert (held(less, scene), held(more, scene)) == ("", "LastCopy")
    gone = world(*ABC, seen=[more, less])
    assert (held(less, gone), held(more, gone)) == ("", "LastCopy")


def test_what_is_stuck_stays_while_only_fewer_copies_are_sound() -> None:
    """It may hold more good copies than the sound one, and all of them are still wished."""
    of = rule(copies=3, expression="*")
    few = standing(of, uid="few", copies=1, expression="A")
    stuck = standing(of, State.FAILED, uid="stuck", expression="A|B|C|nothing")
    assert held(stuck, world(*ABC, of, seen=[few, stuck])) == "LastCopy"
    less = rule(copies=1, expression="*")
    assert held(stuck, world(*ABC, less, seen=[few, stuck])) == ""


def test_elements_that_moved_to_another_server_take_no_rule_along() -> None:
    of = rule(expression="c")
    old = standing(of, expression="A")
    new = standing(of, uid="r2", at="t-c", expression="C")
    far = [target("t-c", url="https://other.example.org")]
    assert held(old, world(*ABC, of, seen=[old, new], targets=far)) == "LastCopy"


def test_copies_in_the_lake_stay_when_their_file_goes_to_rucio() -> None:
    of = rule(source="higgs", expression="a")
    ref = of.ref.with_part("old", "replica")
    replica = replace(standing(of), ref=ref, kind="replica", target="t-old", spec={"dataset": "cms:higgs"})
    assert held(replica, world(*ABC, of, seen=[replica, standing(of)])) == "LastCopy"


# -- the law, on paper -------------------------------------------------------------------------

WISHES = st.tuples(st.integers(1, 3), st.sampled_from(["a|b|c", "c|b|a", "*", "a|b|c|x=1"]))
STATES = st.sampled_from([State.READY, State.READY, State.PROGRESSING, State.FAILED])
EVENTS = st.one_of(
    st.tuples(st.just("wish"), WISHES),
    st.tuples(st.just("states"), st.lists(STATES, min_size=6, max_size=6)),
    st.tuples(st.just("gone"), st.booleans()),
)


def sound(rules: list[Observed]) -> int:
    return max((one.spec["copies"] for one in rules if one.state is State.READY), default=0)


def one_pass(of: Declared | None, rules: list[Observed], uids: Any) -> list[Observed]:
    """Create what is wanted, and delete at once whatever the kind lets go: no order of the engine helps."""
    for _ in range(2):
        declared = [*ABC, *([of] if of else [])]
        scene = world(*declared, seen=rules)
        kinds = {"DataRule": KIND}
        expansion = expand([of] if of else [], {}, kinds, scene)
        for change in diff(Scene(expansion, scene, PRIMITIVES, {}, frozenset(), {})).changes:
            if change.action in (Action.CREATE, Action.REPLACE) and change.want is not None:
                made = standing(rule(), State.PROGRESSING, uid=next(uids), **change.want.spec)
                rules = [*rules, replace(made, since=f"2026-10-01T00:00:{len(made.uid):02}+00:00")]
        for thing in list(rules):
            wish = expansion.resources.get(thing.ref)
            kept = wish is not None and thing.spec == wish.spec
            if not kept and held(thing, world(*declared, seen=rules)) == "":
                rules = [one for one in rules if one.uid != thing.uid]
    return rules


@settings(max_examples=60, deadline=None)
@given(st.lists(EVENTS, min_size=1, max_size=12))
def test_sound_copies_are_never_fewer_than_wished_or_before(events: Any) -> None:
    uids = iter(string.ascii_letters)
    of: Declared | None = rule(copies=2, expression="a|b|c")
    rules: list[Observed] = []
    for what, value in events:
        if what == "wish":
            of = rule(copies=value[0], expression=value[1])
        elif what == "gone":
            of = None if value else of
        else:
            rules = [replace(one, state=state) for one, state in zip(rules, [*value] * 9, strict=False)]
        before = rules
        rules = one_pass(of, rules, uids)
        least = of.spec["copies"] if of else sound(before)
        assert sound(rules) >= min(sound(before), least)
        assert rules or not before
