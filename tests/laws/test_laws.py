"""The twelve laws of the product, each on random repositories, worlds and weather."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from reconciler import registry
from reconciler.drivers.simulated.client import Writer
from reconciler.drivers.simulated.weather import Request
from reconciler.errors import BackendError, ExitCode, ReadOnly
from reconciler.model import Plan, Word
from tests.laws.lab import SITES, Files, Lab, base, refs, rule, upload
from tests.laws.strategies import blinding, histories, objects, sites, weather

EMPTY = Plan("", ()).digest
PHASES = (Phase.explicit, Phase.reuse, Phase.generate) + (
    (Phase.shrink,) if "LAWS_SHRINK" in os.environ else ()
)
few = settings(
    max_examples=int(os.environ.get("LAWS_EXAMPLES", "10")),
    suppress_health_check=list(HealthCheck),
    phases=PHASES,
)
fewer = settings(few, max_examples=max(4, int(os.environ.get("LAWS_EXAMPLES", "10")) // 2))


def converge(lab: Lab, files: Files) -> set[str]:
    """Commit these objects and apply in good weather; removals are not limited in the laboratory.

    Returns the names of what is Ready: all but rules that want more copies than there are elements.
    """
    lab.commit({**base(), **anchors(), **files}, whole=True)
    lab.clear()
    for _ in range(3):
        applied = lab.apply()
        if applied.exit_code in (ExitCode.CONVERGED, ExitCode.PROGRESSING):
            break
    conditions = applied.record.conditions.values()
    assert all(_settled(condition) for condition in conditions), conditions
    return {condition.ref.name for condition in conditions if condition.word is Word.READY}


def _name(path: str) -> str:
    return path.rsplit("/", 1)[1].removesuffix(".yaml")


def _settled(condition: Any) -> bool:
    """Ready, or it can't be had: an expression that selects fewer elements than copies."""
    waits = ("NotEnoughElements", "NoPlace", "LastCopy")
    return condition.word is Word.READY or condition.reason in waits


def anchors(keep: int = 0) -> Files:
    """One object a group that always stays, so that no group is ever emptied."""
    return {f"software/anchor-{group}.yaml": upload("anchor", group, keepPrevious=keep) for group in "ab"}


# -- 1: plan never writes ---------------------------------------------------------------------


@few
@given(histories(2), objects(), weather)
def test_law_1_plan_never_writes(history: list[Files], after: Files, sky: dict[str, Any]) -> None:
    with Lab() as lab:
        for files in history:
            converge(lab, files)
        lab.commit({**base(), **after}, whole=True)
        for site in SITES:
            lab.weather(site, **sky[site])
        before, written = lab.digest(), lab.writes()
        lab.plan()
        lab.plan(deep=True)
        assert (lab.digest(), lab.writes()) == (before, written)


def test_law_1_plan_cannot_write() -> None:
    """The client of a plan is no writer, refuses to write, and can't write to the world's file either."""
    with Lab({"software/u.yaml": upload("u")}) as lab:
        lab.apply()
        before, written = lab.digest(), lab.writes()
        reader = registry.driver("simulated").reader(lab_target(lab, "alba"), lab_places(lab))
        assert not isinstance(reader, Writer)
        with pytest.raises(ReadOnly):
            reader.tell(Request("delete"), _empty_world)
        with pytest.raises(BackendError):
            reader.ask(Request("list"), _empty_world)
        reader.close()
        assert (lab.digest(), lab.writes()) == (before, written)


def _empty_world(connection: sqlite3.Connection) -> int:
    return connection.execute("DELETE FROM things").rowcount


def lab_target(lab: Lab, name: str) -> Any:
    from reconciler.line.session import open_session  # noqa: PLC0415  only this test looks inside

    return open_session(lab.request()).valid.targets[name]


def lab_places(lab: Lab) -> Any:
    from reconciler.folders import Folders  # noqa: PLC0415  only this test looks inside

    return Folders("lab")


# -- 2: the second run is quiet ---------------------------------------------------------------


@few
@given(histories())
def test_law_2_second_run_is_quiet(history: list[Files]) -> None:
    with Lab() as lab:
        for files in history:
            converge(lab, files)
        written = lab.writes()
        again = lab.apply()
        assert lab.writes() == written
        assert again.plan.digest == EMPTY, refs(again)
        assert lab.plan().plan.digest == EMPTY


