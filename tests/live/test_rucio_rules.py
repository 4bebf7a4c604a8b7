"""Rules at a real Rucio, through the hand: made, marked, watched, healed, changed, taken back, let go.

Each test has an owner, a scope and data of its own; what it leaves nobody else sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest

from reconciler.drivers.rucio.client import Reader, Writer
from reconciler.drivers.rucio.rule import RuleHand
from reconciler.errors import BackendError, Conflict, Denied, NotOurs, ReadOnly, Rejected, Transient
from reconciler.kind import Ask
from reconciler.model import (
    PLAIN,
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

FILES = {"one": b"first file", "two": b"second file"}
HERE, THERE = "BARI-DISK", "LYON-DISK"
MOVING = ("conveyor-submitter", "conveyor-poller", "conveyor-finisher")
CLEANING = ("judge-cleaner",)
ATTEMPTS = 4  # Rucio submits a transfer again three times
HAND = RuleHand()


@dataclass
class Secrets(NoSecrets):
    """The password of one account."""

    password: str
    data: str = "/nowhere"

    def secret(self, reference: str) -> str:
        return self.password


class Site:
    """A target of one Rucio, for an owner of its own."""

    def __init__(self, bed: Bed, owner: str, name: str = "lake", account: str = "root") -> None:  # noqa: F811
        auth = {"type": "userpass", "username": bed.user(account), "password": "env:PASSWORD"}
        settings = {"url": bed.url, "account": account, "auth": auth}
        self.bed, self.owner = bed, owner
        self.target = Target(name, "rucio", "lake", settings=settings, timeout=30)
        self.places = Secrets(bed.password(account))
        self.client = Writer(self.target, self.places)
        self.plain = bed.client()

    def reader(self, account: str) -> Reader:
        """The same target, for an account that may do nothing."""
        auth = {"type": "userpass", "username": account, "password": "env:PASSWORD"}
        former = [self.target.settings["account"]]
        settings = {**self.target.settings, "account": account, "auth": auth, "formerAccounts": former}
        return Reader(replace(self.target, settings=settings), Secrets(self.bed.password(account)))

    # -- what the engine does -------------------------------------------------------------------

    def seen(self, *natural: str) -> list[Observed]:
        return sorted(HAND.observe(self.client, Ask(self.owner, frozenset(natural))), key=lambda one: one.uid)

    def one(self, *natural: str) -> Observed:
        (thing,) = self.seen(*natural)
        return thing

    def of(self, ref: Ref) -> Observed:
        (thing,) = [thing for thing in self.seen() if thing.ref == ref]
        return thing

    def apply(self, wish: Resource, have: Observed | None = None) -> None:
        HAND.apply(self.client, change(wish, have), mark_for(self.owner, wish))

    def together(self, wishes: list[Resource]) -> list[BackendError | None]:
        changes = [(change(wish, None), mark_for(self.owner, wish)) for wish in wishes]
        return list(HAND.apply_together(self.client, changes))

    def delete(self, have: Observed) -> None:
        HAND.delete(self.client, replace(change(None, have), action=Action.DELETE))

    def wish(self, dataset: str, name: str = "rule", metadata: Metadata = PLAIN, **spec: Any) -> Resource:
        """A rule as the kinds want it, one copy on another element."""
        known = {
            "dataset": dataset,
            "copies": 1,
            "expression": THERE,
            "grouping": "DATASET",
            "lastCopy": "keep",
            "repairs": 3,
            "activity": "User Subscriptions",
            "priority": 3,
            "purge": False,
            "sources": "",
        }
        ref = Ref("DataRule", "cms", name, "main.rule")
        return Resource(ref, "rule", self.target.name, {**known, **spec}, Source("x"), metadata)

    # -- the world ---------------------------------------------------------------------------------

    def rows(self, scope: str) -> list[dict[str, Any]]:
        return list(self.plain.list_replication_rules({"scope": scope}))

    def row(self, scope: str) -> dict[str, Any]:
        (row,) = self.rows(scope)
        return row


def change(wish: Resource | None, have: Observed | None) -> Change:
    known = wish or have
    assert known is not None
    action = Action.UPDATE if have else Action.CREATE
    return Change(known.ref, "rule", known.target, action, "Test", want=wish, have=have)


@dataclass
class Data:
    """A data set of two files on one element, in a scope of its own."""

    scope: str
    dataset: str


@pytest.fixture
def data(bed: Bed) -> Data:  # noqa: F811  the fixture
    scope = bed.new_scope()
    bed.upload_dataset(scope, "set", {f"{scope}-{name}": content for name, content in FILES.items()}, HERE)
    return Data(scope, f"{scope}:set")


@pytest.fixture
def site(bed: Bed, data: Data) -> Site:  # noqa: F811  the fixture
    return Site(bed, f"o{data.scope}")


def datasets(bed: Bed, count: int) -> tuple[str, list[str]]:  # noqa: F811  the fixture's value
    """Empty ones: their rules are OK at once."""
    scope, client = bed.new_scope(), bed.client()
    names = [f"set-{number:04}" for number in range(count)]
    client.add_datasets([{"scope": scope, "name": name} for name in names])
    return scope, [f"{scope}:{name}" for name in names]


# --- making -----------------------------------------------------------------------------------


def test_a_rule_is_made_marked_and_is_what_was_wanted(site: Site, data: Data) -> None:
    wish = site.wish(data.dataset)
    site.apply(wish)
    row = site.row(data.scope)
    assert (row["comments"], row["rse_expression"], row["copies"]) == (f"rc1.{site.owner}", THERE, 1)
    thing = site.one()
    assert (thing.ref, thing.spec, thing.state) == (wish.ref, wish.spec, State.PROGRESSING)
    assert "0 of 2 files' copies are there" in thing.message
    assert thing.mark == replace(mark_for(site.owner, wish), spec_hash="")
    assert thing.attributes["replicating"] == 2
    assert thing.attributes["begun"]
    site.bed.pump(1, MOVING)
    thing = site.one()
    assert (thing.state, thing.spec, thing.attributes["ok"]) == (State.READY, wish.spec, 2)
    site.apply(wish)  # safe to run twice
    assert site.one() == thing


def test_all_that_can_be_said_comes_back(site: Site, data: Data) -> None:
    account = site.bed.new_account()
    metadata = Metadata(locked=True, keep=True)
    spec: dict[str, Any] = {
        "copies": 2,
        "expression": "tier=1 & QoS=disk",
        "grouping": "NONE",
        "account": account,
        "repairs": 7,
    }
    more: dict[str, Any] = {
        "activity": "Production Input",
        "priority": 5,
        "purge": True,
        "sources": HERE,
        "lastCopy": "delete",
    }
    wish = site.wish(data.dataset, metadata=metadata, **spec, **more)
    site.apply(wish)
    assert site.seen() == []  # no file names that account
    thing = site.one(f"{account}|")
    assert thing.spec == wish.spec
    assert thing.mark
    assert (thing.mark.lock, thing.mark.keep) == (True, True)
    row = site.row(data.scope)
    assert (row["account"], row["priority"], row["purge_replicas"], row["source_replica_expression"]) == (
        account, 5, True, HERE,
    )  # fmt: skip
    # an account that is named although it is the target's own
    other = site.wish(data.dataset, "other", account="root")
    site.apply(other)
    assert site.of(other.ref).spec == other.spec


def test_many_are_made_by_few_calls_and_found_by_one(site: Site) -> None:
    scope, names = datasets(site.bed, 200)
    wishes = [site.wish(name, f"rule-{index}") for index, name in enumerate(names)]
    with counted(site.client) as calls:
        assert site.together(wishes) == [None] * 200
    assert 2 <= calls["POST"] <= 4
    assert calls["GET"] <= 1
    with counted(site.client) as calls:
        seen = site.seen()
    assert sum(calls.values()) == 1
    assert {thing.ref: thing.spec for thing in seen} == {wish.ref: wish.spec for wish in wishes}
    assert {thing.state for thing in seen} == {State.READY}
    assert site.together(wishes[:3]) == [None] * 3  # again
    assert len(site.rows(scope)) == 200


def test_each_of_many_gets_its_own_error(site: Site) -> None:
    scope, names = datasets(site.bed, 9)
    site.plain.add_replication_rule([{"scope": scope, "name": "set-0002"}], 1, THERE)
    names[5] = f"{scope}:no-such-set"
    became = site.together([site.wish(name, f"rule-{index}") for index, name in enumerate(names)])
    assert [type(error).__name__ for error in became] == [
        *["NoneType"] * 2, "NotOurs", *["NoneType"] * 2, "Missing", *["NoneType"] * 3,
    ]  # fmt: skip
    assert "DataIdentifierNotFound" in str(became[5])
    assert len(site.rows(scope)) == 8
    assert len(site.seen()) == 7


def test_what_nobody_may_is_asked_once(bed: Bed, data: Data) -> None:  # noqa: F811  the fixture
    account = bed.new_account()
    site = Site(bed, f"o{data.scope}", account=account)
    _, names = datasets(bed, 50)
    with counted(site.client) as calls:
        became = site.together(
            [site.wish(name, f"rule-{index}", account="root") for index, name in enumerate(names)]
        )
    assert {type(error) for error in became} == {Denied}
    assert calls["POST"] == 1


def test_impossible_wishes_are_the_authors(site: Site, data: Data) -> None:
    for spec in ({"expression": "country=XY"}, {"expression": "country="}, {"copies": 9}):
        with pytest.raises(Rejected):
            site.apply(site.wish(data.dataset, **spec))
    with pytest.raises(Denied, match="InsufficientAccountLimit"):
        site.apply(site.wish(data.dataset, account=poor(site.bed)))
    assert site.rows(data.scope) == []


def poor(bed: Bed) -> str:  # noqa: F811  the fixture's value
    account = bed.new_account()
    bed.client().set_account_limit(account, THERE, 1, "local")
    return account


# --- states ------------------------------------------------------------------------------------


def test_held_transfers_are_progress(site: Site, data: Data) -> None:
    site.bed.fts.hold(f"{THERE}/{data.scope}/.*two$")
    site.apply(site.wish(data.dataset))
    site.bed.pump(1, MOVING)
    thing = site.one()
    assert (thing.state, thing.reason) == (State.PROGRESSING, "Replicating")
    assert "1 of 2 files' copies are there" in thing.message


def stuck(site: Site, data: Data, **spec: Any) -> Resource:
    site.bed.fts.fail(f"/{data.scope}/.*two$", "TRANSFER [28] No space left on device")
    wish = site.wish(data.dataset, **spec)
    site.apply(wish)
    site.bed.pump(ATTEMPTS, MOVING)
    return wish


def test_what_is_stuck_says_why_and_is_healed(site: Site, data: Data) -> None:
    wish = stuck(site, data)
    thing = site.one()
    assert (thing.state, thing.reason, thing.spec) == (State.FAILED, "Stuck", wish.spec)
    for words in (f"{data.scope}-two", f"{HERE} → {THERE}", "4 attempts", "No space left", "1 of 2 files"):
        assert words in thing.message, thing.message
    site.apply(wish, thing)
    thing = site.one()
    assert (thing.state, thing.reason) == (State.PROGRESSING, "Repairing")
    before = site.row(data.scope)
    site.apply(wish, thing)  # asked already: nothing more is
    assert site.row(data.scope) == before
    site.bed.fts.clear()
    site.bed.pump(1, ("judge-repairer", *MOVING))
    assert (site.one().state, site.one().spec) == (State.READY, wish.spec)
    assert set(site.bed.files(THERE, data.scope)) == {f"{data.scope}-one", f"{data.scope}-two"}


def test_repairs_have_an_end(site: Site, data: Data) -> None:
    wish = stuck(site, data, repairs=1)
    site.apply(wish, site.one())
    site.bed.pump(1, ("judge-repairer",))
    site.bed.pump(ATTEMPTS, MOVING)
    thing = site.one()
    assert thing.state is State.FAILED
    with pytest.raises(Rejected, match="asked 1× in") as error:
        site.apply(wish, thing)
    assert "boost" in error.value.hint
    more = site.wish(data.dataset, repairs=1, priority=5)  # other changes are made all the same
    with pytest.raises(Rejected):
        site.apply(more, thing)
    assert site.row(data.scope)["priority"] == 5
    site.apply(site.wish(data.dataset, repairs=2, priority=5), thing)
    assert site.one().reason == "Repairing"


def test_a_suspended_rule_goes_on(site: Site, data: Data) -> None:
    wish = stuck(site, data)
    site.plain.update_replication_rule(site.one().uid, {"state": "SUSPENDED"})
    thing = site.one()
    assert (thing.state, thing.reason) == (State.FAILED, "Suspended")
    site.apply(wish, thing)
    site.bed.fts.clear()
    site.bed.pump(1, ("judge-repairer", *MOVING))
    assert site.one().state is State.READY


# --- verifying -----------------------------------------------------------------------------------


def test_a_whole_rule_is_verified(site: Site, data: Data) -> None:
    site.apply(site.wish(data.dataset))
    with pytest.raises(Conflict):
        HAND.verify(site.client, site.one())
    site.bed.pump(1, MOVING)
    thing = HAND.verify(site.client, site.one())
    assert (thing.state, thing.drift, thing.attributes["rses"]) == (State.READY, (), [THERE])


def test_copies_that_are_bad_or_not_yet_seen_are_missing(site: Site, data: Data) -> None:
    wish = site.wish(data.dataset)
    site.apply(wish)
    site.bed.pump(1, MOVING)
    bad = {"scope": data.scope, "name": f"{data.scope}-one", "rse": THERE}
    site.plain.declare_bad_file_replicas([bad], "a test wants it so")
    site.bed.upload(data.scope, f"{data.scope}-three", b"third", HERE)
    site.plain.attach_dids(data.scope, "set", [{"scope": data.scope, "name": f"{data.scope}-three"}])
    listed = site.one()
    thing = HAND.verify(site.client, listed)
    assert (thing.state, thing.reason) == (State.FAILED, "Incomplete")
    assert "1 of 3" in thing.message
    assert f"{data.scope}-one (bad at {THERE})" in thing.message
    assert thing.drift
    with pytest.raises(Conflict, match="not noticed"):
        site.apply(wish, thing)


# --- changing ------------------------------------------------------------------------------------


def test_what_rucio_can_change_is_changed_in_place(site: Site, data: Data) -> None:
    site.apply(site.wish(data.dataset))
    thing = site.one()
    metadata = Metadata(locked=True)
    more = {"priority": 5, "activity": "Express", "purge": True, "sources": HERE, "lastCopy": "delete"}
    wish = site.wish(data.dataset, "renamed", metadata, **more)
    site.apply(wish, thing)
    now = site.one()
    assert (now.uid, now.ref, now.spec) == (thing.uid, wish.ref, wish.spec)
    assert now.mark
    assert now.mark.lock
    assert now.attributes["begun"] == thing.attributes["begun"]
    before = site.row(data.scope)
    site.apply(wish, now)
    assert site.row(data.scope) == before


def test_another_grouping_is_another_rule_with_the_same_words(site: Site, data: Data) -> None:
    wish = site.wish(data.dataset)
    site.apply(wish)
    old = site.one()
    other = site.wish(data.dataset, grouping="ALL")
    site.apply(other)
    site.apply(other)  # again
    assert sorted(row["rse_expression"] for row in site.rows(data.scope)) == [f"({THERE})", THERE]
    new = next(thing for thing in site.seen() if thing.uid != old.uid)
    assert (new.spec, new.ref) == (other.spec, other.ref)
    site.bed.pump(1, MOVING)
    site.delete(old)
    site.bed.pump(1, CLEANING)
    assert (site.one().uid, site.one().state) == (new.uid, State.READY)
    third = site.wish(data.dataset, grouping="NONE")
    site.apply(third)
    assert {thing.spec["grouping"] for thing in site.seen()} == {"ALL", "NONE"}


def test_what_changed_hands_since_is_left_alone(site: Site, data: Data) -> None:
    wish = site.wish(data.dataset)
    site.apply(wish)
    thing = site.one()
    site.plain.update_replication_rule(thing.uid, {"comment": "mine now"})
    before = site.row(data.scope)
    with pytest.raises(Conflict):
        site.apply(site.wish(data.dataset, priority=5), thing)
    site.delete(thing)
    HAND.release(site.client, change(None, thing))
    assert site.row(data.scope) == before
    assert site.seen() == []


# --- letting go -----------------------------------------------------------------------------------


def test_a_deleted_rule_goes_and_can_be_taken_back(site: Site, data: Data) -> None:
    wish = site.wish(data.dataset)
    site.apply(wish)
    thing = site.one()
    site.delete(thing)
    going = site.one()
    assert (going.state, going.spec) == (State.DELETING, wish.spec)
    site.apply(wish, going)
    assert site.one().state is State.PROGRESSING
    site.delete(thing)
    site.bed.pump(1, CLEANING)
    assert site.rows(data.scope) == []
    site.delete(thing)  # gone already
    with pytest.raises(Conflict):
        site.apply(wish, going)


def test_it_can_be_made_anew_while_the_one_before_still_goes(site: Site, data: Data) -> None:
    """Rucio keeps the place of a deleted rule for up to an hour."""
    wish = site.wish(data.dataset)
    site.apply(wish)
    site.plain.delete_replication_rule(site.one().uid)  # softly, as people do
    assert site.one().state is State.DELETING
    site.apply(wish)
    assert site.one().state is State.PROGRESSING
    site.delete(site.one())
    other = replace(
        site.wish(data.dataset, "of-another-object"), facts={"begun": "2026-05-01T12:00:00+00:00"}
    )
    site.apply(other)
    assert (site.one().ref, site.one().state) == (other.ref, State.PROGRESSING)
    assert site.one().attributes["begun"] == "2026-05-01T12:00:00+00:00"
    with pytest.raises(Rejected, match="of-another-object"):
        site.apply(wish)


def test_rules_on_tape_are_locked_by_rucio_and_go_all_the_same(site: Site, data: Data) -> None:
    wish = site.wish(data.dataset, expression="QoS=tape")
    site.apply(wish)
    assert site.row(data.scope)["locked"]
    assert site.one().spec == wish.spec
    site.delete(site.one())
    site.bed.pump(1, CLEANING)
    assert site.rows(data.scope) == []


def test_a_rule_whose_elements_are_gone_can_be_deleted(site: Site, data: Data) -> None:
    element = f"X{data.scope.upper()}"
    site.plain.add_rse(element, deterministic=True)
    site.plain.set_account_limit("root", element, 10**9, "local")
    _, (dataset,) = datasets(site.bed, 1)
    site.apply(site.wish(dataset, expression=element))
    thing = site.one()
    site.plain.delete_rse(element)
    site.delete(thing)
    assert site.one().state is State.DELETING


def test_what_is_released_stays_and_can_be_adopted(site: Site, data: Data) -> None:
    wish = site.wish(data.dataset)
    site.apply(wish)
    thing = site.one()
    for _ in range(2):
        HAND.release(site.client, change(None, thing))
    assert site.seen() == []
    row = site.row(data.scope)
    assert (row["comments"], row["expires_at"]) == (None, None)
    key = f"|{data.dataset}|1|{THERE}"
    (found,) = site.seen(key)
    assert (found.mark, found.ref, found.uid) == (None, Ref("rule", "", key), thing.uid)
    site.apply(site.wish(data.dataset, priority=5), found)
    assert (site.one().mark, site.one().uid) == (thing.mark, thing.uid)
    assert site.row(data.scope)["priority"] == 5


# --- whose is it -----------------------------------------------------------------------------------


def test_what_is_not_ours_is_not_shown_and_not_touched(site: Site, data: Data) -> None:
    did = [{"scope": data.scope, "name": "set"}]
    site.plain.add_replication_rule(did, 1, THERE, comment=f"rc1.{site.owner}x")
    site.plain.add_replication_rule(did, 1, "CNAF-DISK", comment=f"rc1.{site.owner}", meta="nonsense")
    site.plain.add_replication_rule(did, 1, HERE)
    before = site.rows(data.scope)
    assert site.seen() == []
    thing = site.one(f"|{data.dataset}|1|CNAF-DISK")  # carries our words, but nothing that could be read
    assert (thing.mark, thing.state, thing.reason) == (None, State.FAILED, "MarkUnreadable")
    for expression in (THERE, "CNAF-DISK", HERE):
        with pytest.raises(NotOurs):
            site.apply(site.wish(data.dataset, expression=expression))
    asked = [f"|{data.dataset}|1|{expression}" for expression in (THERE, HERE)]
    stranger = next(one for one in site.seen(*asked) if one.ref.name == asked[0])
    with pytest.raises(NotOurs):
        site.apply(site.wish(data.dataset), stranger)
    assert {one.mark for one in site.seen(*asked)} == {None}
    assert site.rows(data.scope) == before
    wish = site.wish(data.dataset, expression="CNAF-DISK")
    site.apply(wish, thing)  # the author says `adopt`
    assert (site.one().ref, site.one().uid) == (wish.ref, thing.uid)


def test_a_mark_that_somebody_else_wrote_is_not_believed(site: Site, data: Data) -> None:
    """Any account can give its rules our words. It is no rule of ours, nor a successor of one."""
    wish = site.wish(data.dataset, expression=HERE)
    site.apply(wish)
    thing = site.one()
    row = site.row(data.scope)
    stranger = site.bed.new_account()
    forged: dict[str, Any] = {"comment": row["comments"], "meta": row["meta"], "account": stranger}
    did = {"scope": data.scope, "name": "set"}
    (uid,) = site.plain.add_replication_rule([did], 1, "CNAF-DISK", **forged)
    site.bed.pump(2, MOVING)
    assert {one["state"] for one in site.rows(data.scope)} == {"OK"}
    assert site.one() == thing
    known = replace(
        change(None, thing), action=Action.DELETE, reason="Superseded", needs=frozenset((wish.ref,))
    )
    with pytest.raises(Conflict, match="no other rule of ours"):
        HAND.delete(site.client, known)
    assert site.one() == thing
    site.apply(site.wish(data.dataset))
    site.bed.pump(1, MOVING)
    HAND.delete(site.client, known)
    ends = {one["id"]: one["expires_at"] is not None for one in site.rows(data.scope)}
    assert (ends[thing.uid], ends[uid], sum(ends.values())) == (True, False, 1)
    assert stranger in {one.attributes["account"] for one in site.seen(f"{stranger}|")}


def test_an_end_that_somebody_else_set_is_taken_off_by_adopting(site: Site, data: Data) -> None:
    did = {"scope": data.scope, "name": "set"}
    site.plain.add_replication_rule([did], 1, HERE, lifetime=7 * 86400)
    thing = site.one(f"|{data.dataset}|1|{HERE}")
    assert (thing.mark, thing.state, thing.reason) == (None, State.FAILED, "Expires")
    wish = site.wish(data.dataset, expression=HERE)
    site.apply(wish, thing)
    assert (site.one().state, site.row(data.scope)["expires_at"]) == (State.READY, None)


def test_an_unmarked_rule_that_is_as_declared_compares_equal(site: Site, data: Data) -> None:
    account = site.bed.new_account()
    site.plain.add_replication_rule(
        [{"scope": data.scope, "name": "set"}], 2, "tier=1&QoS=disk", account=account, comment="by hand"
    )
    spec: dict[str, Any] = {"copies": 2, "expression": "tier=1&QoS=disk", "account": account}
    thing = site.one(f"{account}|{data.dataset}|2|tier=1&QoS=disk")
    assert thing.spec == site.wish(data.dataset, **spec).spec
    assert thing.mark is None


def test_two_targets_of_one_server_have_rules_of_their_own(site: Site, data: Data) -> None:
    other = Site(site.bed, site.owner, "other")
    wish = site.wish(data.dataset)
    site.apply(wish)
    thing = site.one()
    assert other.seen() == []
    moved = replace(wish, target="other")
    other.apply(moved)  # its first element is declared at another target now
    assert site.seen() == []
    assert (other.one().uid, other.one().target, other.one().spec) == (thing.uid, "other", wish.spec)
    site.delete(thing)
    assert other.one().state is State.PROGRESSING


def test_a_reader_is_enough_to_look(site: Site, data: Data) -> None:
    stuck(site, data)
    reader = site.reader(site.bed.new_account())
    (thing,) = HAND.observe(reader, Ask(site.owner, frozenset((f"root|{data.dataset}|1|{HERE}",))))
    assert "4 attempts" in thing.message
    site.bed.fts.clear()
    site.apply(site.wish(data.dataset), site.one())
    site.bed.pump(1, ("judge-repairer", *MOVING))
    (thing,) = HAND.observe(reader, Ask(site.owner))
    assert HAND.verify(reader, thing).attributes["rses"] == [THERE]
    with pytest.raises(ReadOnly):
        HAND.delete(cast(Writer, reader), change(None, thing))


# --- killed, broken off ----------------------------------------------------------------------------


def test_a_run_that_is_killed_before_any_answer_leaves_nothing_that_is_nobodys(
    site: Site, data: Data
) -> None:
    """Whatever call is the last: done at the server, and its answer never read."""
    _, names = datasets(site.bed, 3)
    wishes = [site.wish(name, f"rule-{index}") for index, name in enumerate([*names, data.dataset])]
    with dying_after(site.client, 1), pytest.raises(Killed):
        site.together(wishes)
    assert {thing.ref for thing in site.seen()} == {wish.ref for wish in wishes}
    assert site.together(wishes) == [None] * 4
    thing = site.of(wishes[3].ref)
    for calls in (1, 2):
        with dying_after(site.client, calls), pytest.raises(Killed):
            site.delete(thing)
        assert site.of(thing.ref).state is (State.PROGRESSING if calls == 1 else State.DELETING)
    going = site.of(thing.ref)
    for calls in (1, 2):
        with dying_after(site.client, calls), pytest.raises(Killed):
            site.apply(wishes[3], going)
    assert site.of(thing.ref).state is State.PROGRESSING


def test_an_answer_that_never_comes_is_an_error_of_all_in_the_call(site: Site) -> None:
    _, names = datasets(site.bed, 3)
    wishes = [site.wish(name, f"rule-{index}") for index, name in enumerate(names)]
    with dying_after(site.client, 1, ConnectionError):
        became = site.together(wishes)
    assert {type(error) for error in became} == {Transient}
    assert site.together(wishes) == [None] * 3
    assert len(site.seen()) == 3


class Killed(BaseException):
    """As if the process were gone."""


@contextmanager
def dying_after(client: Writer, calls: int, error: type[BaseException] = Killed) -> Iterator[None]:
    """This many calls are sent, and done; the answer of the last is lost."""
    left = [calls]

    def send(real: Callable[..., Any]) -> Callable[..., Any]:
        def sent(*told: Any, **more: Any) -> Any:
            answer = real(*told, **more)
            left[0] -= 1
            if not left[0]:
                raise error
            return answer

        return sent

    with wrapped(client, send):
        yield


@contextmanager
def counted(client: Writer) -> Iterator[dict[str, int]]:
    """How many calls are made, by method."""
    calls = dict.fromkeys(("GET", "POST", "PUT", "DELETE"), 0)

    def send(real: Callable[..., Any]) -> Callable[..., Any]:
        def sent(url: str, method: Any, *told: Any, **more: Any) -> Any:
            calls[method.value] += 1
            return real(url, method, *told, **more)

        return sent

    with wrapped(client, send):
        yield calls


@contextmanager
def wrapped(client: Writer, send: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    with client.rucio("tests") as rucio:
        connection = rucio
    connection._send_request = send(connection._send_request)
    try:
        yield
    finally:
        del connection._send_request


def test_a_rule_that_waits_for_approval_says_who_may_give_it(site: Site, data: Data) -> None:
    approver = site.bed.new_account()
    site.plain.add_rse_attribute(THERE, "rule_approvers", approver)
    try:
        did = {"scope": data.scope, "name": "set"}
        (rule,) = site.plain.add_replication_rule([did], 1, THERE, ask_approval=True)
        key = f"|{data.dataset}|1|{THERE}"
        site.apply(site.wish(data.dataset), site.one(key))
        waiting = site.one()
        assert (waiting.state, waiting.reason) == (State.PROGRESSING, "WaitingApproval")
        assert approver in waiting.message
        site.plain.approve_replication_rule(rule)
        site.bed.pump(2)
        assert site.one().state is State.READY
    finally:
        site.plain.delete_rse_attribute(THERE, "rule_approvers")
