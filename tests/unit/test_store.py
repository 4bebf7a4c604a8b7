"""The store on SQLite. Cases that take nothing but `location` are run on PostgreSQL too (tests/live)."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import event

from reconciler.errors import Locked, ReconcilerError, Transient, UsageError
from reconciler.model import (
    ABSENT,
    Action,
    Change,
    Condition,
    FieldChange,
    Hold,
    Outcome,
    Plan,
    Record,
    Ref,
    Result,
    Source,
    Word,
    mark_id,
)
from reconciler.store import Reading, Removal, Retention, Store, empty_history, open_store
from reconciler.store.rows import LastTry

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=10)
PART = Ref("DataRule", "cms", "higgs", "recas-disk.replica")
OBJECT = PART.object
ID = mark_id(PART)


@pytest.fixture
def location(tmp_path: Path) -> str:
    return str(tmp_path / "state" / "store.sqlite")


def change(ref: Ref = PART, action: Action = Action.CREATE, want: int = 1) -> Change:
    fields = (FieldChange("size", ABSENT, want),)
    return Change(
        ref, "replica", "recas.disk", action, "NotFound", fields, source=Source("data/higgs.yaml", 3)
    )


def plan(*changes: Change) -> Plan:
    return Plan("c0ffee", changes, {"dead": "timed out"})


def standing(ref: Ref = OBJECT, word: Word = Word.READY, reason: str = "", message: str = "") -> Condition:
    return Condition(ref, word, reason, message, source=Source("data/higgs.yaml", 3))


def record(
    run: str, *conditions: Condition, outcomes: tuple[Outcome, ...] = (), at: datetime = NOW
) -> Record:
    by_ref = {condition.ref: condition for condition in conditions}
    seconds = {"observe": 0.25}
    return Record(run, "c0ffee", "sha256:00", at, at, outcomes, by_ref, {"dead": "timed out"}, seconds, 0)


def one_run(store: Store, *conditions: Condition, at: datetime = NOW) -> str:
    """A run that changes nothing, from its lease to its end."""
    with store.lease():
        run = store.begin("c0ffee", at)
        store.finish(record(run, *conditions, at=at))
    return run


def attempted(store: Store, *changes: Change, at: datetime = NOW) -> str:
    """A run that died right after it said what it was about to write."""
    with store.lease():
        run = store.begin("c0ffee", at)
        store.record_plan(run, plan(*changes))
        store.attempt(run, changes, at)
    return run


# --- what both databases do ---


def test_a_missing_store_is_an_empty_history(location: str) -> None:
    history = open_store(location, "lab").history(NOW)
    assert (history.last_revision, history.last_run_time) == ("", None)
    assert (dict(history.conditions), dict(history.failed), dict(history.durations)) == ({}, {}, {})
    assert not history.proves_absent([ID], "recas.disk")
    assert not history.approved("sha256:00")
    assert not history.was_blind("recas.disk")
    assert history.removals(NOW) == ()
    assert history.verified(ID) is None
    assert history.lock_known(ID) is None


def test_a_plan_alone_creates_no_store(location: str) -> None:
    store = open_store(location, "lab")
    store.note_readings([Reading("recas.disk", 2.0, frozenset())], store.history(NOW))
    store.note_verified({ID: NOW})
    assert dict(open_store(location, "lab").history(NOW).durations) == {}
    assert open_store(location, "lab").runs() == ()


def test_nothing_is_written_without_the_lock(location: str) -> None:
    with pytest.raises(Locked):
        open_store(location, "lab").begin("c0ffee", NOW)
    store = open_store(location, "lab")
    with store.lease():
        run = store.begin("c0ffee", NOW)
    with pytest.raises(Locked):
        store.record_plan(run, plan())
    store.close()


def test_a_run_is_recorded_from_begin_to_finish(location: str) -> None:
    blocked = Condition(
        PART, Word.FAILED, "Transient", "503", "time", Source("a.yaml", 7), NOW, LATER, 3, (OBJECT,)
    )
    done = Outcome(change(), Result.FAILED, "Transient", "503 Service Unavailable", "time")
    with open_store(location, "lab") as store, store.lease():
        run = store.begin("c0ffee", NOW)
        store.record_plan(run, plan(change(), change(OBJECT, Action.DELETE).held(Hold("Locked", "locked"))))
        store.attempt(run, [change()], NOW)
        store.finish(record(run, standing(), blocked, outcomes=(done,), at=LATER))
    with open_store(location, "lab") as store:
        history = store.history(LATER)
        (found,) = store.runs()
        assert history.last_revision == "c0ffee"
        assert history.last_run_time == LATER
        assert history.conditions[PART] == blocked
        assert history.conditions[OBJECT] == replace(standing(), since=LATER)
        assert history.failed == {PART: LastTry(frozenset({change().digest}), LATER, "time")}
        assert [entry.last_try for entry in history.conditions.values()] == [LATER, LATER]
        assert (found.run, found.exit_code, found.finished) == (run, 0, LATER)
        assert found.summary == {
            "create": 1,
            "update": 0,
            "replace": 0,
            "delete": 1,
            "held": 1,
            "blind": ["dead"],
        }
        assert (found.seconds, found.blind) == ({"observe": 0.25}, {"dead": "timed out"})
        (outcome,) = store.outcomes_of_run(run)
        assert (outcome.ref, outcome.why, outcome.reason) == (PART, "NotFound", "Transient")
        assert store.outcomes_of(PART) == store.outcomes_of(OBJECT) == (outcome,)
        assert store.runs(ref=OBJECT) == store.runs(ref=PART) == (found,)
        assert store.runs(ref=Ref("DataRule", "cms", "other")) == ()


def test_a_killed_run_shows_no_end(location: str) -> None:
    with open_store(location, "lab") as store:
        one_run(store)
        run = attempted(store, change(), at=LATER)
        newest, oldest = store.runs()
        assert (newest.run, newest.finished, newest.exit_code) == (run, None, None)
        assert oldest.finished == NOW
        assert store.history(LATER).last_run_time == LATER
        assert [entry.run for entry in store.runs(limit=1)] == [run]


def test_two_runs_of_one_second_have_two_names(location: str) -> None:
    with open_store(location, "lab") as store:
        assert one_run(store) != one_run(store)


def test_since_is_kept_while_word_and_reason_stay(location: str) -> None:
    with open_store(location, "lab") as store:
        one_run(store, standing(word=Word.FAILED, reason="Denied", message="403"))
        one_run(store, standing(word=Word.FAILED, reason="Denied", message="401"), at=LATER)
        condition = store.history(LATER).conditions[OBJECT]
        assert (condition.since, condition.message) == (NOW, "401")
        one_run(store, standing(), at=LATER)
        assert store.history(LATER).conditions[OBJECT].since == LATER


def test_what_is_not_in_a_whole_pass_is_forgotten(location: str) -> None:
    with open_store(location, "lab") as store:
        one_run(store, standing(), standing(PART))
        one_run(store, standing())
        assert set(store.history(NOW).conditions) == {OBJECT}


def test_a_pass_over_a_part_leaves_the_rest(location: str) -> None:
    with open_store(location, "lab") as store:
        one_run(store, standing(), standing(PART))
        with store.lease():
            run = store.begin("c0ffee", LATER)
            failed = standing(PART, Word.FAILED, "Denied")
            after = store.finish_part(record(run, failed, at=LATER))
        assert {ref: entry.since for ref, entry in after.items()} == {OBJECT: NOW, PART: LATER}
        assert store.history(LATER).conditions == after


def test_a_change_in_no_recorded_plan_is_refused(location: str) -> None:
    with open_store(location, "lab") as store, store.lease():
        run = store.begin("c0ffee", NOW)
        store.record_plan(run, plan(change()))
        with pytest.raises(ReconcilerError, match="no recorded plan"):
            store.attempt(run, [change(want=2)], NOW)
        store.attempt(run, [change()], NOW)


def test_only_a_complete_list_proves_absence(location: str) -> None:
    with open_store(location, "lab") as store:
        with store.lease():
            store.begin("c0ffee", NOW)
            readings = [Reading("recas.disk", 1.0, frozenset({ID})), Reading("dead", 9.0, None)]
            store.note_readings(readings, store.history(NOW))
        history = store.history(LATER)
        other = mark_id(OBJECT)
        assert history.proves_absent([other], "recas.disk")
        assert not history.proves_absent([ID], "recas.disk")
        assert not history.proves_absent([other, ID], "recas.disk")
        assert not history.proves_absent([other], "dead")
        assert not history.proves_absent([other], "unheard-of")
        assert not history.proves_absent([], "recas.disk")


def test_an_attempt_ends_the_proof_until_the_next_list(location: str) -> None:
    empty = [Reading("recas.disk", 1.0, frozenset())]
    with open_store(location, "lab") as store:
        with store.lease():
            store.begin("c0ffee", NOW)
            before = store.history(NOW)
            store.note_readings(empty, before)
        assert store.history(NOW).proves_absent([ID], "recas.disk")
        attempted(store, change(), at=NOW - timedelta(days=1))  # the clock went back: it must not matter
        for asked in (ID, mark_id(OBJECT)):
            assert not store.history(NOW).proves_absent([asked], "recas.disk")
        assert store.history(NOW).proves_absent([mark_id(Ref("DataRule", "cms", "b"))], "recas.disk")
        with store.lease():
            store.begin("c0ffee", NOW)
            store.note_readings(empty, before)  # began before the attempt: proves nothing about it
            assert not store.history(NOW).proves_absent([ID], "recas.disk")
            store.note_readings(empty, store.history(NOW))
        assert store.history(NOW).proves_absent([ID], "recas.disk")


def test_an_older_list_never_replaces_a_newer_one(location: str) -> None:
    with open_store(location, "lab") as store:
        one_run(store)
        before = store.history(NOW)
        attempted(store, change())
        with store.lease():
            store.begin("c0ffee", NOW)
            store.note_readings([Reading("recas.disk", 1.0, frozenset({ID}))], store.history(NOW))
            store.note_readings([Reading("recas.disk", 1.0, frozenset())], before)
        assert not store.history(NOW).proves_absent([ID], "recas.disk")


def test_a_plan_leaves_no_proof_of_absence(location: str) -> None:
    with open_store(location, "lab") as store:
        one_run(store)
    with open_store(location, "lab") as store:
        store.note_readings([Reading("recas.disk", 2.0, frozenset())], store.history(NOW))
        history = store.history(NOW)
        assert dict(history.durations) == {"recas.disk": 2.0}
        assert not history.proves_absent([ID], "recas.disk")


def test_durations_are_learnt_and_blindness_remembered(location: str) -> None:
    def learn(seconds: float, listed: frozenset[str] | None) -> None:
        store.note_readings([Reading("recas.disk", seconds, listed)], store.history(NOW))

    with open_store(location, "lab") as store:
        one_run(store)
        learn(2.0, frozenset())
        learn(2.4, frozenset())
        assert store.history(NOW).durations["recas.disk"] == 2.0
        learn(12.0, frozenset())
        assert store.history(NOW).durations["recas.disk"] == pytest.approx(5.0)
        assert not store.history(NOW).was_blind("recas.disk")
        learn(60.0, None)
        assert store.history(NOW).durations["recas.disk"] == pytest.approx(5.0)
        assert store.history(NOW).was_blind("recas.disk")


def test_removals_count_for_a_time(location: str) -> None:
    removal = Removal(NOW, "DataRule", "cms", "recas", OBJECT)
    older = Removal(NOW - timedelta(hours=25), "DataRule", "cms", "recas", Ref("DataRule", "cms", "old"))
    with open_store(location, "lab") as store:
        with store.lease():
            run = store.begin("c0ffee", NOW)
            store.record_plan(run, plan(change()))
            store.attempt(run, [change()], NOW, removals=[removal, older])
            store.attempt(run, [change()], NOW, removals=[removal])  # a second try is the same removal
        assert store.history(NOW).removals(NOW - timedelta(hours=24)) == (removal,)
        assert len(store.history(NOW).removals(NOW - timedelta(hours=48))) == 2


def test_an_approval_lasts_a_day(location: str) -> None:
    with open_store(location, "lab") as store:
        with store.lease():
            store.approve(["sha256:aa"], NOW, "alice")
        assert store.history(NOW).approved("sha256:aa")
        assert not store.history(NOW).approved("sha256:bb")
        assert store.history(NOW + timedelta(hours=24)).approved("sha256:aa")
        assert not store.history(NOW + timedelta(hours=25)).approved("sha256:aa")
        assert not store.history(NOW - timedelta(hours=1)).approved("sha256:aa")


def test_writing_a_thing_forgets_its_verification(location: str) -> None:
    with open_store(location, "lab") as store:
        one_run(store)
        store.note_verified({ID: NOW, "other": NOW})
        store.note_verified({ID: LATER})
        assert store.history(LATER).verified(ID) == LATER
        attempted(store, change())
        assert store.history(LATER).verified(ID) is None
        assert store.history(LATER).verified("other") == NOW


def test_locks_are_known_until_the_thing_is_gone(location: str) -> None:
    delete = change(action=Action.DELETE)
    with open_store(location, "lab") as store:
        with store.lease():
            store.note_locks({ID: True, "other": False})
            store.note_locks({ID: False})
            store.note_locks({ID: True})
        assert (store.history(NOW).lock_known(ID), store.history(NOW).lock_known("other")) == (True, False)
        attempted(store, delete)
        assert store.history(NOW).lock_known(ID) is True
        with store.lease():
            run = store.begin("c0ffee", NOW)
            store.finish(record(run, outcomes=(Outcome(delete, Result.APPLIED),)))
        assert store.history(NOW).lock_known(ID) is None


def test_old_runs_go(location: str) -> None:
    with open_store(location, "lab") as store:
        for day in range(5):
            with store.lease():
                at = NOW + timedelta(days=day)
                run = store.begin("c0ffee", at)
                store.record_plan(run, plan(change()))
                outcomes = (Outcome(change(), Result.APPLIED),)
                store.finish(record(run, outcomes=outcomes, at=at), retention=Retention(days=3, runs=2))
        assert [found.started.day for found in store.runs()] == [5, 4]
        assert len(store.outcomes_of(PART)) == 2


def test_hostile_text_comes_back_as_it_was(location: str) -> None:
    message = "a'b\"c; DROP TABLE runs; %s :ref \\ \u202e 日本 \n\x1b[31m"
    with open_store(location, "lab") as store:
        one_run(store, standing(message=message), standing(PART, message="nul\0" + "x" * 10_000))
        conditions = store.history(NOW).conditions
        assert conditions[OBJECT].message == message
        assert conditions[PART].message == ("nul" + "x" * 10_000)[:4000]


def test_unchanged_conditions_write_no_row(location: str) -> None:
    conditions = [standing(Ref("SoftwareUpload", "cms", f"tool-{number}")) for number in range(200)]
    with open_store(location, "lab") as store:
        one_run(store, *conditions)
        with store.lease():
            run = store.begin("c0ffee", LATER)
            statements = written(store)
            store.finish(record(run, *conditions, at=LATER))
            assert not [text for text in statements if "conditions" in text]
            store.finish(record(run, *conditions[1:], at=LATER))
            assert [text for text in statements if text.startswith("DELETE FROM conditions")]


def test_a_quiet_reading_writes_nothing(location: str) -> None:
    readings = [Reading(f"site-{number}", 1.0, frozenset({ID})) for number in range(3)]
    with open_store(location, "lab") as store, store.lease():
        store.begin("c0ffee", NOW)
        store.note_readings(readings, store.history(NOW))
        statements = written(store)
        store.note_readings(readings, store.history(LATER))
        assert statements == []
        store.note_readings([replace(readings[0], listed=frozenset())], store.history(LATER))
        assert any("INSERT INTO reads" in text for text in statements)


def written(store: Store) -> list[str]:
    """What the database is told to change from now on, as it comes."""
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.lstrip().startswith(("SELECT", "BEGIN")):
            statements.append(statement)

    for engine in set(store._engines or ()):
        event.listen(engine, "before_cursor_execute", note)
    return statements


# --- what only a file does ---


def test_reading_touches_nothing(location: str) -> None:
    folder = Path(location).parent
    open_store(location, "lab").history(NOW).conditions  # noqa: B018  reading is the point
    assert not folder.exists()
    with open_store(location, "lab") as store:
        one_run(store, standing())
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert open_store(location, "lab").history(NOW).conditions
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert set(before) == {"store.sqlite", "store.sqlite.lock"}


def test_reading_needs_no_sqlalchemy(location: str) -> None:
    with open_store(location, "lab") as store:
        one_run(store, standing())
    program = """