# -- 3: not seeing is not absence -------------------------------------------------------------


@few
@given(objects(), objects(), sites, blinding, st.booleans())
def test_law_3_blind_is_not_absent(
    first: Files, second: Files, site: str, dark: dict[str, Any], forget: bool
) -> None:
    with Lab() as lab:
        converge(lab, first)
        lab.commit({**base(), **anchors(), **second}, whole=True)
        lab.weather(site, **dark)
        if forget:
            lab.forget()
        before = lab.world(site).digest()
        applied = lab.apply()
        assert site in applied.record.blind
        assert lab.world(site).digest() == before
        assert not [change for change in applied.plan.changes if change.target == site]
        ready = converge(lab, second)
        counted = Counter(thing.ref for _site, thing in lab.things())
        assert not [ref for ref, count in counted.items() if count > 1]
        _exact_copies(lab, {path: text for path, text in second.items() if _name(path) in ready})


@fewer
@given(objects(), sites, blinding, st.booleans())
def test_law_3_nothing_is_made_twice(files: Files, site: str, dark: dict[str, Any], forget: bool) -> None:
    """While a site can't be read and git stays as it is, nothing is made elsewhere in its place."""
    wide = {f"data/wide{copies}.yaml": rule(f"wide{copies}", copies=copies) for copies in (1, 2)}
    with Lab() as lab:
        converge(lab, {**files, **wide})
        lab.weather(site, **dark)
        if forget:
            lab.forget()
        before = lab.digest()
        applied = lab.apply()
        assert site in applied.record.blind
        assert (lab.digest(), refs(applied)) == (before, [])


def _exact_copies(lab: Lab, files: Files) -> None:
    """A rule that is Ready has just the copies that it declares."""
    copies = Counter(thing.ref.rsplit("/", 1)[0] for _site, thing in lab.things("replica"))
    for ref, count in copies.items():
        name = ref.split("/")[2]
        text = files.get(f"data/{name}.yaml")
        assert text is None or count == int(text.split("copies: ")[1].split()[0]), (ref, count)


@fewer
@given(objects(), objects())
def test_law_3_unreadable_file_removes_nothing(first: Files, second: Files) -> None:
    with Lab() as lab:
        converge(lab, first)
        lab.commit({**base(), **second, "data/broken.yaml": "kind: [DataRule\n"}, whole=True)
        before = {(site, thing.uid) for site, thing in lab.things()}
        applied = lab.apply()
        assert applied.exit_code is ExitCode.INVALID
        assert before <= {(site, thing.uid) for site, thing in lab.things()}


# -- 4: what is not ours is never touched -----------------------------------------------------


@few
@given(histories(), sites, weather)
def test_law_4_foreign_things_stay(history: list[Files], site: str, sky: dict[str, Any]) -> None:
    with Lab() as lab:
        with lab.world(site) as world:
            world.insert("SoftwareUpload", "sw.example.org:a/u0", {"path": "a/u0"})
            world.insert("SoftwareUpload", "sw.example.org:b/u1", {"path": "b/u1"}, owner="other")
            world.insert("replica", "elsewhere", {"dataset": "x:y"}, owner="other")
        foreign = [thing for _site, thing in lab.things() if thing.owner != "lab"]
        there = {"software/in-the-way.yaml": upload("in-the-way", "a", site, path="a/u0")}
        for number, files in enumerate(history):
            lab.commit({**base(), **files, **there}, whole=True)
            lab.weather(site, **(sky[site] if number % 2 else {}))
            lab.apply()
        assert [thing for _site, thing in lab.things() if thing.owner != "lab"] == foreign
        taken = {thing.place for thing in foreign}
        assert not [
            thing
            for at, thing in lab.things()
            if at == site and thing.owner and thing.place in taken and thing not in foreign
        ]


@fewer
@given(objects(), objects())
def test_law_4_taken_over_meanwhile(first: Files, second: Files) -> None:
    """What becomes somebody else's between the look and the write is left alone."""
    with Lab() as lab:
        converge(lab, {**first, "software/leaving.yaml": upload("leaving")})
        lab.commit({**base(), **anchors(2), **second}, whole=True)
        before = {(site, thing.uid): thing.spec for site, thing in lab.things()}
        with _taking_over(lab):
            lab.apply()
        after = {(site, thing.uid): thing.spec for site, thing in lab.things()}
        assert {key: after.get(key) for key in before} == before


