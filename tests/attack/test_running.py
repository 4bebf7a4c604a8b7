"""Attacks and accidents that a running reconciler must survive, each with its number."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reconciler.errors import ExitCode, InvalidRepository, Locked, Stale
from reconciler.model import Plan, Word
from reconciler.report.json import plan_json
from tests.laws.lab import Lab, at, base, refs, rule, upload

EMPTY = Plan("", ()).digest


def uploads(*names: str, group: str = "a") -> dict[str, str]:
    return {f"software/{name}.yaml": upload(name, group) for name in names}


def standing(lab: Lab) -> set[str]:
    return {thing.ref for _site, thing in lab.things("SoftwareUpload")}


# -- A5, A6: what a repository may make us execute ---------------------------------------------


@pytest.mark.parametrize(
    "setting",
    [
        "exec: {command: id}",
        "kubeconfig: ./evil",
        "ansible_connection: local",
        "plugin: ./evil.py",
        "world: /etc/passwd",
    ],
)
def test_a5_targets_take_no_code(setting: str) -> None:
    with Lab() as lab:
        provider = base()["providers/alba.yaml"].replace("timeout: 2s", f"timeout: 2s, {setting}")
        lab.commit({**lab.files, "providers/alba.yaml": provider})
        planned = lab.plan()
        if "world" in setting:
            assert "alba" in planned.plan.blind  # not a world of ours: read as nothing, written never
        else:
            assert [problem.path for problem in planned.invalid] == ["providers/alba.yaml"]


def test_a6_a_plan_executes_nothing_of_the_repository(tmp_path: Path) -> None:
    """Hooks, filters, fsmonitor, a `git` in the tree, and what looks like code in strings."""
    canary = tmp_path / "canary"
    trap = f"#!/bin/sh\ntouch {canary}\n"
    with Lab() as lab:
        lab.commit({**uploads("u"), ".gitattributes": "* filter=evil diff=evil\n", "git": trap})
        for name in ("post-checkout", "pre-commit", "reference-transaction"):
            hook = lab.repository / ".git" / "hooks" / name
            hook.write_text(trap)
            hook.chmod(0o755)
        for key in ("filter.evil.smudge", "filter.evil.clean", "diff.evil.textconv", "core.fsmonitor"):
            lab.git("config", key, f"touch {canary}")
        lab.plan()
        lab.apply()
        assert not canary.exists()


# -- A17: an empty world is not a wish ---------------------------------------------------------


@pytest.mark.parametrize(
    "dark",
    [
        {"unauthorized": True},
        {"truncatedPages": True, "pageSize": 2},
        {"failures": [{"error": "Transient", "operation": "list", "ref": "page-2"}], "pageSize": 2},
    ],
)
def test_a17_an_api_that_lists_less_deletes_nothing(dark: dict[str, object]) -> None:
    with Lab(uploads("u", "v", "w")) as lab:
        assert lab.apply().exit_code is ExitCode.CONVERGED
        before = standing(lab)
        lab.drop("software/u.yaml")
        lab.weather("alba", **dark)
        assert lab.apply().exit_code is ExitCode.BLIND
        assert standing(lab) == before


def test_a17_an_empty_tree_is_held() -> None:
    with Lab(uploads("u", "v")) as lab:
        lab.apply()
        lab.commit(
            {path: text for path, text in base().items() if not path.startswith("elements")}, whole=True
        )
        applied = lab.apply()
        assert applied.exit_code is ExitCode.HELD
        assert {change.hold.reason for change in applied.left.held if change.hold} == {"RepositoryEmpty"}
        assert len(standing(lab)) == 2


def test_a17_no_settings_stop_everything() -> None:
    with Lab(uploads("u")) as lab:
        lab.apply()
        lab.commit({"README": "nothing else"}, whole=True)
        with pytest.raises(InvalidRepository):
            lab.apply()
        assert len(standing(lab)) == 1


def test_a17_a_vanished_branch_is_an_error() -> None:
    with Lab(uploads("u")) as lab:
        lab.apply(ref="main")
        lab.git("branch", "-m", "main", "trunk")
        with pytest.raises(InvalidRepository, match="main"):
            lab.apply(ref="main")
        assert len(standing(lab)) == 1


# -- A18: a rename is not delete and create ----------------------------------------------------


def test_a18_moving_files_changes_nothing() -> None:
    with Lab(uploads("u", "v")) as lab:
        lab.apply()
        written = lab.writes()
        lab.commit({**base(), "elsewhere/deep/one.yml": upload("u") + "---\n" + upload("v")}, whole=True)
        assert lab.apply().plan.digest == EMPTY
        assert lab.writes() == written


def test_a18_formerly_renames_in_place() -> None:
    with Lab({**uploads("keep", "old"), "data/r.yaml": rule("r", copies=2)}) as lab:
        lab.apply()
        uids = {thing.uid for _site, thing in lab.things()}
        new = upload("new", metadata="formerly: SoftwareUpload/a/old", path="a/old", source="old.tar")
        moved = (
            rule("s", copies=2, metadata="formerly: DataRule/a/r")
            .replace("a:s", "a:r")
            .replace("source: s", "source: r")
        )
        lab.commit({**base(), **uploads("keep"), "software/new.yaml": new, "data/s.yaml": moved}, whole=True)
        assert lab.apply().exit_code is ExitCode.CONVERGED
        assert {thing.uid for _site, thing in lab.things()} == uids
        assert "SoftwareUpload/a/new" in standing(lab)
        assert lab.apply().plan.digest == EMPTY


# -- A19: guards look at what was really read --------------------------------------------------


def test_a19_the_budget_of_a_site_waits_for_all_of_it() -> None:
    """A site of two targets, one blind: its share can't be known, so its removals wait."""
    two = "  targets:\n" + "".join(
        f"    - {{name: {name}, type: simulated, timeout: 2s}}\n" for name in ("x", "y")
    )
    files = base(settings="")
    files["providers/alba.yaml"] = files["providers/alba.yaml"].split("  targets:")[0] + two
    files["elements/alba.yaml"] = files["elements/alba.yaml"].replace("target: alba", "target: alba.x")
    objects = {f"software/u{n}.yaml": upload(f"u{n}", target="alba.x") for n in range(8)}
    with Lab() as lab:
        lab.commit({**files, **objects}, whole=True)
        assert lab.apply().exit_code is ExitCode.CONVERGED
        lab.weather("alba.y", unauthorized=True)
        lab.drop("software/u0.yaml")
        applied = lab.apply()
        assert [change.hold.reason for change in applied.left.held if change.hold] == ["BlindBucket"]


