"""Section 3: mark, lock, keep; adoption; two things of one mark. Section 2: renames."""

from __future__ import annotations

import pytest

from reconciler import offline
from reconciler.errors import ExitCode
from tests.laws.lab import Lab, rule
from tests.semantics.hands import changes, condition, file_of, holds, names, quiet, standing, uploads, word

KEY = "sw.example.org:a/u"


@pytest.mark.parametrize("forget", [False, True])
def test_locked_outlives_its_file(forget: bool) -> None:
    with Lab(uploads("u", "v", metadata="locked: true")) as lab:
        lab.apply()
        old = lab.git("rev-parse", "HEAD")
        lab.commit(uploads("u", metadata="locked: true", path="a/elsewhere"))
        assert holds(quiet(lab, ExitCode.HELD)) == {"SoftwareUpload/a/u": "Locked"}
        lab.drop("software/a-u.yaml")
        if forget:
            lab.forget()
        applied = quiet(lab, ExitCode.HELD)
        assert holds(applied) == {"SoftwareUpload/a/u": "Locked"}
        found = offline.check(str(lab.repository), against=old)
        assert [problem.code for problem in found.problems] == ["LockedRemoved"]
        lab.commit(uploads("u"))
        lab.apply()
        lab.drop("software/a-u.yaml")
        lab.apply()
        assert names(lab) == {"v"}
        quiet(lab)


def test_unlocking_and_removing_in_one_change_is_refused() -> None:
    with Lab(uploads("u", "v", metadata="locked: true")) as lab:
        lab.apply()
        old = lab.git("rev-parse", "HEAD")
        lab.commit(uploads("u"))
        lab.drop("software/a-u.yaml")
        assert [p.code for p in offline.check(str(lab.repository), against=old).problems] == ["LockedRemoved"]
        quiet(lab, ExitCode.HELD)
        assert names(lab) == {"u", "v"}


def test_a_locked_thing_is_not_moved_away() -> None:
    """Moving is a replace over two targets: neither half is begun while the thing is locked."""
    with Lab(uploads("u", "v", metadata="locked: true")) as lab:
        lab.apply()
        lab.commit(uploads("u", metadata="locked: true", target="brno"))
        applied = quiet(lab, ExitCode.HELD)
        assert set(holds(applied).values()) == {"Locked"}
        assert standing(lab) == {("alba", "SoftwareUpload/a/u"), ("alba", "SoftwareUpload/a/v")}


@pytest.mark.parametrize("forget", [False, True])
def test_keep_takes_the_mark_off_and_leaves_the_thing(forget: bool) -> None:
    with Lab(uploads("u", "v", metadata="onRemove: keep")) as lab:
        lab.apply()
        lab.drop("software/a-u.yaml")
        if forget:
            lab.forget()
        planned = lab.plan()
        assert changes(planned) == [("SoftwareUpload/a/u", "update", "Released")]
        applied = lab.apply(plan_file=file_of(planned))
        assert applied.exit_code is ExitCode.CONVERGED
        assert {(t.place, t.owner) for _s, t in lab.things("SoftwareUpload")} == {
            (KEY, ""),
            (KEY[:-1] + "v", "lab"),
        }
        quiet(lab)
        quiet(lab, plan_file=file_of(planned))


def test_nothing_is_released_while_a_file_is_unreadable() -> None:
    with Lab(uploads("u", "v", metadata="onRemove: keep")) as lab:
        lab.apply()
        lab.commit({"software/a-u.yaml": "kind: [SoftwareUpload\n"})
        applied = quiet(lab, ExitCode.INVALID)
        assert holds(applied) == {"SoftwareUpload/a/u": "RepositoryInvalid"}
        assert names(lab) == {"u", "v"}


