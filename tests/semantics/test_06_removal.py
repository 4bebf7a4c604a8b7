"""Section 6: budgets, moves and replaces, users, last copies, providers that go."""

from __future__ import annotations

import os
import signal

import pytest

from reconciler import offline
from reconciler.drivers.simulated.client import Writer
from reconciler.errors import ExitCode
from tests.laws.lab import Files, Lab, base, rule
from tests.semantics.hands import (
    changes,
    condition,
    holds,
    names,
    patient,
    quiet,
    standing,
    uploads,
    word,
)


def test_moving_is_create_there_then_delete_here() -> None:
    with Lab(uploads("u", "v")) as lab:
        lab.apply()
        lab.commit(uploads("u", "v", target="brno"))
        lab.weather("brno", failures=[{"error": "Rejected", "operation": "create", "ref": "*/u"}])
        lab.apply()
        assert standing(lab) == {("alba", "SoftwareUpload/a/u"), ("brno", "SoftwareUpload/a/v")}
        lab.clear()
        assert lab.apply().exit_code is ExitCode.CONVERGED
        assert {site for site, _ in standing(lab)} == {"brno"}
        quiet(lab)


def test_replacing_a_whole_group_does_not_empty_it() -> None:
    with Lab(uploads("u", "v")) as lab:
        lab.apply()
        lab.commit({**uploads("u", path="a/new-u"), **uploads("v", target="brno")})
        assert lab.apply().exit_code is ExitCode.CONVERGED
        assert {(s, t.spec["path"]) for s, t in lab.things("SoftwareUpload")} == {
            ("alba", "a/new-u"),
            ("brno", "a/v"),
        }
        quiet(lab)


def test_emptying_a_group_is_held() -> None:
    with Lab(uploads("u", "v")) as lab:
        lab.apply()
        lab.drop("software/a-u.yaml", "software/a-v.yaml")
        lab.commit(uploads("w", group="b"))
        applied = lab.apply()
        assert set(holds(applied).values()) == {"GroupEmptied"}
        bucket = applied.left.buckets()["GroupEmptied group a"]
        assert lab.apply(approve=(bucket,)).exit_code is ExitCode.CONVERGED
        assert names(lab) == {"w"}
        quiet(lab)