def test_a19_earlier_removals_count() -> None:
    """The limit can't be walked under by removing three at a time."""
    with Lab() as lab:
        lab.commit({**base(settings=""), **uploads(*(f"u{n}" for n in range(12)))}, whole=True)
        lab.apply()
        lab.drop(*(f"software/u{n}.yaml" for n in range(3)))
        assert lab.apply().exit_code is ExitCode.CONVERGED
        lab.drop("software/u3.yaml")
        assert lab.apply().exit_code is ExitCode.HELD
        assert len(standing(lab)) == 9


# -- A20: two at a time, a dead holder, a full disk --------------------------------------------


def test_a20_only_one_run_at_a_time() -> None:
    from reconciler.line.session import open_session  # noqa: PLC0415

    with Lab(uploads("u")) as lab, open_session(lab.request()).store.lease():
        with pytest.raises(Locked) as caught:
            lab.apply()
        assert str(os.getpid()) in f"{caught.value} {caught.value.hint}"
        assert not standing(lab)
        assert refs(lab.plan())  # reading is free


def test_a20_the_lock_of_a_killed_run_is_free() -> None:
    with Lab(uploads("u")) as lab:
        lab.weather("alba", hang="hard")
        command = [sys.executable, "-m", "reconciler", "apply", str(lab.repository), "--no-status"]
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        lock = lab.root / "state"
        deadline = time.monotonic() + 20
        while not list(lock.rglob("*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        child.send_signal(signal.SIGKILL)
        child.wait()
        lab.clear()
        assert lab.apply().exit_code is ExitCode.CONVERGED


def test_a20_a_full_disk_is_delay() -> None:
    """The store can't be written: nothing is written to the world either, and later all is well."""
    with Lab(uploads("u")) as lab:
        code = (
            "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000));"
            "from reconciler.cli import main; sys.exit(main(sys.argv[1:]))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, "apply", str(lab.repository), "--no-status"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode not in (0, 1), done.stderr
        assert not standing(lab)
        assert lab.apply().exit_code is ExitCode.CONVERGED


# -- A21: a stale plan -------------------------------------------------------------------------


def test_a21_a_stale_plan_is_refused() -> None:
    with Lab(uploads("u")) as lab:
        seen = json.loads(json.dumps(plan_json(lab.plan().plan, {}), default=dict))
        lab.commit({"software/u.yaml": upload("u", keepPrevious=3)})
        with pytest.raises(Stale, match="SoftwareUpload/a/u"):
            lab.apply(plan_file=seen)
        assert not standing(lab)


def test_a21_a_plan_that_is_in_effect_is_not_stale() -> None:
    with Lab(uploads("u")) as lab:
        seen = json.loads(json.dumps(plan_json(lab.plan().plan, {}), default=dict))
        lab.apply()
        written = lab.writes()
        assert lab.apply(plan_file=seen).exit_code is ExitCode.CONVERGED
        assert lab.writes() == written


def test_a21_a_forged_plan_adds_nothing() -> None:
    with Lab(uploads("u", "v")) as lab:
        lab.apply()
        seen = json.loads(json.dumps(plan_json(lab.plan().plan, {}), default=dict))
        forged = {
            "ref": "SoftwareUpload/a/u",
            "target": "alba",
            "action": "delete",
            "digest": "sha256:" + "0" * 64,
        }
        with pytest.raises(Stale):
            lab.apply(plan_file={**seen, "changes": [forged]})
        assert len(standing(lab)) == 2


# -- A27: a fight with another writer ----------------------------------------------------------


def test_a27_a_fight_is_given_up_and_said() -> None:
    with Lab(uploads("u")) as lab:
        lab.apply()
        for _ in range(3):
            lab.world("alba").change("SoftwareUpload/a/u", keepPrevious=9)
            assert lab.apply().exit_code is ExitCode.CONVERGED
        lab.world("alba").change("SoftwareUpload/a/u", keepPrevious=9)
        written = lab.writes()
        applied = lab.apply()
        assert applied.exit_code is ExitCode.HELD
        assert [
            condition.reason
            for condition in applied.record.conditions.values()
            if condition.word is Word.HELD
        ] == ["Fought"]
        assert lab.writes() == written
        assert lab.apply(approve=(applied.left.digest,)).exit_code is ExitCode.CONVERGED


# -- A29: clocks -------------------------------------------------------------------------------


def test_a29_expired_in_bulk_is_a_removal_like_any_other() -> None:
    day = lab_day(0)
    objects = {f"software/u{n}.yaml": upload(f"u{n}", metadata=f"expires: {day}") for n in range(8)}
    with Lab() as lab:
        lab.commit({**base(settings=""), **objects}, whole=True)
        assert lab.apply().exit_code is ExitCode.CONVERGED
        applied = lab.apply(now=at(lab_day(2)))
        assert applied.exit_code is ExitCode.HELD
        assert len(standing(lab)) == 8


@pytest.mark.parametrize("days", [-400, 400])
def test_a29_a_wrong_clock_expires_nothing(days: int) -> None:
    objects = {"software/u.yaml": upload("u", metadata=f"expires: {lab_day(-500)}"), **uploads("v", "w")}
    with Lab() as lab:
        lab.commit({**base(), **objects, "software/u.yaml": upload("u")}, whole=True)
        lab.apply()
        lab.commit({**base(), **objects}, whole=True)
        applied = lab.apply(now=at(lab_day(days)))
        assert [change.hold.reason for change in applied.left.held if change.hold] == ["ClockSuspect"]
        assert len(standing(lab)) == 3


def lab_day(offset: int) -> str:
    """The day that many days from today (UTC)."""
    return time.strftime("%Y-%m-%d", time.gmtime(time.time() + offset * 86400))


# -- A30: back to an old commit ----------------------------------------------------------------


def test_a30_a_rollback_is_held_until_approved() -> None:
    with Lab(uploads("u", "v")) as lab:
        lab.apply()
        old = lab.git("rev-parse", "HEAD")
        lab.commit({**lab.files, **uploads("w")})
        assert lab.apply().exit_code is ExitCode.CONVERGED
        lab.git("reset", "--quiet", "--hard", old)
        before = standing(lab)
        applied = lab.apply()
        assert {change.hold.reason for change in applied.left.held if change.hold} == {"NotFastForward"}
        assert lab.apply().exit_code is ExitCode.HELD  # still: a held rollback is not history
        assert standing(lab) == before
        assert lab.apply(approve=(applied.plan.digest,)).exit_code is ExitCode.CONVERGED
        assert standing(lab) == {"SoftwareUpload/a/u", "SoftwareUpload/a/v"}
        assert lab.apply().plan.digest == EMPTY


def test_a21_what_nobody_wants_any_more_is_not_in_effect() -> None:
    """The plan showed a change; git has since gone back on it; nothing differs, yet it was not done."""
    with Lab(uploads("u")) as lab:
        lab.apply()
        lab.commit({"software/u.yaml": upload("u", keepPrevious=3)})
        seen = json.loads(json.dumps(plan_json(lab.plan().plan, {}), default=dict))
        lab.commit({"software/u.yaml": upload("u")})
        with pytest.raises(Stale):
            lab.apply(plan_file=seen)