@contextmanager
def _taking_over(lab: Lab) -> Iterator[None]:
    """Another owner puts a mark on everything, just before each of our writes arrives."""
    tell, one = Writer.tell, threading.Lock()

    def late(self: Writer, *arguments: Any) -> None:
        with one, sqlite3.connect(self.path) as connection:
            connection.execute("UPDATE things SET owner = 'other'")
        connection.close()
        tell(self, *arguments)

    Writer.tell = late  # type: ignore[assignment, method-assign]  # a site's operator that is faster than we are
    try:
        yield
    finally:
        Writer.tell = tell  # type: ignore[method-assign]


# -- 5: the store is disposable ---------------------------------------------------------------


@few
@given(histories(), st.integers(0, 2))
def test_law_5_store_is_disposable(history: list[Files], when: int) -> None:
    with Lab() as lab:
        for number, files in enumerate(history):
            converge(lab, files)
            if number == when:
                lab.forget()
        kept = lab.digest()
        lab.forget()
        written = lab.writes()
        assert lab.apply().plan.digest == EMPTY
        assert (lab.digest(), lab.writes()) == (kept, written)


@fewer
@given(objects(), objects(), st.data())
def test_law_5_plans_do_not_need_the_store(first: Files, second: Files, data: st.DataObject) -> None:
    with Lab() as lab:
        converge(lab, {**first, "software/leaving.yaml": upload("leaving")})
        names = sorted((site, thing.uid) for site, thing in lab.things())
        for site, uid in data.draw(st.sets(st.sampled_from(names), max_size=3)):
            lab.world(site).remove(uid)
        lab.commit({**base(), **anchors(), **second}, whole=True)
        known = lab.plan().plan
        lab.forget()
        assert refs(lab.plan()) == [str(change.ref) for change in known.changes]
        assert lab.plan().plan.digest == known.digest


# -- 6: kill -9 at any moment -----------------------------------------------------------------


@few
@given(objects(), objects(), st.integers(0, 12), st.booleans(), st.booleans())
def test_law_6_kill_at_any_write(first: Files, second: Files, point: int, after: bool, forget: bool) -> None:
    with Lab() as lab:
        converge(lab, first)
        lab.commit({**base(), **anchors(), **second}, whole=True)
        killed(lab.apply, point, after)
        if forget:
            lab.forget()
        _as_neverkilled(lab, second)


@fewer
@given(objects(), st.integers(0, 5), st.booleans())
def test_law_6_kill_and_think_better_of_it(files: Files, point: int, half: bool) -> None:
    """Git goes back after the kill: what was made for nothing, or half-made, is found and removed."""
    more = {f"software/more{number}.yaml": upload(f"more{number}") for number in range(6)}
    with Lab() as lab:
        converge(lab, files)
        lab.commit({**base(), **anchors(), **files, **more}, whole=True)
        if half:
            lab.weather("alba", failures=[{"error": "Partial", "operation": "create"}])
        killed(lab.apply, point, after=True)
        _as_neverkilled(lab, files)


@fewer
@given(st.integers(0, 5))
def test_law_6_half_made_is_completed(point: int) -> None:
    more = {f"software/more{number}.yaml": upload(f"more{number}") for number in range(6)}
    with Lab() as lab:
        lab.commit({**base(), **anchors(), **more}, whole=True)
        lab.weather("alba", failures=[{"error": "Partial", "operation": "create"}])
        killed(lab.apply, point, after=True)
        _as_neverkilled(lab, more)


def _as_neverkilled(lab: Lab, files: Files) -> None:
    """Run again: what is wanted, once, whole, and nothing else."""
    converge(lab, files)
    counted = Counter(thing.ref for _site, thing in lab.things())
    assert not [ref for ref, count in counted.items() if count > 1]
    assert not [thing for _site, thing in lab.things() if thing.partial or thing.owner != "lab"]
    assert {thing.ref.split("/")[2] for _s, thing in lab.things("SoftwareUpload")} == _uploads(files)
    assert lab.apply().plan.digest == EMPTY


def _uploads(files: Files) -> set[str]:
    return {path.split("/")[1].removesuffix(".yaml") for path in files if path.startswith("software")} | {
        "anchor"
    }