import sys
from datetime import UTC, datetime
from reconciler.store import Reading, open_store
store = open_store(sys.argv[1], "lab")
history = store.history(datetime.now(UTC))
assert history.conditions and history.last_revision and not history.was_blind("x")
store.note_readings([], history)
assert "sqlalchemy" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program, location], check=True)


def test_file_and_folder_are_private(location: str) -> None:
    with open_store(location, "lab") as store:
        one_run(store)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in Path(location).parent.iterdir()}
    assert stat.S_IMODE(Path(location).parent.stat().st_mode) == 0o700
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize("spelling", ["{}", "sqlite:///{}"])
def test_a_path_and_a_url_name_the_same_file(location: str, spelling: str) -> None:
    with open_store(spelling.format(location), "lab") as store:
        one_run(store)
    assert Path(location).is_file()


@pytest.mark.parametrize("bad", ["mysql://x/y", "", "sqlite://", "postgresql://u:secret@h/d"])
def test_other_places_are_refused(bad: str) -> None:
    with pytest.raises(UsageError) as error:
        open_store(bad, "lab")
    assert "secret" not in f"{error.value} {error.value.hint}"


def damage(path: Path, how: str) -> None:
    if how == "garbage":
        path.write_bytes(os.urandom(5000))
    if how == "torn":
        content = bytearray(path.read_bytes())
        content[4096:] = b"\xff" * (len(content) - 4096)
        path.write_bytes(content)
    if how == "schema":
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE meta SET value = '0' WHERE key = 'schema'")
        connection.close()


