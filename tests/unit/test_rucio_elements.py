"""Storage elements, accounts and scopes at Rucio, on paper: what files become, and what marks say.

On a real Rucio: tests/live/test_rucio_elements.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from reconciler.construct import filled
from reconciler.drivers.rucio.account_reading import Account, limit_of
from reconciler.drivers.rucio.element_marks import (
    asked,
    element_mark,
    own,
    read_account_mark,
    read_element_mark,
    refuse_foreign,
)
from reconciler.drivers.rucio.element_reading import Element
from reconciler.errors import NotOurs
from reconciler.kind import Ask, World
from reconciler.kinds.storage_element import KIND
from reconciler.model import Declared, Mark, Metadata, Ref, Resource, Source, Target, Word
from reconciler.placement.naming import kept, natural_key, rse_named

ID = "abcdefghijklmnopqrst"
RUCIO = frozenset({"rse", "DataAccount", "Scope", "rule"})


def declared(spec: Mapping[str, Any], name: str = "cnaf-disk", **metadata: Any) -> Declared:
    whole = filled(KIND.spec, {"target": "cnaf.rucio", **spec})
    return Declared(Ref("StorageElement", "", name), whole, Source("e.yaml"), Metadata(**metadata))


def world(serves: Collection[str] = RUCIO) -> World:
    targets = {name: Target(name, "any", "cnaf") for name in ("cnaf.rucio", "cnaf.other")}
    return World(
        datetime(2026, 1, 1, tzinfo=UTC),
        targets,
        {},
        {},
        {},
        lambda _ref, _target: True,
        serves=lambda _target, primitive: primitive in serves,
    )


def wanted(spec: Mapping[str, Any], name: str = "cnaf-disk", serves: Collection[str] = RUCIO) -> Resource:
    (resource,) = KIND.expand(declared(spec, name), world(serves))
    assert isinstance(resource, Resource)
    return resource


# ── what a file becomes ──────────────────────────────────────────────────────────────────────────


def test_where_storage_is_ours_an_element_is_what_it_was() -> None:
    for serves in ({"StorageElement"}, {"StorageElement", "rse"}, set[str]()):
        resource = wanted({"attributes": {"tier": 1}, "capacity": "1GB", "type": "disk"}, serves=serves)
        assert (resource.kind, str(resource.ref)) == ("StorageElement", "StorageElement/cnaf-disk")
        assert resource.spec == {"attributes": {"tier": 1}, "capacity": "1GB"}
        assert resource.facts == {"natural": "cnaf-disk"}


def test_at_rucio_it_is_an_rse_in_its_words_and_only_what_the_file_names() -> None:
    resource = wanted({"attributes": {"tier": 1, "greedyDeletion": True, "odd": "False"}})
    assert str(resource.ref) == "StorageElement/cnaf-disk/main.rse"
    assert resource.kind == "rse"
    assert resource.spec == {"attributes": {"tier": "1", "greedyDeletion": True, "odd": False}}
    assert resource.facts["natural"] == "cnaf.rucio:CNAF-DISK"
    assert not resource.needs


def test_everything_that_a_file_can_say() -> None:
    spec = {
        "rse": "INFN_DISK",
        "type": "tape",
        "quality": "slow",
        "deterministic": False,
        "volatile": False,
        "verifyChecksum": False,
        "availability": {"write": False},
        "limits": {"minFreeSpace": "2TB", "maxBeingDeletedFiles": 0},
        "distances": {"cnaf-tape": 1, "BARI_X": 2},
        "protocols": [
            {"scheme": "davs", "hostname": "x.org", "port": 443, "prefix": "/r", "domains": {"lan": {}}},
            {"scheme": "file", "prefix": "/data", "extendedAttributes": {"a": 1}},
        ],
    }
    resource = wanted(spec)
    assert resource.spec == {
        "attributes": {"verify_checksum": False},
        "type": "TAPE",
        "quality": "slow",
        "deterministic": False,
        "volatile": False,
        "availability": {"write": False},
        "limits": {"MinFreeSpace": 2 * 10**12, "MaxBeingDeletedFiles": 0},
        "distances": {"CNAF-TAPE": 1, "BARI_X": 2},
        "protocols": {
            "davs://x.org:443": {
                "prefix": "/r",
                "impl": "rucio.rse.protocols.gfal.Default",
                "domains": {"lan": {}},
            },
            "file://localhost:0": {
                "prefix": "/data",
                "impl": "rucio.rse.protocols.posix.Default",
                "extendedAttributes": {"a": 1},
            },
        },
    }
    assert set(KIND.natural_keys(declared(spec), "rse")) == {
        "cnaf.rucio:INFN_DISK",
        "cnaf.rucio:INFN_DISK>CNAF-TAPE",
        "cnaf.rucio:INFN_DISK>BARI_X",
    }
    assert resource.facts["details"] == ("BARI_X", "CNAF-TAPE")


def test_a_target_that_nobody_declares_is_waited_for() -> None:
    (condition,) = KIND.expand(declared({"target": "nowhere"}), world())
    assert (condition.word, condition.reason) == (Word.WAITING, "NoTarget")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"type": "disk", "attributes": {"reconciler": "x"}}, "spec.attributes.reconciler"),
        ({"type": "disk", "attributes": {"CNAF-DISK": True}}, "spec.attributes.CNAF-DISK"),
        ({"limits": {"minFreeSpace": "1.5B"}}, "spec.limits.minFreeSpace"),
        ({"capacity": "1.5B"}, "spec.capacity"),
        ({"protocols": [{"scheme": "file", "prefix": "/a"}] * 2}, "spec.protocols.1"),
    ],
)
def test_what_can_not_be_meant(spec: dict[str, Any], path: str) -> None:
    assert [problem[0] for problem in KIND.check(declared(spec))] == [path]


def test_a_name_that_rucio_does_not_take() -> None:
    assert [one[0] for one in KIND.check(declared({"type": "disk"}, "a--b"))] == ["spec.rse"]
    assert list(KIND.check(declared({"type": "disk", "rse": "A-B"}, "a--b"))) == []
    assert list(KIND.check(declared({}, "a--b"))) == []


def test_elements_that_are_one_and_distances_by_a_name_that_is_not_theirs() -> None:
    one, other = declared({"rse": "X"}, "one"), declared({"rse": "X"}, "two")
    elsewhere = declared({"rse": "X", "target": "cnaf.other"}, "three")
    assert [(entry[0], entry[1]) for entry in KIND.check_together([other, one, elsewhere])] == [
        (other, "spec.rse")
    ]
    far = declared({"distances": {"one": 1, "plain": 2, "unknown": 3}}, "far")
    found = list(KIND.check_together([one, far, declared({}, "plain")]))
    assert [(entry[1], entry[3]) for entry in found] == [("spec.distances.one", "write X")]


def test_names_and_values_as_rucio_keeps_them() -> None:
    assert (rse_named("cnaf-disk"), rse_named("CNAF_Disk"), rse_named("Mixed")) == (
        "CNAF-DISK",
        "CNAF_Disk",
        "Mixed",
    )
    assert [kept(value) for value in (1, True, "TRUE", "false", "x", "1.5")] == [
        "1",
        True,
        True,
        False,
        "x",
        "1.5",
    ]


# ── marks and keys ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("lock", "keep"), [(False, False), (True, False), (False, True), (True, True)])
def test_a_mark_is_read_as_it_was_written(*, lock: bool, keep: bool) -> None:
    mark = Mark("owner-of-thirty-characters-000", ID, lock=lock, keep=keep)
    assert read_element_mark(element_mark(mark)) == mark
    _, _, rest = element_mark(mark).partition(".")
    identity = rest.partition(".")[2]
    assert len(identity) <= 30  # what an account's attribute takes
    assert read_account_mark({"reconciler": mark.owner, "reconciler.id": identity}) == mark


@pytest.mark.parametrize("value", [None, "", "yes", True, "rc1", "rc1.owner", "rc1..id", "rc2.owner.id"])
def test_what_is_no_mark(value: Any) -> None:
    assert read_element_mark(value) is None


def test_whose_a_thing_is() -> None:
    ours, theirs = Mark("me", ID), Mark("they", ID)
    assert own(ours, "me", bare=False) == ours
    assert own(theirs, "me", bare=False) is None
    assert own(None, "me", bare=False) is None
    assert own(None, "me", bare=True) == Mark("me", "")


def test_what_is_not_ours_needs_adoption_and_what_is_anothers_is_never_taken() -> None:
    ours, theirs = Mark("me", ID), Mark("they", ID)
    plain, adopting = (
        Resource(Ref("Scope", "", "x"), "Scope", "t", {}, Source("x"), Metadata(adopt=adopt))
        for adopt in (False, True)
    )
    refuse_foreign(ours, ours, plain, "it", bare=False)
    refuse_foreign(None, ours, plain, "it", bare=True)
    refuse_foreign(None, ours, adopting, "it", bare=False)
    with pytest.raises(NotOurs):
        refuse_foreign(None, ours, plain, "it", bare=False)
    with pytest.raises(NotOurs, match="they"):
        refuse_foreign(theirs, ours, adopting, "it", bare=False)


def test_keys_of_other_targets_and_other_kinds_are_not_ours_to_read() -> None:
    keys = {
        natural_key("cnaf.rucio", "A"),
        natural_key("cnaf.rucio", "A", "C"),
        natural_key("cnaf.rucio", "A", "country=IT&tier>1"),
        natural_key("cnaf", "B"),
        "cnaf-disk",
    }
    assert asked("cnaf.rucio", Ask("me", frozenset(keys))) == {"A": ("C", "country=IT&tier>1")}
    assert asked("cnaf", Ask("me", frozenset(keys))) == {"B": ()}


def test_bare_is_what_has_nothing_but_its_name() -> None:
    nothing: dict[str, Any] = {"attributes": {}, "protocols": {}, "limits": {}}
    assert Element("A", nothing, None, "").bare
    for key in nothing:
        assert not Element("A", {**nothing, key: {"a": 1}}, None, "").bare
    assert not Element("A", nothing, None, "rc1.me.x").bare
    assert not Element("A", nothing, None, "", files=1).bare
    empty: dict[str, Any] = {"attributes": {}, "identities": {}, "quotas": {"local": {}, "global": {}}}
    assert Account("a", "ACTIVE", empty).bare
    assert not Account("a", "DELETED", {}).bare
    assert not Account("a", "ACTIVE", {**empty, "identities": {"X509 a": True}}).bare
    begun = Account("a", "ACTIVE", empty, {"reconciler": "me"})
    assert (begun.bare, begun.partial) == (False, True)


def test_limits() -> None:
    assert [limit_of(value) for value in (5, 0, float("inf"), -1)] == [5, 0, "unlimited", "unlimited"]