def kill(lab: Lab, operation: str) -> None:
    """An apply that is killed just before its first write of this sort."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    tell = Writer.tell

    def deadly(self: Writer, request: object, *rest: object) -> object:
        if getattr(request, "operation", "") == operation:
            os.kill(os.getpid(), signal.SIGKILL)
        return tell(self, request, *rest)  # type: ignore[arg-type]  # passed on as it came

    Writer.tell = deadly  # type: ignore[assignment, method-assign]  # the child ends here
    try:
        lab.apply()
    finally:
        os._exit(0)


@pytest.mark.parametrize("forget", [False, True])
def test_a_replace_killed_between_its_halves_is_finished(forget: bool) -> None:
    with Lab(uploads("u", "v")) as lab:
        lab.apply()
        lab.commit(uploads("u", path="a/new"))
        kill(lab, "delete")
        assert {t.spec["path"] for _s, t in lab.things("SoftwareUpload")} == {"a/new", "a/u", "a/v"}
        if forget:
            lab.forget()
        assert changes(lab.plan()) == [("SoftwareUpload/a/u", "delete", "Superseded")]
        assert lab.apply().exit_code is ExitCode.CONVERGED
        assert {t.spec["path"] for _s, t in lab.things("SoftwareUpload")} == {"a/new", "a/v"}
        quiet(lab)


def test_a_removal_that_fails_counts_once() -> None:
    files = uploads(*(f"u{n}" for n in range(8)))
    with Lab() as lab:
        lab.commit({**base(settings=""), **files}, whole=True)
        lab.apply()
        lab.drop("software/a-u0.yaml", "software/a-u1.yaml")
        lab.weather("alba", failures=[{"error": "Rejected", "operation": "delete"}])
        for _ in range(3):
            assert lab.apply().exit_code is ExitCode.FAILED
        lab.clear()
        assert lab.apply().exit_code is ExitCode.CONVERGED
        assert len(names(lab)) == 6
        quiet(lab)


def test_the_budgets_of_bucket_and_run() -> None:
    many = {
        f: t
        for site in ("alba", "brno", "cnaf")
        for f, t in uploads(*(f"{site}{n}" for n in range(30)), target=site).items()
    }
    with Lab() as lab:
        lab.commit({**base(settings="guards: {removal: {minimum: 3, share: 10}}\n"), **many}, whole=True)
        lab.apply()
        gone = [f"software/a-alba{n}.yaml" for n in range(4)] + ["software/a-brno0.yaml"]
        lab.drop(*gone)
        applied = lab.apply()
        assert set(holds(applied)) == {f"SoftwareUpload/a/alba{n}" for n in range(4)}
        assert set(holds(applied).values()) == {"RemovalBudget"}
        assert len(names(lab)) == 89
        quiet(lab, ExitCode.HELD)
        one = applied.left.held[0]
        lab.apply(approve=(one.digest,))
        assert len(names(lab)) == 88
        assert lab.apply(approve=(lab.plan().plan.digest,)).exit_code is ExitCode.CONVERGED
        assert len(names(lab)) == 85
        quiet(lab)


def test_the_run_has_a_budget_of_its_own() -> None:
    many = {
        f: t
        for g in "ab"
        for site in ("alba", "brno", "cnaf")
        for f, t in uploads(*(f"{site}{n}" for n in range(10)), target=site, group=g).items()
    }
    with Lab() as lab:
        lab.commit({**base(settings=""), **many}, whole=True)
        lab.apply()
        lab.drop(
            *(
                f"software/{g}-{site}{n}.yaml"
                for g, count in (("a", 1), ("b", 3))
                for site in ("alba", "brno", "cnaf")
                for n in range(count)
            )
        )
        applied = quiet(lab, ExitCode.HELD)
        assert (
            "RemovalBudget this run" in applied.left.buckets()
            or "RemovalBudget group b" in applied.left.buckets()
        )


def test_a_provider_goes_in_two_commits() -> None:
    with Lab({"data/r.yaml": rule("r", copies=2), "data/z.yaml": rule("z")}) as lab:
        lab.apply()
        site = min(site for site, text in standing(lab, "replica") if "/r/" in text)
        provider = lab.files[f"providers/{site}.yaml"].replace("spec:\n", "spec:\n  status: removed\n")
        lab.commit({f"providers/{site}.yaml": provider})
        for _ in range(3):
            lab.apply()
        assert site not in {place for place, _ref in standing(lab, "replica")}
        assert len(standing(lab, "replica")) == 3
        lab.drop(f"elements/{site}.yaml")
        lab.apply()
        assert not lab.world(site).things()
        lab.drop(f"providers/{site}.yaml")
        assert lab.apply().exit_code is ExitCode.CONVERGED
        quiet(lab)


@pytest.mark.parametrize("forget", [False, True])
def test_a_provider_that_goes_at_once_is_held_and_stays_held(forget: bool) -> None:
    with Lab({**uploads("u", target="cnaf"), **uploads("v")}) as lab:
        lab.apply()
        old = lab.git("rev-parse", "HEAD")
        lab.drop("providers/cnaf.yaml", "elements/cnaf.yaml", "software/a-u.yaml")
        codes = {problem.code for problem in offline.check(str(lab.repository), against=old).problems}
        assert "ProviderNotDrained" in codes
        if forget:
            lab.forget()
        for _ in range(3):
            applied = quiet(lab, ExitCode.HELD)
            assert word(applied, "Provider/cnaf") == ("Held", "ProviderInUse")
            assert set(holds(applied).values()) == {"ProviderInUse"}
        lab.commit(uploads("w"))
        lab.apply()
        assert names(lab) == {"u", "v", "w"}
        applied = quiet(lab, ExitCode.HELD)
        assert word(applied, "Provider/cnaf") == ("Held", "ProviderInUse")


def test_a_bad_provider_file_is_invalid_not_gone() -> None:
    with Lab({**uploads("u", target="cnaf"), **uploads("v")}) as lab:
        lab.apply()
        bad = lab.files["providers/cnaf.yaml"].replace("type: simulated", "type: nonsense")
        lab.commit({"providers/cnaf.yaml": bad, **uploads("u", target="cnaf", keepPrevious=2)})
        for _ in range(2):
            applied = quiet(lab, ExitCode.INVALID)
            assert word(applied, "Provider/cnaf") == ("Failed", "Invalid")
            assert condition(applied, "Provider/cnaf").source.path == "providers/cnaf.yaml"
            assert word(applied, "SoftwareUpload/a/u") == ("Waiting", "InvalidReference")


def test_backing_off_until_next_try_or_another_file() -> None:
    with Lab(uploads("v")) as lab:
        lab.weather("alba", failures=[{"error": "Rejected", "operation": "create", "ref": "*/u"}])
        lab.commit(uploads("u"))
        assert patient(lab).exit_code is ExitCode.FAILED
        tried = lab.writes()
        applied = patient(lab)
        entry = condition(applied, "SoftwareUpload/a/u")
        assert lab.writes() == tried
        assert (str(entry.word), entry.reason, entry.who, entry.attempts) == (
            "Failed",
            "Rejected",
            "author",
            1,
        )
        assert entry.next_try is not None
        patient(lab, now=entry.next_try)
        assert lab.writes() > tried
        tried = lab.writes()
        lab.commit(uploads("u", keepPrevious=1))
        patient(lab)
        assert lab.writes() > tried
        tried = lab.writes()
        lab.apply(only=(applied.plan.changes[0].ref,))
        assert lab.writes() > tried


def test_two_failing_parts_of_one_object_both_back_off() -> None:
    with Lab({"data/r.yaml": rule("r", copies=3)}) as lab:
        for site in ("alba", "brno"):
            lab.weather(site, failures=[{"error": "Rejected", "operation": "create", "kind": "replica"}])
        assert patient(lab).exit_code is ExitCode.FAILED
        tried = lab.writes()
        assert patient(lab).exit_code is ExitCode.FAILED
        assert lab.writes() == tried


def elsewhere(lab: Lab) -> Files:
    """The provider alba, with another world."""
    path = "providers/alba.yaml"
    return {path: lab.files[path].replace("timeout: 2s", "timeout: 2s, world: other.sqlite")}


def test_what_stood_at_a_target_that_moved_is_not_made_anew() -> None:
    with Lab(uploads("u", "v")) as lab:
        lab.apply()
        lab.commit({**elsewhere(lab), **uploads("w")})
        for _ in range(2):  # it is no less true the second time
            applied = lab.apply()
            assert set(holds(applied).values()) == {"TargetMoved"}
            assert {name.rpartition("/")[2] for name in holds(applied)} == {"u", "v", "alba-disk"}
            assert word(applied, "SoftwareUpload/a/w") == ("Ready", "Converged")
        message = condition(applied, "SoftwareUpload/a/u").message
        assert "`world` was not given and is other.sqlite" in message
        bucket = applied.left.buckets()["TargetMoved alba"]
        assert lab.apply(approve=(bucket,)).exit_code is ExitCode.CONVERGED
        quiet(lab)


def test_what_was_moved_by_hand_is_found() -> None:
    with Lab(uploads("u", "v")) as lab:
        lab.apply()
        lab.commit(elsewhere(lab))
        (lab.data / "alba.world.sqlite").rename(lab.data / "other.sqlite")
        applied = lab.apply()
        assert applied.exit_code is ExitCode.CONVERGED
        assert not applied.record.outcomes
        quiet(lab)