def test_adopt_shows_what_differs_and_takes_over() -> None:
    with Lab() as lab:
        lab.world("alba").insert(
            "SoftwareUpload", KEY, {"repository": "sw.example.org", "path": "a/u", "sha256": "9" * 64}
        )
        lab.commit(uploads("u"))
        applied = lab.apply()
        assert word(applied, "SoftwareUpload/a/u") == ("Failed", "NotOurs")
        assert condition(applied, "SoftwareUpload/a/u").who == "author"
        assert [thing.owner for _s, thing in lab.things("SoftwareUpload")] == [""]
        lab.commit(uploads("u", metadata="adopt: true"))
        planned = lab.plan()
        (change,) = planned.plan.changes
        assert (change.reason, change.action) == ("Adopted", "update")
        assert {entry.path for entry in change.fields} >= {"metadata.adopt", "sha256"}
        assert lab.apply().exit_code is ExitCode.CONVERGED
        (thing,) = [thing for _s, thing in lab.things("SoftwareUpload")]
        assert (thing.owner, thing.spec["sha256"]) == ("lab", "0" * 64)
        quiet(lab)


def test_foreign_things_are_not_adopted() -> None:
    with Lab() as lab:
        lab.world("alba").insert("SoftwareUpload", KEY, {"path": "a/u"}, owner="other")
        lab.commit(uploads("u", metadata="adopt: true"))
        applied = lab.apply()
        assert word(applied, "SoftwareUpload/a/u") == ("Failed", "NotOurs")
        assert [thing.owner for _s, thing in lab.things("SoftwareUpload")] == ["other"]


def test_twins_are_settled_uncounted_and_held_where_they_hold_data() -> None:
    with Lab({**uploads("u", "v"), "data/r.yaml": rule("r", expression="country=ES")}) as lab:
        lab.apply()
        lab.world("alba").duplicate("SoftwareUpload/a/u")
        lab.world("alba").duplicate("DataRule/a/r/alba-disk.replica")
        applied = lab.apply()
        assert holds(applied) == {"DataRule/a/r/alba-disk.replica": "Duplicate"}
        assert len(lab.things("SoftwareUpload")) == 2
        quiet(lab, ExitCode.HELD)
        assert len(lab.things("replica")) == 2
        lab.apply(approve=(applied.left.digest,))
        assert len(lab.things("replica")) == 1
        quiet(lab)


def test_formerly_renames_and_waits_for_what_is_blind() -> None:
    with Lab(uploads("u", "v")) as lab:
        lab.apply()
        uid = {thing.uid for _s, thing in lab.things("SoftwareUpload")}
        lab.drop("software/a-u.yaml")
        lab.commit(uploads("w", metadata="formerly: SoftwareUpload/a/u", path="a/u"))
        lab.weather("alba", unauthorized=True)
        applied = quiet(lab, ExitCode.BLIND)
        assert word(applied, "SoftwareUpload/a/w") == ("Blind", "TargetBlind")
        lab.clear()
        assert changes(lab.plan()) == [("SoftwareUpload/a/w", "update", "Renamed")]
        assert lab.apply().exit_code is ExitCode.CONVERGED
        assert {thing.uid for _s, thing in lab.things("SoftwareUpload")} == uid
        assert names(lab) == {"v", "w"}
        quiet(lab)


def test_formerly_of_a_rule_with_a_blind_site() -> None:
    with Lab({"data/r.yaml": rule("r", copies=2), "data/z.yaml": rule("z")}) as lab:
        lab.apply()
        site = min(site for site, text in standing(lab, "replica") if "/r/" in text)
        before = {thing.uid for _s, thing in lab.things("replica")}
        lab.drop("data/r.yaml")
        renamed = (
            rule("s", copies=2, metadata="formerly: DataRule/a/r")
            .replace("a:s", "a:r")
            .replace("source: s", "source: r")
        )
        lab.commit({"data/s.yaml": renamed})
        lab.weather(site, unauthorized=True)
        lab.forget()
        lab.apply()
        lab.clear()
        assert lab.apply().exit_code is ExitCode.CONVERGED
        assert {thing.uid for _s, thing in lab.things("replica")} == before
        quiet(lab)