def killed(work: Callable[[], Any], point: int, after: bool) -> None:
    """Do the work in a child that kills itself at (before or after) its so-many-th write."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    count = 0
    tell = Writer.tell

    def counted(self: Writer, *arguments: Any) -> Any:
        nonlocal count
        count += 1
        if count > point and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            return tell(self, *arguments)
        finally:
            if count > point:
                os.kill(os.getpid(), signal.SIGKILL)

    Writer.tell = counted  # type: ignore[assignment, method-assign]  # the child ends here
    try:
        work()
    finally:
        os._exit(0)


# -- 7: one bad object, one dead site never holds up the others -------------------------------


_DEAD: tuple[dict[str, Any], ...] = (
    {"hang": "hard", "hangSeconds": "30s"},
    {"unauthorized": True},
    {"failureRate": 100},
    {"failures": [{"error": "Rejected", "operation": "create"}]},
    {"failures": [{"error": "hang-hard", "operation": "create"}], "hangSeconds": "30s"},
)


@few
@given(objects(), sites, st.sampled_from(_DEAD))
def test_law_7_healthy_ones_go_on(files: Files, site: str, dead: dict[str, Any]) -> None:
    _one_is_dead(files, site, dead)


@pytest.mark.parametrize("dead", _DEAD[3:])
def test_law_7_writes_that_fail_hold_up_nobody(dead: dict[str, Any]) -> None:
    _one_is_dead({}, "alba", dead)


def _one_is_dead(files: Files, site: str, dead: dict[str, Any]) -> None:
    bad = {
        "software/bad.yaml": upload("bad", sha256="short"),
        "data/nowhere.yaml": rule("nowhere", expression="country=XX"),
    }
    good = {f"software/at-{at}.yaml": upload(f"at-{at}", target=at) for at in SITES}
    good |= {f"data/on-{at}.yaml": rule(f"on-{at}", expression=COUNTRIES[at]) for at in SITES}
    with Lab() as lab:
        lab.commit({**base(), **files, **good, **bad}, whole=True)
        lab.weather(site, **dead)
        started = time.monotonic()
        applied = lab.apply()
        assert time.monotonic() - started < 20
        conditions = {str(ref): condition for ref, condition in applied.record.conditions.items()}
        assert conditions["SoftwareUpload/a/bad"].reason == "Invalid"
        assert conditions["DataRule/a/nowhere"].reason == "ExpressionSelectsNothing"
        for at in sorted(set(SITES) - {site}):
            assert conditions[f"DataRule/a/on-{at}"].word is Word.READY
        for path, text in {**files, **good}.items():
            if path.startswith("software") and f"target: '{site}'\n" not in text:
                name, group = path.split("/")[1].removesuffix(".yaml"), text.split("group: ")[1][0]
                assert conditions[f"SoftwareUpload/{group}/{name}"].word is Word.READY


COUNTRIES = {"alba": "country=ES", "brno": "country=CZ", "cnaf": "country=IT"}


# -- 8: order and paths never matter ----------------------------------------------------------


@few
@given(objects(), objects(), st.randoms())
def test_law_8_paths_never_matter(first: Files, second: Files, chance: random.Random) -> None:
    with Lab() as lab:
        converge(lab, first)
        everything = {**base(), **second, "data/wide.yaml": rule("wide", copies=2)}
        lab.commit(everything, whole=True)
        shown = _shown(lab)
        for _ in range(2):
            lab.commit(_elsewhere(everything, chance), whole=True)
            assert _shown(lab) == shown
        texts = [text for path, text in sorted(everything.items()) if path != "reconciler.yaml"]
        settings = {"reconciler.yaml": everything["reconciler.yaml"]}
        lab.commit({**settings, "all.yaml": "---\n".join(reversed(texts))}, whole=True)
        assert _shown(lab) == shown


def _shown(lab: Lab) -> tuple[str, list[tuple[str, str, str]]]:
    """The digest of the plan, and its changes in their order."""
    plan = lab.plan().plan
    return plan.digest, [(str(change.ref), change.target, str(change.action)) for change in plan.changes]


def _elsewhere(files: Files, chance: random.Random) -> Files:
    """The same objects in other files of other folders; the settings have one place only."""
    texts = [text for path, text in sorted(files.items()) if path != "reconciler.yaml"]
    chance.shuffle(texts)
    moved = {f"{chance.randrange(10**6)}/{number}.yml": text for number, text in enumerate(texts)}
    return {**moved, "reconciler.yaml": files["reconciler.yaml"]}


# -- 9: deleting is a separate power ----------------------------------------------------------


@fewer
@given(st.integers(2, 12), st.data())
def test_law_9_removals_have_a_budget(number: int, data: st.DataObject) -> None:
    names = [f"u{index}" for index in range(number)]
    files = {f"software/{name}.yaml": upload(name) for name in names}
    going = data.draw(st.sets(st.sampled_from(names), min_size=1))
    with Lab() as lab:
        lab.commit({**base(settings=""), **files}, whole=True)
        assert lab.apply().exit_code is ExitCode.CONVERGED
        lab.drop(*(f"software/{name}.yaml" for name in going))
        applied = lab.apply()
        left = {thing.ref.split("/")[2] for _site, thing in lab.things("SoftwareUpload")}
        if len(going) > 3 or len(going) == number:
            assert applied.exit_code is ExitCode.HELD
            assert left == set(names)
            lab.apply(approve=(applied.plan.digest,))
            left = {thing.ref.split("/")[2] for _site, thing in lab.things("SoftwareUpload")}
        assert left == set(names) - going


@pytest.mark.parametrize("number", [2, 3])
def test_law_9_a_group_is_not_emptied(number: int) -> None:
    """Fewer removals than the budget allows; but it is all that the group has."""
    with Lab() as lab:
        files = {f"software/u{index}.yaml": upload(f"u{index}") for index in range(number)}
        lab.commit({**base(settings=""), **files}, whole=True)
        lab.apply()
        before = lab.digest()
        lab.drop(*files)
        assert (lab.apply().exit_code, lab.digest()) == (ExitCode.HELD, before)


def test_law_9_an_approval_is_for_what_it_names() -> None:
    with Lab() as lab:
        names = [f"{group}{index}" for group in "ab" for index in range(5)]
        files = {f"software/{name}.yaml": upload(name, name[0]) for name in names}
        lab.commit({**base(settings=""), **anchors(), **files}, whole=True)
        lab.apply()
        lab.drop(*(f"software/a{index}.yaml" for index in range(5)))
        seen = lab.plan().plan
        lab.drop(*files)
        assert lab.plan().plan.buckets().keys() > seen.buckets().keys()
        lab.apply(approve=tuple(change.digest for change in seen.changes))
        left = {thing.ref.split("/")[2] for _site, thing in lab.things("SoftwareUpload")}
        assert left == {"anchor", *(f"b{index}" for index in range(5))}
        assert lab.apply().exit_code is ExitCode.HELD


@fewer
@given(st.sets(st.sampled_from("uvwxyz"), min_size=1), st.sets(st.sampled_from("uvwxyz")), st.booleans())
def test_law_9_locked_things_stay(names: set[str], locked: set[str], forget: bool) -> None:
    files = {
        f"software/{name}.yaml": upload(name, metadata="locked: true" if name in locked else "")
        for name in names
    }
    with Lab() as lab:
        lab.commit({**base(), **anchors(), **files}, whole=True)
        lab.apply()
        lab.commit({**base(), **anchors()}, whole=True)
        if forget:
            lab.forget()
        applied = lab.apply()
        left = {thing.ref.split("/")[2] for _site, thing in lab.things("SoftwareUpload")} - {"anchor"}
        assert left == names & locked
        assert applied.exit_code is (ExitCode.HELD if left else ExitCode.CONVERGED)
        if left:  # and nobody can approve it
            assert lab.apply(approve=(lab.plan().plan.digest,)).exit_code is ExitCode.HELD
        assert {thing.ref.split("/")[2] for _site, thing in lab.things("SoftwareUpload")} == {*left, "anchor"}


# -- 10: secrets are references ---------------------------------------------------------------


def test_law_10_no_secret_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    canary = "canary-9f27c1d4e8"
    monkeypatch.setenv("HOOK", f"http://127.0.0.1:9/{canary}")
    notify = GENEROUS_WITH_HOOK
    with Lab() as lab:
        lab.commit({**base(settings=notify), "software/u.yaml": upload("u")}, whole=True)
        lab.weather("alba", unauthorized=True)
        one = lab.apply(status=str(lab.root / "status"))
        lab.clear()
        two = lab.apply(status=str(lab.root / "status"))
        assert [line for line in one.notices if "env:HOOK" in line or "notify" in line]
        assert canary not in repr((one, two, capfd.readouterr()))
        files = [file for file in lab.root.rglob("*") if file.is_file()]
        assert [file for file in files if file.name.startswith("store.sqlite")]
        assert not [file for file in files if canary.encode() in file.read_bytes()]


GENEROUS_WITH_HOOK = "notify: [{webhook: 'env:HOOK'}]\n"


# -- 11: nothing is written that was not in a recorded plan -----------------------------------


@few
@given(objects(), objects(), st.sampled_from(["u9", "u8"]))
def test_law_11_only_what_the_person_saw(first: Files, second: Files, late: str) -> None:
    from reconciler.report.json import plan_json  # noqa: PLC0415

    with Lab() as lab:
        converge(lab, first)
        lab.commit({**base(), **anchors(), **second}, whole=True)
        seen = lab.plan()
        shown = {str(change.ref) for change in seen.plan.changes}
        lab.commit({**lab.files, f"software/{late}.yaml": upload(late)}, whole=True)
        before = {thing.ref for _site, thing in lab.things()}
        lab.apply(plan_file=plan_json(seen.plan, {}))
        after = {thing.ref for _site, thing in lab.things()}
        assert before ^ after <= shown
        assert f"SoftwareUpload/a/{late}" not in after


@fewer
@given(histories(), weather)
def test_law_11_every_write_was_planned(history: list[Files], sky: dict[str, Any]) -> None:
    from reconciler.line.session import open_session  # noqa: PLC0415

    with Lab() as lab:
        for number, files in enumerate([*history, *history]):
            moving = {
                "data/moving.yaml": rule("moving", expression="country=" + ("ES", "CZ", "IT")[number % 3])
            }
            lab.commit({**base(), **files, **moving}, whole=True)
            for site in SITES:
                lab.weather(site, **(sky[site] if number < len(history) else {}))
            before = {(thing.ref, thing.spec_hash, thing.uid) for _site, thing in lab.things()}
            applied = lab.apply()
            after = {(thing.ref, thing.spec_hash, thing.uid) for _site, thing in lab.things()}
            rows = open_session(lab.request()).history.rows
            planned = {
                ref for (ref,) in rows("SELECT ref FROM plans WHERE run = :run", run=applied.record.run)
            }
            assert {ref for ref, _hash, _uid in before ^ after} <= planned


def test_law_11_what_a_run_finds_later_is_recorded_too() -> None:
    """A half-made thing is seen in the second look of a run; mending it is a plan of its own."""
    from reconciler.line.session import open_session  # noqa: PLC0415

    with Lab({"software/u.yaml": upload("u")}) as lab:
        lab.weather("alba", failures=[{"error": "Partial", "operation": "create", "kind": "SoftwareUpload"}])
        run = lab.apply().record.run
        assert "update SoftwareUpload" in lab.world("alba").calls()
        query = "SELECT action FROM plans WHERE run = :run AND ref = 'SoftwareUpload/a/u'"
        rows = open_session(lab.request()).history.rows(query, run=run)
        assert sorted(action for (action,) in rows) == ["create", "update"]


# -- 12: a pass costs lists, not objects ------------------------------------------------------


@fewer
@given(st.integers(1, 60), st.sampled_from([7, 20, 500]))
def test_law_12_a_pass_costs_lists(number: int, page: int) -> None:
    with Lab() as lab:
        files = {f"software/u{index}.yaml": upload(f"u{index}") for index in range(number)}
        files |= {f"data/r{index}.yaml": rule(f"r{index}") for index in range(number // 3)}
        lab.commit({**base(), **files}, whole=True)
        assert lab.apply().exit_code is ExitCode.CONVERGED
        lab.weather("alba", pageSize=page)
        pages = max(1, -(-number // page)) + max(1, -(-number // 3 // page))
        kinds = len(registry.primitives())
        for quiet in (lab.plan, lab.apply):
            before = lab.calls()
            quiet()
            assert lab.calls() - before <= len(SITES) * (kinds + 1) + pages


def test_assumptions() -> None:
    """The laboratory itself: what it calls converged really is in the worlds."""
    with Lab({"software/u.yaml": upload("u"), "data/r.yaml": rule("r", copies=2)}) as lab:
        assert lab.apply().exit_code is ExitCode.CONVERGED
        assert sorted(thing.ref.split("/")[0] for _site, thing in lab.things()) == [
            "DataRule",
            "DataRule",
            "SoftwareUpload",
            "StorageElement",
            "StorageElement",
            "StorageElement",
        ]
