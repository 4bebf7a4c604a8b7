"""Rules as Rucio lists them, in our words; marks; what is said of what is stuck. A stand-in answers.

What a real server makes of our calls: tests/live/test_rucio_rules.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from reconciler.checks.schema import compiled
from reconciler.drivers.rucio import DRIVER
from reconciler.drivers.rucio.rule import RuleHand
from reconciler.drivers.rucio.rule_making import MOST
from reconciler.drivers.rucio.rule_mark import Marks, RuleMark, fits, letters_of, meta_of, parted, text_of
from reconciler.drivers.rucio.rule_words import bare, natural_key, plain_error
from reconciler.drivers.rucio.translating import Exists, Missing
from reconciler.errors import BackendError, Denied, Transient
from reconciler.kind import Ask, BatchHand
from reconciler.model import (
    Action,
    Change,
    FieldChange,
    Observed,
    Ref,
    Resource,
    Source,
    State,
    mark_for,
    mark_id,
)

HAND = RuleHand()
OWNER = "o"
REF = Ref("DataRule", "cms", "higgs", "main.rule")
ROOT = frozenset(("root",))
KEY = "|cms:set|1|country=IT"
MARK = RuleMark(REF, "lake", "country=IT")
CREATED = datetime(2026, 5, 1, 12)  # noqa: DTZ001  as Rucio's times


def row(mark: RuleMark | None = MARK, **told: Any) -> dict[str, Any]:
    """A rule as the library gives it."""
    meta = json.dumps(text_of(meta_of({"cms:set": mark}))) if mark else None
    return {
        "id": "11",
        "scope": "cms",
        "name": "set",
        "account": "root",
        "copies": 1,
        "rse_expression": "country=IT",
        "grouping": "DATASET",
        "state": "OK",
        "error": None,
        "locked": False,
        "comments": f"rc1.{OWNER}" if mark else None,
        "meta": meta,
        "activity": "User Subscriptions",
        "priority": 3,
        "purge_replicas": False,
        "source_replica_expression": None,
        "expires_at": None,
        "created_at": CREATED,
        "updated_at": CREATED,
        "locks_ok_cnt": 2,
        "locks_replicating_cnt": 0,
        "locks_stuck_cnt": 0,
    } | told


@dataclass
class Rucio:
    """Answers what a test wants, and keeps what it was asked."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    errors: list[BackendError | None] = field(default_factory=list)  # of the calls that write
    breaks: BackendError | None = None  # of the calls that explain
    ends: bool = True  # False: lists break off
    target: str = "lake"
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def server(self) -> Any:
        return _Server()

    @contextmanager
    def rucio(self, what: str) -> Iterator[Rucio]:
        yield self

    def list_replication_rules(self, filters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        self.asked.append(("list", dict(filters)))
        if not self.ends:
            raise Transient("half an answer")
        return iter([one for one in self.rows if all(one[key] == value for key, value in filters.items())])

    def get_replication_rule(self, uid: str) -> dict[str, Any]:
        for one in self.rows:
            if one["id"] == uid:
                return one
        raise Missing("no such rule")

    def add_replication_rule(self, dids: list[dict[str, str]], **told: Any) -> None:
        self._write("add", [did["name"] for did in dids], told)

    def update_replication_rule(self, uid: str, options: Mapping[str, Any]) -> None:
        self._write("update", uid, dict(options))

    def delete_replication_rule(self, uid: str) -> None:
        self._write("delete", uid)

    def examine_replication_rule(self, uid: str) -> dict[str, Any]:
        self.asked.append(("examine", uid))
        if self.breaks:
            raise self.breaks
        one = {"attempts": 4, "last_error": "RequestState.FAILED", "last_source": "BARI", "rse": "LYON"}
        return {"transfers": [{**one, "name": f"file-{number}"} for number in range(5)]}

    def list_rses(self, expression: str) -> Iterator[dict[str, str]]:
        return iter([{"rse": "LYON"}, {"rse": "BARI"}])

    def list_rse_attributes(self, element: str) -> dict[str, str]:
        return {"rule_approvers": "anna,otto"} if element == "LYON" else {}

    def _write(self, *call: Any) -> None:
        self.asked.append(call)
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error


@dataclass
class _Server:
    account: str = "root"


def seen(rows: list[dict[str, Any]], *natural: str) -> list[Observed]:
    rucio: Any = Rucio(rows)
    return list(HAND.observe(rucio, Ask(OWNER, frozenset(natural))))


def one(**told: Any) -> Observed:
    (thing,) = seen([row(**told)])
    return thing


def ago(**time: float) -> datetime:
    return (datetime.now(UTC) - timedelta(**time)).replace(tzinfo=None)


# --- the driver ---------------------------------------------------------------------------------


def test_the_driver_serves_rules_and_knows_where_uploads_are() -> None:
    assert isinstance(DRIVER.serving("rule"), BatchHand)
    settings = {
        "url": "https://rucio.example.org",
        "account": "lake",
        "auth": {"type": "oidc", "token": "env:T"},
    }
    check = compiled(dict(DRIVER.settings))
    assert check({**settings, "uploads": "uploads/data"})
    assert not check({**settings, "uploads": ""})
    assert check({**settings, "formerAccounts": ["lake", "root"]})
    assert not check({**settings, "formerAccounts": ["La ke"]})
    assert not check({**settings, "formerAccounts": "lake"})
    assert DRIVER.place == ("url", "vo")


# --- marks --------------------------------------------------------------------------------------

names = some.text("abcdefghijklmnopqrstuvwxyz-0123456789", min_size=1, max_size=60)
marks = some.builds(
    RuleMark,
    some.builds(Ref, some.just("DataRule"), names, names, some.just("main.rule")),
    names,
    some.text(max_size=300),
    some.booleans(),
    some.booleans(),
    some.sampled_from(["keep", "delete"]),
    some.sampled_from(["", "2026-05-01T12:00:00+00:00"]),
    some.integers(0, 9),
    some.integers(0, 9),
    some.sampled_from(["", "2026-05-01T12:00:00+00:00"]),
    some.booleans(),
)


@given(marks, some.integers(0, 2))
def test_a_mark_is_read_however_often_it_was_encoded(mark: RuleMark, times: int) -> None:
    text: Any = meta_of({"cms:set": mark})
    for _ in range(times + 1):
        text = json.dumps(text)
    assert Marks(ROOT).of(row(meta=text), OWNER) == mark


@given(some.lists(some.tuples(names, names), max_size=300, unique_by=lambda pair: pair[0]))
def test_calls_hold_all_and_no_more_than_the_column(pairs: list[tuple[str, str]]) -> None:
    wishes = [(f"cms:{name}", replace(MARK, ref=REF._replace(name=rule))) for name, rule in pairs]
    chunks = list(parted(wishes, MOST))
    assert [place for chunk in chunks for place in chunk] == list(range(len(wishes)))
    for chunk in chunks:
        meta = meta_of({wishes[place][0]: wishes[place][1] for place in chunk})
        assert len(chunk) <= MOST
        assert fits(meta)
        assert len(json.dumps(json.dumps(meta, separators=(",", ":")))) <= 4000
        for place in chunk:
            name = wishes[place][0].partition(":")[2]
            assert Marks(ROOT).of(row(name=name, meta=text_of(meta)), OWNER) == wishes[place][1]


def test_data_sets_with_the_same_letters_are_not_in_one_call() -> None:
    known: dict[str, str] = {}
    for number in range(1 << 20):
        dataset = f"cms:set-{number}"
        other = known.setdefault(letters_of(dataset), dataset)
        if other != dataset:
            break
    assert list(parted([(other, MARK), (dataset, MARK)], MOST)) == [[0], [1]]
    assert list(parted([("cms:set", MARK), ("cms:set", MARK)], MOST)) == [[0], [1]]


@pytest.mark.parametrize(
    "meta",
    [
        None,
        "",
        "null",
        "[]",
        "{",
        "[" * 100_000,
        '"text"',
        json.dumps({"refs": {}}),
        json.dumps({**meta_of({"cms:other": MARK})}),
        json.dumps({**meta_of({"cms:set": MARK}), "refs": {letters_of("cms:set"): "nonsense"}}),
        json.dumps({**meta_of({"cms:set": MARK}), "refs": {letters_of("cms:set"): 3}}),
        json.dumps({**meta_of({"cms:set": MARK}), "repaired": True}),
        json.dumps({**meta_of({"cms:set": MARK}), "repairs": "3"}),
        json.dumps({**meta_of({"cms:set": MARK}), "target": None}),
        json.dumps({**meta_of({"cms:set": MARK}), "named": 1}),
        json.dumps({**meta_of({"cms:set": MARK}), "repairs": -1}),
        json.dumps({**meta_of({"cms:set": MARK}), "expression": "\ud800"}),
        json.dumps(meta_of({"cms:set": replace(MARK, ref=REF._replace(name="\udc80"))})),
        json.dumps(meta_of({"cms:set": replace(MARK, ref=REF._replace(kind="StorageElement"))})),
        json.dumps(meta_of({"cms:set": replace(MARK, ref=REF._replace(part="main.upload"))})),
        json.dumps(meta_of({"cms:set": replace(MARK, ref=REF._replace(part=""))})),
        {"refs": []},
        17,
    ],
)
def test_what_is_not_as_we_write_it_is_no_mark(meta: Any) -> None:
    assert seen([row(meta=meta)]) == []
    (thing,) = seen([row(meta=meta)], KEY)
    assert (thing.mark, thing.ref) == (None, Ref("rule", "", KEY))
    assert (thing.state, thing.reason) == (State.FAILED, "MarkUnreadable")
    assert "adopt: true" in thing.message


def test_meta_that_comes_as_a_mapping_is_read_too() -> None:
    assert Marks(ROOT).of(row(meta=meta_of({"cms:set": MARK})), OWNER) == MARK


@pytest.mark.parametrize(
    "said",
    [
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59+00:00",
        "1989-12-31T23:59:59+00:00",
        "2026-05-01T12:00:00",
        "2026-05-01T12:00:00+02:00",
        "2026-05-01",
        "yesterday",
        "",
    ],
)
def test_moments_that_nobody_can_mean_are_none(said: str) -> None:
    thing = one(mark=replace(MARK, begun=said, asked=said, repaired=2), state="STUCK")
    assert thing.mark
    assert "begun" not in thing.attributes
    assert thing.reason == "Stuck"


# --- whose mark counts --------------------------------------------------------------------------


def forged(**told: Any) -> dict[str, Any]:
    """What any account can make: our words on a rule of its own."""
    return row(mark=replace(MARK, named=True), id="66", account="mallory", **told)


def observe(rucio: Any, *natural: str) -> list[Observed]:
    return list(HAND.observe(rucio, Ask(OWNER, frozenset(natural))))


@pytest.mark.parametrize("natural", [(), (KEY,), ("anna|",), ("anna|cms:set|1|country=IT",), ("mallory",)])
def test_a_mark_on_a_rule_of_a_stranger_is_not_believed(natural: tuple[str, ...]) -> None:
    assert observe(Rucio([forged()]), *natural) == []


def test_accounts_that_a_file_or_the_settings_name_are_believed() -> None:
    rucio = Rucio([forged()], settings={"formerAccounts": ["mallory"]})
    assert [thing.ref for thing in observe(rucio)] == [REF]
    rucio = Rucio([forged()])
    assert [thing.ref for thing in observe(rucio, "mallory|")] == [REF]
    assert rucio.asked == [("list", {"comments": "rc1.o"})]  # such a key is no reason to list an account
    assert [thing.ref for thing in observe(Rucio([forged()]), "mallory|cms:other|2|x")] == [REF]


def removal(have: Observed, reason: str = "Removed", **more: Any) -> Change:
    return Change(have.ref, "rule", "lake", Action.DELETE, reason, have=have, **more)


def test_what_became_a_strangers_since_is_left_alone() -> None:
    thing = one()
    for told in ({"account": "mallory"}, {"comments": "rc1.other"}, {"meta": None}):
        rucio: Any = Rucio([row(**told)])
        HAND.delete(rucio, removal(thing))
        HAND.release(rucio, removal(thing))
        assert rucio.asked == []
        want = Resource(REF, "rule", "lake", thing.spec, Source("x"))
        change = Change(REF, "rule", "lake", Action.UPDATE, "Test", want=want, have=thing)
        with pytest.raises(BackendError, match="not any more"):
            HAND.apply(rucio, change, mark_for(OWNER, want))
        assert rucio.asked == []


def test_a_forged_rule_in_the_way_is_not_taken_up() -> None:
    """The place of a rule is one for an account; the account of this wish is not the forger's."""
    rucio = Rucio([forged(name="set-0", rse_expression="LYON")], errors=[Exists("DuplicateRule")])
    (error,) = together(rucio, wish())
    assert error
    assert [call[0] for call in rucio.asked] == ["add", "list"]


def test_our_comment_with_a_meta_that_nobody_can_read_is_taken_over() -> None:
    rucio: Any = Rucio([row(meta="nonsense", name="set-0", rse_expression="LYON", expires_at=ago(days=-9))])
    (thing,) = observe(rucio, "|cms:set-0|1|LYON")
    rucio.asked.clear()
    change = Change(wish().ref, "rule", "lake", Action.UPDATE, "Adopted", want=wish(), have=thing)
    HAND.apply(rucio, change, mark_for(OWNER, wish()))
    ((_, _, options),) = rucio.asked
    assert options["lifetime"] is None
    assert "rule-0" in str(options["meta"])


# --- rows that make no sense --------------------------------------------------------------------

NONSENSE: dict[str, list[Any]] = {
    "created_at": [None, "soon", 3, ago().replace(tzinfo=UTC)],
    "updated_at": [None, "soon"],
    "expires_at": ["soon", 17],
    "state": [None, 3, []],
    "error": [3, {}],
    "priority": ["3", -1, True],
    "activity": [3],
    "purge_replicas": ["no"],
    "locks_ok_cnt": [None, "2", 1.5, True],
    "locks_stuck_cnt": ["none"],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key in NONSENSE for value in NONSENSE[key]])
