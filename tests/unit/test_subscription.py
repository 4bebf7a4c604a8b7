"""Kind Subscription, and how its rules and its mark are said to Rucio."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.construct import filled
from reconciler.drivers.rucio.subscription_words import (
    ACTIVITY,
    read_comments,
    rule_in_our_words,
    rule_in_their_words,
    written_comments,
)
from reconciler.kind import World
from reconciler.kinds.subscription import ACTIVITY as USUAL
from reconciler.kinds.subscription import KIND, SubscriptionSpec
from reconciler.model import Condition, Declared, Mark, Ref, Resource, Source, Target, mark_id

NOW = datetime(2026, 10, 8, 12, tzinfo=UTC)
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)


def declared(called: str = "raw", /, **spec: Any) -> Declared:
    given_spec = {
        "target": "lake",
        "filter": {"scope": ["cms"]},
        "rules": [{"expression": "QoS=disk"}],
        **spec,
    }
    return Declared(
        Ref("Subscription", "", called), filled(SubscriptionSpec, given_spec), Source(f"{called}.yaml")
    )


def world(*others: Declared, driver: str = "rucio", **urls: str) -> World:
    urls = urls or {"lake": "https://rucio.example.org"}
    targets = {
        name: Target(name, driver, name, {"url": url, "account": "ours"}) for name, url in urls.items()
    }
    objects = {one.ref: one for one in others}
    serves = lambda target, _kind: targets[target].driver == "rucio"  # noqa: E731  one line of a world
    return World(NOW, targets, objects, {}, {}, lambda _ref, _target: True, serves=serves)


def expanded(one: Declared, where: World) -> Resource:
    (found,) = KIND.expand(one, where)
    assert isinstance(found, Resource)
    return found


def problems(one: Declared) -> dict[str, str]:
    return {path: message for path, message, _hint in KIND.check(one)}


def test_what_is_not_said_is_left_out_and_lifetimes_are_seconds() -> None:
    rules = [
        {"expression": "QoS=disk", "lifetime": "90d", "activity": USUAL},
        {"expression": "*", "copies": "*"},
    ]
    wish = expanded(declared(rules=rules, comment="raw data"), world())
    assert wish.spec == {
        "account": "ours",
        "name": "raw",
        "filter": {"scope": ["cms"]},
        "rules": [
            {"expression": "QoS=disk", "copies": 1, "grouping": "DATASET", "lifetime": 90 * 86400},
            {"expression": "*", "copies": "*", "grouping": "DATASET"},
        ],
        "priority": 3,
        "comment": "raw data",
    }
    assert wish.facts["natural"] == "|raw"
    assert tuple(KIND.natural_keys(declared(name="x", account="tier0"), "Subscription")) == ("tier0|x",)


def test_other_targets_of_the_same_server_could_have_it() -> None:
    where = world(lake="https://a", disk="https://a", other="https://b")
    assert expanded(declared(), where).candidates == {"disk"}


def test_it_comes_after_the_accounts_that_it_names() -> None:
    accounts = [
        Declared(Ref("DataAccount", "", name), {"target": target, "account": account}, Source("a.yaml"))
        for name, target, account in (("ours", "lake", None), ("t0", "lake", "tier0"), ("no", "lake", "x"))
    ]
    rules = [{"expression": "*", "account": "tier0"}]
    assert expanded(declared(rules=rules), world(*accounts)).needs == {accounts[0].ref, accounts[1].ref}


@pytest.mark.parametrize(("where", "reason"), [
    (world(other="https://a"), "NoTarget"),
    (world(driver="storage"), "TargetUnfit"),
])  # fmt: skip
def test_a_target_that_is_no_rucio_is_said(where: World, reason: str) -> None:
    (found,) = KIND.expand(declared(), where)
    assert isinstance(found, Condition)
    assert (found.reason, found.who) == (reason, "author")


@pytest.mark.parametrize(("rule", "path"), [
    ({"expression": "country="}, "expression"),
    ({"expression": "*", "sources": "a&"}, "sources"),
    ({"expression": "*", "copies": "2"}, "copies"),
    ({"expression": "*", "lifetime": "0d"}, "lifetime"),
])  # fmt: skip
def test_what_rucio_would_not_understand_is_found_offline(rule: dict[str, Any], path: str) -> None:
    assert list(problems(declared(rules=[{"expression": "*"}, rule]))) == [f"spec.rules.1.{path}"]


def test_two_can_not_have_one_name() -> None:
    one, same = declared(), declared("other", name="raw")
    ((found, path, _message, _hint),) = KIND.check_together(
        [same, one, declared("x", account="y", name="raw")]
    )
    assert (found.ref, path) == (max(one, same, key=lambda entry: entry.ref).ref, "spec.name")


RULES = st.fixed_dictionaries(
    {
        "expression": TEXT.filter(bool),
        "copies": st.one_of(st.integers(1, 100), st.just("*")),
        "grouping": st.sampled_from(("ALL", "DATASET", "NONE")),
    },
    optional={
        "account": st.just("tier0"),
        "activity": st.just("Express"),
        "lifetime": st.integers(1, 10**8),
        "sources": TEXT.filter(bool),
        "locked": st.just(True),
        "purge": st.just(True),
        "comment": TEXT.filter(bool),
        "options": st.dictionaries(st.sampled_from(("weight", "chained_idx")), st.integers(1, 9), min_size=1),
    },
)


@given(RULES)
def test_a_rule_comes_back_as_it_was_said(rule: dict[str, Any]) -> None:
    assert rule_in_our_words(rule_in_their_words(rule)) == rule


def test_rucio_takes_no_rule_without_an_activity() -> None:
    assert rule_in_their_words({"expression": "*", "copies": 1})["activity"] == ACTIVITY == USUAL


def test_rules_of_others_are_read_as_rucio_reads_them() -> None:
    told = {"rse_expression": "*", "copies": "2", "locked": True, "purge_replicas": "True", "lifetime": None}
    assert rule_in_our_words(told) == {"expression": "*", "copies": 2, "grouping": "DATASET", "purge": True}
    with pytest.raises(ValueError, match="rse_expression"):
        rule_in_our_words({"copies": 1})


@given(TEXT, st.booleans(), st.booleans())
def test_a_mark_comes_back_as_it_was_written(text: str, lock: bool, keep: bool) -> None:
    ref = Ref("Subscription", "", "raw")
    mark = Mark("owner-1", mark_id(ref), ref, "", lock, keep)
    said = read_comments(written_comments(mark, "lake.disk", text))
    assert (said.mark, said.target, said.text) == (mark, "lake.disk", text)


@pytest.mark.parametrize(
    "text", ["", "raw data", "rc1.owner", "rc1.o.short Subscription/x at y", "rc1.o.aa x"]
)
def test_what_others_wrote_is_no_mark(text: str) -> None:
    assert (read_comments(text).mark, read_comments(text).text) == (None, text)