@pytest.mark.parametrize("how", ["garbage", "torn", "schema"])
def test_what_cannot_be_used_is_set_aside(location: str, how: str) -> None:
    path = Path(location)
    for number in (1, 2):
        with open_store(location, "lab") as store:
            one_run(store, standing())
        damage(path, how)
        before = path.read_bytes()
        with open_store(location, "lab") as store:
            history = store.history(NOW)
            assert (dict(history.conditions), history.approved("sha256:00")) == ({}, False)
            assert path.read_bytes() == before
            one_run(store, standing())
            assert [line for line in store.notices if f"store.sqlite.old-{number}" in line]
        assert (path.parent / f"store.sqlite.old-{number}").read_bytes() == before
        with open_store(location, "lab") as store:
            one_run(store, standing())
            assert store.notices == ()
            assert list(store.history(NOW).conditions) == [OBJECT]


def test_a_database_of_somebody_else_is_left_alone(location: str) -> None:
    path = Path(location)
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (a)")
    connection.close()
    before = path.read_bytes()
    with open_store(location, "lab") as store, store.lease(), pytest.raises(UsageError):
        store.begin("c0ffee", NOW)
    with open_store(location, "other") as store:
        assert dict(store.history(NOW).conditions) == {}
    assert path.read_bytes() == before


