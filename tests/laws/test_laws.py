"""The twelve laws of the product, each on random repositories, worlds and weather."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from reconciler import registry
from reconciler.drivers.simulated.client import Writer
from reconciler.errors import ExitCode
from reconciler.model import Plan, Word
from tests.laws.lab import SITES, Files, Lab, base, refs, rule, upload
from tests.laws.strategies import blinding, histories, objects, sites, weather

EMPTY = Plan("", ()).digest
PHASES = (Phase.explicit, Phase.reuse, Phase.generate) + (
    (Phase.shrink,) if "LAWS_SHRINK" in os.environ else ()
)
few = settings(
    max_examples=int(os.environ.get("LAWS_EXAMPLES", "12")),
    suppress_health_check=list(HealthCheck),
    phases=PHASES,
)
fewer = settings(few, max_examples=max(4, int(os.environ.get("LAWS_EXAMPLES", "12")) // 2))


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


def anchors() -> Files:
    """One object a group that always stays, so that no group is ever emptied."""
    return {f"software/anchor-{group}.yaml": upload("anchor", group) for group in "ab"}


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


def test_law_1_plan_cannot_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan opens no writer at all, and the reader's file is opened read-only."""
    with Lab({"software/u.yaml": upload("u")}) as lab:
        driver = registry.driver("simulated")
        target = lab.plan().plan.changes[0].target
        reader = driver.reader(lab_target(lab, target), lab_places(lab))
        assert not isinstance(reader, Writer)


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
        for number, files in enumerate(history):
            lab.commit({**base(), **files}, whole=True)
            lab.weather(site, **(sky[site] if number % 2 else {}))
            lab.apply()
        assert [thing for _site, thing in lab.things() if thing.owner != "lab"] == foreign


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


# -- 6: kill -9 at any moment -----------------------------------------------------------------


@few
@given(objects(), objects(), st.integers(0, 12), st.booleans(), st.booleans())
def test_law_6_kill_at_any_write(first: Files, second: Files, point: int, after: bool, forget: bool) -> None:
    with Lab() as lab:
        converge(lab, first)
        lab.commit({**base(), **anchors(), **second}, whole=True)
        _killed(lab.apply, point, after)
        if forget:
            lab.forget()
        converge(lab, second)
        counted = Counter(thing.ref for _site, thing in lab.things())
        assert not [ref for ref, count in counted.items() if count > 1]
        assert not [thing for _site, thing in lab.things() if thing.partial]
        assert {thing.ref.split("/")[2] for _s, thing in lab.things("SoftwareUpload")} == _uploads(second)
        assert lab.apply().plan.digest == EMPTY


def _uploads(files: Files) -> set[str]:
    return {path.split("/")[1].removesuffix(".yaml") for path in files if path.startswith("software")} | {
        "anchor"
    }


def _killed(work: Callable[[], Any], point: int, after: bool) -> None:
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
        answer = tell(self, *arguments)
        if count > point:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    Writer.tell = counted  # type: ignore[assignment, method-assign]  # the child ends here
    try:
        work()
    finally:
        os._exit(0)


# -- 7: one bad object, one dead site never holds up the others -------------------------------


@few
@given(objects(), sites, st.sampled_from([{"hang": "hard"}, {"unauthorized": True}, {"failureRate": 100}]))
def test_law_7_healthy_ones_go_on(files: Files, site: str, dead: dict[str, Any]) -> None:
    bad = {
        "software/bad.yaml": upload("bad", sha256="short"),
        "data/nowhere.yaml": rule("nowhere", expression="country=XX"),
    }
    with Lab() as lab:
        lab.commit({**base(), **files, **bad}, whole=True)
        lab.weather(site, **dead)
        applied = lab.apply()
        conditions = {str(ref): condition for ref, condition in applied.record.conditions.items()}
        assert conditions["SoftwareUpload/a/bad"].reason == "Invalid"
        assert conditions["DataRule/a/nowhere"].reason == "ExpressionSelectsNothing"
        for path, text in files.items():
            if path.startswith("software") and f"target: '{site}'\n" not in text:
                name, group = path.split("/")[1].removesuffix(".yaml"), text.split("group: ")[1][0]
                assert conditions[f"SoftwareUpload/{group}/{name}"].word is Word.READY


# -- 8: order and paths never matter ----------------------------------------------------------


@few
@given(objects(), objects(), st.randoms())
def test_law_8_paths_never_matter(first: Files, second: Files, random: Any) -> None:
    with Lab() as lab:
        converge(lab, first)
        lab.commit({**base(), **second}, whole=True)
        digest = lab.plan().plan.digest
        names = [f"{random.randrange(10**6)}/{number}.yml" for number in range(len(second))]
        texts = list(second.values())
        random.shuffle(texts)
        lab.commit({**base(), **dict(zip(names, texts, strict=True))}, whole=True)
        assert lab.plan().plan.digest == digest
        joined = "---\n".join(texts)
        lab.commit({**base(), **({"all.yaml": joined} if joined else {})}, whole=True)
        assert lab.plan().plan.digest == digest


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


# -- 10: secrets are references ---------------------------------------------------------------


def test_law_10_no_secret_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    canary = "canary-9f27c1d4e8"
    monkeypatch.setenv("HOOK", f"http://127.0.0.1:9/{canary}")
    notify = GENEROUS_WITH_HOOK
    with Lab() as lab:
        lab.commit({**base(settings=notify), "software/u.yaml": upload("u")}, whole=True)
        lab.weather("alba", unauthorized=True)
        lab.apply(status=str(lab.root / "status"))
        lab.clear()
        lab.apply(status=str(lab.root / "status"))
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
        for files in history:
            lab.commit({**base(), **files}, whole=True)
            for site in SITES:
                lab.weather(site, **sky[site])
            before = {(thing.ref, thing.spec_hash, thing.uid) for _site, thing in lab.things()}
            applied = lab.apply()
            after = {(thing.ref, thing.spec_hash, thing.uid) for _site, thing in lab.things()}
            rows = open_session(lab.request()).history.rows
            planned = {
                ref for (ref,) in rows("SELECT ref FROM plans WHERE run = :run", run=applied.record.run)
            }
            assert {ref for ref, _hash, _uid in before ^ after} <= planned


# -- 12: a pass costs lists, not objects ------------------------------------------------------


@fewer
@given(st.integers(1, 60), st.sampled_from([7, 20, 500]))
def test_law_12_a_pass_costs_lists(number: int, page: int) -> None:
    with Lab() as lab:
        files = {f"software/u{index}.yaml": upload(f"u{index}") for index in range(number)}
        lab.commit({**base(), **files}, whole=True)
        assert lab.apply().exit_code is ExitCode.CONVERGED
        lab.weather("alba", pageSize=page)
        before = lab.calls()
        lab.plan()
        pages = max(1, -(-number // page))
        kinds = len(registry.primitives())
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