def test_a_row_with_nonsense_is_one_thing_that_failed(key: str, value: Any) -> None:
    bad, good = row(**{key: value}), row(id="12", name="other", mark=None)
    rucio: Any = Rucio([bad, good])
    broken, other = observe(rucio, "|cms:other|1|country=IT")
    assert (broken.state, broken.reason, broken.ref) == (State.FAILED, "Unreadable", REF)
    assert key in broken.message
    assert other.state is State.READY
    rucio.asked.clear()
    with pytest.raises(BackendError, match=key):
        HAND.delete(rucio, removal(broken))
    assert rucio.asked == []


@pytest.mark.parametrize(
    "bad",
    [
        {"id": None}, {"scope": 3}, {"name": ""}, {"account": None}, {"copies": "1"}, {"copies": True},
        {"rse_expression": None}, {"rse_expression": "\ud800"}, {"grouping": []}, {"comments": ["rc1.o"]},
    ],
)  # fmt: skip
def test_a_row_that_is_no_rule_is_left_out(bad: dict[str, Any]) -> None:
    class Loose(Rucio):
        def list_replication_rules(self, filters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
            return iter([*self.rows, None, [], "x", {}])  # type: ignore[list-item]

    rucio: Any = Loose([row(**bad), row(id="12")])
    assert [thing.uid for thing in observe(rucio)] == ["12"]


def test_an_explanation_that_makes_no_sense_is_done_without() -> None:
    class Odd(Rucio):
        def examine_replication_rule(self, uid: str) -> dict[str, Any]:
            return {"transfers": [{"attempts": None, "name": 3}, {"attempts": "4", "name": "x"}]}

    (thing,) = observe(Odd([row(state="STUCK")]))
    assert (thing.reason, "copies are there" in thing.message) == ("Stuck", True)


# --- the last look at a successor ---------------------------------------------------------------


def superseded(have: Observed, **more: Any) -> Change:
    return removal(have, "Superseded", needs=frozenset((REF,)), **more)


@pytest.mark.parametrize(
    "told",
    [
        {"expires_at": ago(days=-9)},
        {"state": "STUCK"},
        {"state": "REPLICATING"},
        {"account": "mallory"},
        {"comments": None},
        {"name": "other"},
        {"locks_ok_cnt": None},
        {"id": "11"},
    ],
)
def test_what_is_superseded_stays_without_a_sound_successor(told: dict[str, Any]) -> None:
    rucio: Any = Rucio([row(), row(**{"id": "12", "rse_expression": "LYON"} | told)])
    with pytest.raises(BackendError, match="no other rule of ours") as error:
        HAND.delete(rucio, superseded(one()))
    assert error.value.who == "time"
    assert [call[0] for call in rucio.asked] == ["list"]


def test_what_is_superseded_goes_with_one() -> None:
    rucio: Any = Rucio([row(copies=2), row(id="12", rse_expression="LYON")])
    thing = one(copies=2)
    HAND.delete(rucio, superseded(thing))  # fewer copies: the plan compared them with its file
    assert [call[0] for call in rucio.asked] == ["list", "update"]
    rucio.asked.clear()
    half = removal(thing, "ImmutableField", fields=(FieldChange("expression", "country=IT", "LYON"),))
    with pytest.raises(BackendError, match="no other rule of ours"):
        HAND.delete(rucio, half)
    for fields in ((FieldChange("copies", 2, 1),), (FieldChange("dataset", "cms:set", "cms:new"),)):
        HAND.delete(rucio, replace(half, fields=fields))
    assert [call[0] for call in rucio.asked] == ["list", "list", "update", "update"]


def test_what_is_removed_needs_no_successor() -> None:
    rucio: Any = Rucio([row()])
    HAND.delete(rucio, removal(one()))
    assert [call[0] for call in rucio.asked] == ["update"]


def test_only_the_whole_comment_is_ours() -> None:
    for comment in (None, "", "rc1.other", "rc1.o2", "rc1.o ", "RC1.O", "rc1.o/x"):
        assert seen([row(comments=comment)]) == []


# --- words --------------------------------------------------------------------------------------


def test_a_rule_in_our_words() -> None:
    thing = one()
    assert (thing.ref, thing.kind, thing.target, thing.uid, thing.state) == (
        REF, "rule", "lake", "11", State.READY,
    )  # fmt: skip
    assert thing.spec == {
        "dataset": "cms:set",
        "copies": 1,
        "expression": "country=IT",
        "grouping": "DATASET",
        "lastCopy": "keep",
        "repairs": 3,
        "activity": "User Subscriptions",
        "priority": 3,
        "purge": False,
        "sources": "",
    }
    assert thing.mark
    assert (thing.mark.id, thing.mark.owner) == (mark_id(REF), OWNER)
    assert thing.since == "2026-05-01T12:00:00+00:00"


@pytest.mark.parametrize(
    ("declared", "real", "said"),
    [
        ("a & (b|c)", "a&(b|c)", "a & (b|c)"),
        ("a|b", "(a|b)", "a|b"),
        ("(a|b)&(c|d)", "((a|b)&(c|d))", "(a|b)&(c|d)"),
        ("(a)|(b)", "a|b", "a|b"),
        ("a", "b", "b"),
    ],
)
def test_the_expression_is_the_declared_one_if_it_is_that(declared: str, real: str, said: str) -> None:
    thing = one(mark=replace(MARK, expression=declared), rse_expression=real)
    assert thing.spec["expression"] == said


@pytest.mark.parametrize(
    ("text", "inside"), [("( (a) )", "a"), ("(a)|(b)", "(a)|(b)"), ("", ""), ("()", ""), (")(", ")(")]
)
def test_parentheses_around_the_whole_are_taken_off(text: str, inside: str) -> None:
    assert bare(text) == inside


def test_all_keys_are_there_and_the_account_where_it_says_something() -> None:
    spec = one().spec
    assert (spec["priority"], spec["purge"], spec["sources"]) == (3, False, "")
    assert "account" not in spec
    assert one(priority=5, activity="Express").spec == {**spec, "priority": 5, "activity": "Express"}
    former: Any = Rucio([row(account="former")], settings={"formerAccounts": ["former"]})
    assert "account" not in observe(former)[0].spec
    assert one(mark=replace(MARK, named=True)).spec["account"] == "root"


def test_natural_keys_name_the_account_if_it_is_not_the_targets() -> None:
    assert natural_key(row(), "root") == "|cms:set|1|country=IT"
    assert natural_key(row(), "lake") == "root|cms:set|1|country=IT"
    for key in ("|cms:set|1|country=IT", "root|cms:set|1|country=IT"):
        (thing,) = seen([row(None)], key)
        assert (thing.ref.name, thing.mark) == (key, None)
    assert seen([row(None)], "|cms:set|2|country=IT") == []


def test_one_list_for_ours_and_one_for_every_account_that_is_asked_for() -> None:
    rucio: Any = Rucio([row(), row(None, id="12", copies=2), row(None, id="13", account="anna")])
    keys = {"|cms:set|2|country=IT", "|cms:other|1|x", "anna|cms:set|1|country=IT"}
    assert [thing.uid for thing in HAND.observe(rucio, Ask(OWNER, frozenset(keys)))] == ["11", "13", "12"]
    assert rucio.asked == [
        ("list", {"comments": "rc1.o"}), ("list", {"account": "anna"}), ("list", {"account": "root"}),
    ]  # fmt: skip


def test_no_account_is_looked_through_where_all_keys_are_ours() -> None:
    rucio: Any = Rucio([row(mark=MARK, rse_expression="(country=IT)")])
    for key in ("|cms:set|1|country=IT", "root|cms:set|1|country=IT", "|cms:set|1|((country=IT))"):
        list(HAND.observe(rucio, Ask(OWNER, frozenset((key,)))))
    assert {call[1].popitem() for call in rucio.asked} == {("comments", "rc1.o")}
    rucio.asked.clear()
    list(HAND.observe(rucio, Ask(OWNER, frozenset(("|cms:set|2|country=IT", "nonsense", "anna|", "a|b")))))
    assert [call[1] for call in rucio.asked] == [{"comments": "rc1.o"}, {"account": "root"}]


@pytest.mark.parametrize(
    ("told", "state", "reason", "words"),
    [
        (
            {"state": "REPLICATING", "locks_replicating_cnt": 3},
            State.PROGRESSING,
            "Replicating",
            "2 of 5 files",
        ),
        ({"state": "INJECT"}, State.PROGRESSING, "Injecting", ""),
        ({"state": "STUCK", "locks_stuck_cnt": 1}, State.FAILED, "Stuck", "1 can't be made"),
        ({"state": "SUSPENDED"}, State.FAILED, "Suspended", ""),
        ({"state": "WAITING_APPROVAL"}, State.PROGRESSING, "WaitingApproval", "anna or otto approves"),
        ({"expires_at": CREATED}, State.DELETING, "Expires", "2026-05-01T12:00:00+00:00"),
        ({"expires_at": ago(days=-90)}, State.DELETING, "Expires", ""),
    ],
)
def test_states(told: dict[str, Any], state: State, reason: str, words: str) -> None:
    thing = one(**told)
    assert (thing.state, thing.reason) == (state, reason)
    assert words in thing.message


def test_a_rule_of_others_that_ends_some_day_keeps_nothing_for_us() -> None:
    (thing,) = seen([row(None, expires_at=ago(days=-90))], KEY)
    assert (thing.state, thing.reason) == (State.FAILED, "Expires")
    for words in ("rule 11 of account root, not made by us, ends on", "adopt: true", "takes the end off"):
        assert words in thing.message
    assert thing.attributes["expires"]
    (thing,) = seen([row(None, expires_at=ago(minutes=-30))], KEY)
    assert thing.state is State.DELETING


def test_what_was_asked_to_try_again_is_waited_for_an_hour() -> None:
    def asked(asked: datetime, updated: datetime, state: str = "STUCK") -> str:
        mark = replace(MARK, asked=asked.replace(tzinfo=UTC).isoformat(), repaired=1)
        return one(mark=mark, state=state, updated_at=updated).reason

    assert asked(ago(minutes=5), ago(days=1, minutes=5)) == "Repairing"
    assert asked(ago(minutes=5), ago(minutes=1)) == "Stuck"  # Rucio came by, in vain
    assert asked(ago(minutes=70), ago(days=1, minutes=70)) == "Stuck"
    assert asked(ago(minutes=5), ago(days=1, minutes=5), "SUSPENDED") == "Suspended"
    assert asked(ago(minutes=-300), ago(days=1)) == "Stuck"  # a clock that is wrong


# --- what is stuck ------------------------------------------------------------------------------


def test_a_bounded_number_of_stuck_rules_is_examined() -> None:
    rows = [row(id=f"{number:03}", state="STUCK", error="no\nspace\x1b[31m") for number in range(100)]
    rucio: Any = Rucio(rows)
    things = list(HAND.observe(rucio, Ask(OWNER)))
    assert len(things) == 100
    assert len([call for call in rucio.asked if call[0] == "examine"]) == 20
    told = [thing.message for thing in things]
    assert "file-0: BARI → LYON, 4 attempts, failed" in told[0]
    assert "2 files more" in told[0]
    assert "no space\\u001b[31m" in told[0]
    assert "no space" in told[99]
    assert all(text.isprintable() and len(text) < 1500 for text in told)


def test_why_it_is_stuck_is_said_once_and_in_words() -> None:
    class Sourceless(Rucio):
        def examine_replication_rule(self, uid: str) -> dict[str, Any]:
            one = {"attempts": 0, "last_error": "RequestState.NO_SOURCES", "last_source": None, "rse": "LYON"}
            return {"transfers": [{**one, "name": f"file-{number}", "sources": []} for number in range(2)]}

    error = "RequestErrMsg.NO_SOURCES:RequestState.NO_SOURCES"
    for rucio in (Sourceless([row(state="STUCK", error=error)]), Sourceless([row(state="STUCK")])):
        (thing,) = observe(rucio)
        assert "RequestErrMsg" not in thing.message
        assert "no_sources" not in thing.message.lower()
        assert "no element has a copy that can be read" in thing.message
    (thing,) = observe(Sourceless([row(state="STUCK", error=error)]))
    assert thing.message.count("no element has a copy") == 1
    (thing,) = observe(Rucio([row(None, state="STUCK", error=error)]), KEY)  # one that is not examined
    assert thing.message.endswith(": no element has a copy that can be read")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            "RequestErrMsg.TRANSFER_FAILED:TRANSFER [28] No space",
            "the transfer failed: TRANSFER [28] No space",
        ),
        ("RequestErrMsg.SUBMISSION_FAILED:None", "the transfer service did not take the transfer"),
        ("RequestErrMsg.NO_SOURCES:RequestState.ONLY_TAPE_SOURCES", "the only copies are on tape"),
        ("something\nelse: x", "something else: x"),
        ("None", ""),
    ],
)
def test_what_rucio_says_in_words(said: str, words: str) -> None:
    assert plain_error(said) == words