def test_a_store_has_one_owner(location: str) -> None:
    with open_store(location, "lab") as store:
        one_run(store, standing())
    with open_store(location, "other") as store:
        assert dict(store.history(NOW).conditions) == {}
        with store.lease(), pytest.raises(UsageError, match="'other'"):
            store.begin("c0ffee", NOW)


FULL = """
import resource, sys
from datetime import UTC, datetime
from reconciler.errors import Transient
from reconciler.model import Plan
from reconciler.store import open_store
now = datetime(2026, 3, 1, tzinfo=UTC)
store = open_store(sys.argv[1], "lab")
with store.lease():
    store.begin("a", now)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    try:
        for number in range(100):
            store.note_verified({f"{number}-{entry}": now for entry in range(1000)})
    except Transient as error:
        print(f"{error} | {error.hint}")
        sys.exit(0)
sys.exit("it never was full")
"""


def test_a_full_disk_says_what_to_do_and_loses_nothing(location: str) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, location], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert location in done.stdout
    assert "free space" in done.stdout
    with open_store(location, "lab") as store:
        one_run(store, standing())
        assert len(store.runs()) == 2
        assert store.notices == ()


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = open_store(tmp_path / "file" / "store.sqlite", "lab")
    with pytest.raises((Transient, UsageError)) as error:
        store.lease()
    assert str(tmp_path) in str(error.value)


