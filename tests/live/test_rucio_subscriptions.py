"""The hand for subscriptions on a real Rucio: what it makes makes rules, and nothing of others is touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from reconciler.drivers.rucio.client import Reader, Writer
from reconciler.drivers.rucio.subscription import SubscriptionHand
from reconciler.errors import Denied, NotOurs, ReadOnly, Rejected
from reconciler.kind import Ask
from reconciler.model import (
    Action,
    Change,
    Metadata,
    Observed,
    Ref,
    Resource,
    Source,
    State,
    Target,
    mark_for,
)
from tests.live.rucio_bed.bed import Bed
from tests.live.rucio_bed.fixture import bed, started_bed  # noqa: F401  fixtures
from tests.places import NoSecrets

pytestmark = [
    pytest.mark.live,
    pytest.mark.machines,
    pytest.mark.network,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:rucio"),
]

REF = Ref("Subscription", "", "raw")
PASSES = 300


@dataclass
class Secrets(NoSecrets):
    password: str
    data: str = "/nowhere"

    def secret(self, reference: str) -> str:
        return self.password


class Lake:
    """One Rucio, an account that may do everything, a scope; and the hand at one target of an owner."""

    hand = SubscriptionHand()

    def __init__(self, bed: Bed) -> None:  # noqa: F811  the fixture's value
        self.bed = bed
        self.rucio = bed.client()
        self.account = bed.new_account(admin=True)
        self.scope = bed.new_scope(self.account)
        self.owner = f"o{self.scope}"

    def target(self, name: str = "lake", account: str = "") -> Target:
        account = account or self.account
        auth = {"type": "userpass", "username": self.bed.user(account), "password": "env:PASSWORD"}
        settings = {"url": self.bed.url, "account": account, "auth": auth}
        return Target(name, "rucio", name, settings=settings, timeout=30)

    def reader(self, name: str = "lake", account: str = "") -> Reader:
        return Reader(self.target(name, account), Secrets(self.bed.password(account or self.account)))

    def writer(self, name: str = "lake", account: str = "") -> Writer:
        return Writer(self.target(name, account), Secrets(self.bed.password(account or self.account)))

    def wish(self, target: str = "lake", **told: Any) -> Resource:
        metadata = told.pop("metadata", Metadata())
        spec: dict[str, Any] = {
            "account": self.account,
            "name": self.scope,
            "filter": {"scope": [self.scope], "pattern": "raw.*"},
            "rules": [{"copies": 1, "expression": "LYON-DISK", "grouping": "DATASET"}],
            "priority": 3,
        }
        return Resource(REF, "Subscription", target, spec | told, Source("x.yaml"), metadata)

    def seen(self, name: str = "lake", keys: frozenset[str] = frozenset()) -> list[Observed]:
        return list(self.hand.observe(self.reader(name), Ask(self.owner, keys)))

    def apply(self, want: Resource, have: Observed | None = None, owner: str = "") -> None:
        action = Action.UPDATE if have else Action.CREATE
        change = Change(want.ref, want.kind, want.target, action, "x", want=want, have=have)
        self.hand.apply(self.writer(want.target), change, mark_for(owner or self.owner, want))

    def delete(self, have: Observed) -> None:
        change = Change(have.ref, have.kind, have.target, Action.DELETE, "x", have=have)
        self.hand.delete(self.writer(have.target), change)

    def release(self, have: Observed) -> None:
        change = Change(have.ref, have.kind, have.target, Action.UPDATE, "x", have=have, release=True)
        self.hand.release(self.writer(have.target), change)

    def really(self) -> Mapping[str, Any]:
        (told,) = self.rucio.list_subscriptions(self.scope, self.account)
        found: Mapping[str, Any] = told
        return found

    def arrives(self, name: str) -> None:
        """A new data set, at which subscriptions have looked: what other tests left comes first."""
        self.bed.upload_dataset(self.scope, name, {f"{name}-file": name.encode()}, "BARI-DISK")
        for _ in range(PASSES):
            self.bed.pump(only=("transmogrifier",))
            if not self.rucio.get_metadata(self.scope, name)["is_new"]:
                return
        raise AssertionError(f"nothing looked at {name}")

    def rules(self, name: str) -> list[Any]:
        return list(self.rucio.list_replication_rules({"scope": self.scope, "name": name}))


@pytest.fixture
def lake(bed: Bed) -> Lake:  # noqa: F811  the fixture
    return Lake(bed)


def test_what_arrives_gets_the_rules_and_a_second_look_is_silent(lake: Lake) -> None:
    disk = {"copies": 1, "expression": "LYON-DISK", "grouping": "ALL", "lifetime": 86400, "purge": True}
    tape = {"copies": "*", "expression": "QoS=tape", "grouping": "DATASET", "locked": True}
    want = lake.wish(comment="raw data", rules=[disk, tape | {"activity": "Express"}])
    lake.apply(want)
    (seen,) = lake.seen()
    assert (seen.ref, seen.state, seen.spec) == (REF, State.READY, want.spec)
    assert seen.mark == replace(mark_for(lake.owner, want), spec_hash="")
    lake.apply(want, seen)
    assert lake.seen() == [seen]
    lake.arrives("raw-1")
    made = {rule["rse_expression"]: rule for rule in lake.rules("raw-1")}
    assert set(made) == {"LYON-DISK", "QoS=tape"}
    assert (made["LYON-DISK"]["grouping"], made["LYON-DISK"]["purge_replicas"]) == ("ALL", True)
    assert made["LYON-DISK"]["expires_at"] is not None
    assert (made["QoS=tape"]["locked"], made["QoS=tape"]["activity"]) == (True, "Express")
    # what it makes is never taken for a rule that we made
    assert {rule["comments"] == f"rc1.{lake.owner}" for rule in made.values()} == {False}


def test_an_update_changes_everything_in_place(lake: Lake) -> None:
    lake.apply(lake.wish(comment="first"))
    (before,) = lake.seen()
    other = lake.wish(
        filter={"scope": [lake.scope], "pattern": "aod.*", "datatype": ["AOD"]},
        rules=[{"copies": 2, "expression": "country=IT", "grouping": "NONE", "options": {"weight": "tier"}}],
        priority=1,
        comment="second",
        metadata=Metadata(locked=True, keep=True),
    )
    lake.apply(other, before)
    (after,) = lake.seen()
    assert (after.uid, after.spec) == (before.uid, other.spec)
    assert after.mark
    assert (after.mark.lock, after.mark.keep) == (True, True)
    assert lake.really()["state"] == "UPDATED"


def test_what_is_removed_is_inactive_and_comes_back(lake: Lake) -> None:
    lake.apply(lake.wish())
    (seen,) = lake.seen()
    lake.delete(seen)
    lake.delete(seen)
    assert lake.seen() == []
    assert lake.really()["state"] == "INACTIVE"
    lake.arrives("raw-1")
    assert lake.rules("raw-1") == []
    lake.apply(lake.wish())
    (again,) = lake.seen()
    assert (again.uid, lake.really()["state"]) == (seen.uid, "UPDATED")
    lake.arrives("raw-2")
    assert len(lake.rules("raw-2")) == 1


def test_another_object_may_have_the_name_of_one_that_is_gone(lake: Lake) -> None:
    lake.apply(lake.wish())
    (seen,) = lake.seen()
    other = replace(lake.wish(), ref=Ref("Subscription", "", "other"))
    with pytest.raises(NotOurs, match="other"):
        lake.apply(other)
    lake.delete(seen)
    lake.apply(other)
    assert [thing.ref for thing in lake.seen()] == [other.ref]


def test_what_others_made_is_left_alone_until_it_is_adopted(lake: Lake) -> None:
    rules = [{"copies": 1, "rse_expression": "LYON-DISK", "activity": "User Subscriptions"}]
    wish = lake.wish()
    lake.rucio.add_subscription(
        lake.scope, lake.account, dict(wish.spec["filter"]), rules, "somebody's", False, False, False
    )
    before = lake.really()
    with pytest.raises(NotOurs):
        lake.apply(wish)
    assert (lake.seen(), lake.really()) == ([], before)
    for key in (f"{lake.account}|{lake.scope}", f"|{lake.scope}"):  # said, or the target's
        (seen,) = lake.seen(keys=frozenset({key}))
        assert (seen.mark, seen.ref.name) == (None, key)
        assert {**wish.spec, "comment": "somebody's"} == seen.spec
    lake.delete(seen)  # it never asks for that; and it would do nothing
    assert lake.really() == before
    adopting = lake.wish(metadata=Metadata(adopt=True))
    lake.apply(adopting, seen)
    (ours,) = lake.seen()
    assert ours.uid == before["id"]
    lake.release(ours)
    assert lake.seen() == []
    assert lake.really()["state"] == "UPDATED"
    assert "rc1." not in lake.really()["comments"]


def test_owners_and_targets_do_not_see_each_other(lake: Lake) -> None:
    lake.apply(lake.wish())
    (seen,) = lake.seen()
    assert lake.seen("other") == []
    assert list(lake.hand.observe(lake.reader(), Ask("someone-else"))) == []
    with pytest.raises(NotOurs, match=lake.owner):
        lake.apply(lake.wish(), owner="someone-else")
    # the same object at another target of the same server: it is taken over, and then gone from the first
    lake.apply(lake.wish("other"))
    (moved,) = lake.seen("other")
    assert (moved.uid, lake.seen()) == (seen.uid, [])
    lake.delete(seen)
    assert lake.really()["state"] == "UPDATED"


def test_an_end_that_somebody_gave_it_does_not_end_it_for_good(lake: Lake) -> None:
    lake.apply(lake.wish())
    lake.rucio.update_subscription(lake.scope, lake.account, lifetime=-1)
    lake.bed.pump(only=("transmogrifier",))
    assert lake.seen() == []
    lake.apply(lake.wish())
    lake.bed.pump(only=("transmogrifier",))
    assert len(lake.seen()) == 1


def test_what_selects_nothing_is_refused_and_seen(lake: Lake) -> None:
    rules = [{"copies": 1, "expression": "country=XX", "grouping": "DATASET"}]
    with pytest.raises(Rejected, match="country=XX"):
        lake.apply(lake.wish(rules=rules))
    assert lake.seen() == []
    lake.apply(lake.wish())
    rucio_rules = [{"copies": 1, "rse_expression": "country=XX", "activity": "Express"}]
    lake.rucio.update_subscription(lake.scope, lake.account, replication_rules=rucio_rules)
    (seen,) = lake.seen()
    assert (seen.state, seen.reason) == (State.FAILED, "SelectsNothing")
    lake.apply(lake.wish(), seen)
    assert [thing.state for thing in lake.seen()] == [State.READY]


def test_a_reader_is_enough_to_look_and_can_not_write(lake: Lake) -> None:
    lake.apply(lake.wish())
    reading = lake.bed.new_account()
    (seen,) = lake.hand.observe(lake.reader(account=reading), Ask(lake.owner))
    assert seen.state is State.READY
    change = Change(REF, "Subscription", "lake", Action.UPDATE, "x", want=lake.wish(), have=seen)
    with pytest.raises(ReadOnly):
        lake.hand.apply(lake.reader(), change, mark_for(lake.owner, lake.wish()))  # type: ignore[arg-type]
    with pytest.raises(Denied):
        lake.hand.apply(lake.writer(account=reading), change, mark_for(lake.owner, lake.wish()))