@pytest.mark.parametrize(("error", "asked"), [(Transient("no answer"), 1), (Missing("gone"), 3)])
def test_a_reading_does_not_fail_for_want_of_words(error: BackendError, asked: int) -> None:
    rucio: Any = Rucio([row(id=str(number), state="STUCK") for number in range(3)], breaks=error)
    assert [thing.reason for thing in HAND.observe(rucio, Ask(OWNER))] == ["Stuck"] * 3
    assert len(rucio.asked) == 1 + asked


def test_half_a_list_is_an_error() -> None:
    rucio: Any = Rucio([row()], ends=False)
    with pytest.raises(Transient):
        HAND.observe(rucio, Ask(OWNER))


# --- writing ------------------------------------------------------------------------------------


def wish(number: int = 0, **spec: Any) -> Resource:
    known = {"dataset": f"cms:set-{number}", "copies": 1, "expression": "LYON", "grouping": "DATASET"}
    ref = REF._replace(name=f"rule-{number}")
    return Resource(ref, "rule", "lake", {**known, **spec}, Source("x"))


def together(rucio: Any, *wishes: Resource) -> list[BackendError | None]:
    changes = [Change(one.ref, "rule", "lake", Action.CREATE, "Test", want=one) for one in wishes]
    marked = [(change, mark_for(OWNER, one)) for change, one in zip(changes, wishes, strict=True)]
    return list(HAND.apply_together(rucio, marked))