KILLED = """
import os, sys, time
from datetime import UTC, datetime, timedelta
from reconciler.model import *
from reconciler.store import Reading, open_store
now = datetime(2026, 3, 1, tzinfo=UTC)
store = open_store(sys.argv[1], "lab")
with store.lease():
    for number in range(100_000):
        at = now + timedelta(seconds=number)
        run = store.begin(f"r{number}", at)
        ref = Ref("SoftwareUpload", "cms", f"t{number % 7}")
        one = Change(ref, "SoftwareUpload", "stratum0", Action.CREATE, "NotFound")
        store.record_plan(run, Plan("r", (one,)))
        store.attempt(run, [one], at)
        store.note_readings([Reading("stratum0", 1.0, frozenset({mark_id(ref)}))], store.history(at))
        conditions = {ref: Condition(ref, Word.READY, "")}
        store.finish(Record(run, "r", "", at, at, (Outcome(one, Result.APPLIED),), conditions, {}, {}, 0))
        print("go", flush=True)
"""


def killed_after(program: str, location: str, seconds: float) -> None:
    """Start the program, and kill it so many seconds after it said that it goes."""
    process = subprocess.Popen([sys.executable, "-c", program, location], stdout=subprocess.PIPE)
    assert process.stdout
    with process, process.stdout as output:
        assert output.readline() == b"go\n"
        time.sleep(seconds)
        process.kill()


def test_a_killed_writer_leaves_a_sound_store(location: str) -> None:
    runs = 0
    for seconds in (0.02, 0.1, 0.2, 0.31, 0.43):
        killed_after(KILLED, location, seconds)
        with open_store(location, "lab") as store:
            assert store.notices == ()
            found = store.runs(limit=1_000_000)
            assert len(found) >= runs
            runs = len(found)
            assert sum(run.finished is None for run in found) <= 5
            one_run(store, standing())
            runs += 1
            assert store.notices == ()
    assert runs > 10


def test_ten_thousand_conditions_are_read_in_time(location: str) -> None:
    refs = [Ref("SoftwareUpload", f"group-{number % 20}", f"tool-{number}") for number in range(10_000)]
    with open_store(location, "lab") as store:
        one_run(store, *(standing(ref) for ref in refs))
    best = min(_seconds_to_read(location) for _ in range(5))
    assert best < 0.5, "ten times what it takes on an idle machine"


def _seconds_to_read(location: str) -> float:
    started = time.perf_counter()
    assert len(open_store(location, "lab").history(NOW).conditions) == 10_000
    return time.perf_counter() - started


def test_an_empty_history_proves_nothing() -> None:
    assert not empty_history(NOW).proves_absent([ID], "recas.disk")
