"""Kinds DataAccount and Scope: what a file becomes, and what can't be meant."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from reconciler.construct import filled
from reconciler.errors import Denied
from reconciler.kind import Kind, World
from reconciler.kinds import data_account, scope, storage_element
from reconciler.model import Condition, Declared, Ref, Resource, Source, Target, Word

ACCOUNT: Kind[Any] = data_account.KIND
SCOPE: Kind[Any] = scope.KIND
ELEMENT: Kind[Any] = storage_element.KIND
TARGETS = {
    "cnaf.disk": Target("cnaf.disk", "rucio", "cnaf", {"url": "https://one"}),
    "cnaf.tape": Target("cnaf.tape", "rucio", "cnaf", {"url": "https://one"}),
    "lyon": Target("lyon", "rucio", "lyon", {"url": "https://two"}),
    "lake": Target("lake", "storage", "cnaf", {"path": "lake"}),
}


def declared(kind: Kind[Any], name: str, spec: Mapping[str, Any], target: str = "cnaf.disk") -> Declared:
    return Declared(Ref(kind.name, "", name), filled(kind.spec, {"target": target, **spec}), Source("x.yaml"))


def world(*others: Declared, tag: Any = lambda _ref, _reference: "") -> World:
    def serves(target: str, primitive: str) -> bool:
        return (primitive == "StorageElement") == (target == "lake")

    return World(
        datetime(2026, 1, 1, tzinfo=UTC),
        TARGETS,
        {other.ref: other for other in others},
        {},
        {},
        lambda _ref, _target: True,
        serves=serves,
        tag=tag,
    )


def expanded(kind: Kind[Any], thing: Declared, among: World) -> Resource:
    (resource,) = kind.expand(thing, among)
    assert isinstance(resource, Resource)
    return resource


WHOLE = {
    "account": "ada_l",
    "type": "group",
    "email": "ada@example.org",
    "attributes": {"admin": True, "level": 5, "country": "it"},
    "identities": [
        {"type": "userpass", "identity": "ada", "secret": "env:ADA"},
        {"type": "x509", "identity": "/CN=Ada", "email": "x@example.org"},
    ],
    "quotas": {"local": {"cnaf-disk": "1TB", "LYON": "unlimited"}, "global": {"a=1": "2kB"}},
}


def test_an_account_in_rucios_words() -> None:
    thing = declared(ACCOUNT, "ada", WHOLE)
    resource = expanded(ACCOUNT, thing, world())
    assert resource.ref == thing.ref
    assert resource.spec == {
        "type": "GROUP",
        "email": "ada@example.org",
        "attributes": {"admin": True, "level": "5", "country": "it"},
        "identities": {"USERPASS ada": True, "X509 /CN=Ada": True},
        "quotas": {"local": {"CNAF-DISK": 10**12, "LYON": "unlimited"}, "global": {"a=1": 2000}},
    }
    assert resource.facts["natural"] == "cnaf.disk:ada_l"
    assert resource.facts["details"] == ("a=1",)
    assert resource.facts["emails"] == {"USERPASS ada": "ada@example.org", "X509 /CN=Ada": "x@example.org"}
    assert resource.facts["secrets"] == {"USERPASS ada": "env:ADA"}
    assert "env:ADA" not in repr(resource.spec)
    assert set(ACCOUNT.natural_keys(thing, "DataAccount")) == {"cnaf.disk:ada_l", "cnaf.disk:ada_l>a=1"}


def test_what_a_file_does_not_say_is_not_wished() -> None:
    assert expanded(ACCOUNT, declared(ACCOUNT, "ada", {}), world()).spec == {"type": "USER"}


def test_an_account_comes_after_the_elements_of_its_quotas() -> None:
    elements = (
        declared(ELEMENT, "cnaf-disk", {}),
        declared(ELEMENT, "tape", {"rse": "LYON"}, "cnaf.tape"),  # the same server
        declared(ELEMENT, "lyon", {}, "lyon"),  # another one
        declared(ELEMENT, "other", {}),
        declared(ELEMENT, "inlake", {"rse": "CNAF-DISK"}, "lake"),
    )
    resource = expanded(ACCOUNT, declared(ACCOUNT, "ada", WHOLE), world(*elements))
    assert {str(ref) for ref in resource.needs} == {
        "StorageElement/cnaf-disk/main.rse",
        "StorageElement/tape/main.rse",
    }


def test_a_secret_that_may_not_be_named_is_said() -> None:
    def tag(ref: Ref, reference: str) -> str:
        raise Denied(f"{ref} may not name {reference}")

    (condition,) = ACCOUNT.expand(declared(ACCOUNT, "ada", WHOLE), world(tag=tag))
    assert isinstance(condition, Condition)
    assert (condition.word, condition.reason) == (Word.WAITING, "SecretMissing")


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"account": "a" * 26}, "spec.account"),
        ({"attributes": {"reconciler.id": "x"}}, "spec.attributes.reconciler.id"),
        ({"attributes": {"a": "with space"}}, "spec.attributes.a"),
        ({"attributes": {"a": "x" * 31}}, "spec.attributes.a"),
        ({"quotas": {"local": {"A": "1.5B"}}}, "spec.quotas.local.A"),
        ({"quotas": {"global": {"a=1": "much"}}}, "spec.quotas.global.a=1"),
        ({"identities": [{"type": "userpass", "identity": "a"}]}, "spec.identities.0.secret"),
        ({"identities": [{"type": "x509", "identity": "a", "secret": "env:A"}]}, "spec.identities.0.secret"),
        ({"identities": [{"type": "x509", "identity": "a"}] * 2}, "spec.identities.1"),
    ],
)
def test_what_can_not_be_meant(spec: dict[str, Any], path: str) -> None:
    assert [problem[0] for problem in ACCOUNT.check(declared(ACCOUNT, "ada", spec))] == [path]
    assert list(ACCOUNT.check(declared(ACCOUNT, "ada", WHOLE))) == []


def test_a_name_in_git_that_is_too_long_for_rucio() -> None:
    for kind, spec in ((ACCOUNT, {}), (SCOPE, {"account": "ada"})):
        assert len(list(kind.check(declared(kind, "a" * 26, spec)))) == 1
        assert list(kind.check(declared(kind, "a" * 25, spec))) == []


def test_a_scope_comes_after_its_account() -> None:
    accounts = (
        declared(ACCOUNT, "ada", {"account": "ada_l"}, "cnaf.tape"),
        declared(ACCOUNT, "ada_l", {}, "lyon"),
        declared(ACCOUNT, "other", {}),
    )
    thing = declared(SCOPE, "user-ada", {"account": "ada_l", "scope": "user.ada"})
    resource = expanded(SCOPE, thing, world(*accounts))
    assert resource.spec == {"account": "ada_l"}
    assert resource.facts["natural"] == "cnaf.disk:user.ada"
    assert [str(ref) for ref in resource.needs] == ["DataAccount/ada"]
    assert list(SCOPE.natural_keys(thing, "Scope")) == ["cnaf.disk:user.ada"]


def test_one_thing_is_declared_once() -> None:
    for kind, spec in ((ACCOUNT, {"account": "x"}), (SCOPE, {"account": "x", "scope": "x"})):
        one, two = declared(kind, "one", spec), declared(kind, "two", spec)
        elsewhere = declared(kind, "three", spec, "lyon")
        assert [found[0] for found in kind.check_together([two, one, elsewhere])] == [two]


def test_a_target_that_nobody_declares_is_waited_for() -> None:
    for kind, spec in ((ACCOUNT, {}), (SCOPE, {"account": "x"})):
        (condition,) = kind.expand(declared(kind, "x", spec, "nowhere"), world())
        assert isinstance(condition, Condition)
        assert condition.reason == "NoTarget"