def test_what_differs_is_not_made_by_one_call() -> None:
    rucio = Rucio()
    alike = [wish(number) for number in range(3)]
    assert together(rucio, *alike, wish(3, copies=2), wish(4, lastCopy="delete")) == [None] * 5
    assert [call[1] for call in rucio.asked] == [["set-0", "set-1", "set-2"], ["set-3"], ["set-4"]]


def test_one_that_is_refused_costs_the_others_little() -> None:
    no = Denied("x: InsufficientAccountLimit: too much")
    rucio = Rucio(errors=[no, None, no, no, None])
    became = together(rucio, *[wish(number) for number in range(4)])
    assert [type(error) for error in became] == [type(None), type(None), Denied, type(None)]
    assert [len(call[1]) for call in rucio.asked] == [4, 2, 2, 1, 1]


def test_what_may_have_happened_is_not_tried_again_at_once() -> None:
    rucio = Rucio(errors=[Transient("no answer")])
    assert {type(error) for error in together(rucio, wish(0), wish(1))} == {Transient}
    assert len(rucio.asked) == 1


def test_a_rule_that_is_gone_again_is_a_matter_of_time() -> None:
    rucio = Rucio(errors=[Exists("DuplicateRule")])
    (error,) = together(rucio, wish())
    assert error
    assert error.who == "time"


def test_a_change_without_a_difference_writes_nothing() -> None:
    rucio: Any = Rucio([row(scope="cms", name="set-0", rse_expression="LYON")])
    mark = replace(MARK, ref=wish().ref, expression="LYON", begun="2026-05-01T12:00:00+00:00")
    rucio.rows[0]["meta"] = text_of(meta_of({"cms:set-0": mark}))
    (thing,) = HAND.observe(rucio, Ask(OWNER))
    change = Change(thing.ref, "rule", "lake", Action.UPDATE, "Test", want=wish(), have=thing)
    rucio.asked.clear()
    HAND.apply(rucio, change, mark_for(OWNER, wish()))
    assert rucio.asked == []


def test_an_expression_that_has_no_room_is_refused_before_anything_is_sent() -> None:
    rucio = Rucio()
    (error,) = together(rucio, wish(expression="|".join(f"ELEMENT-{number}" for number in range(400))))
    assert error
    assert error.who == "author"
    assert rucio.asked == []
