"""Section 5: digests, approvals, plan files, what a merge request means, partial runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from reconciler import offline
from reconciler.errors import ExitCode, Stale, UsageError
from tests.laws.lab import GENEROUS, Lab, base, ref, rule
from tests.semantics.hands import (
    EMPTY,
    changes,
    file_of,
    holds,
    names,
    patient,
    quiet,
    standing,
    uploads,
    word,
)


def test_an_intent_reads_git_only_and_no_command_takes_it() -> None:
    with Lab(uploads("u", "v")) as lab:
        old = lab.git("rev-parse", "HEAD")
        lab.git("checkout", "--quiet", "-b", "change")
        lab.commit({**uploads("w"), **uploads("u", keepPrevious=1)})
        lab.drop("software/a-v.yaml")
        request = lab.request(ref="HEAD")
        planned = offline.intent(request, old)
        assert planned.plan.digest.startswith("intent:")
        assert {(r, a) for r, a, _ in changes(planned)} == {
            ("SoftwareUpload/a/u", "update"),
            ("SoftwareUpload/a/v", "delete"),
            ("SoftwareUpload/a/w", "create"),
        }
        assert offline.intent(request, old).plan.digest == planned.plan.digest
        assert not list((lab.root / "data").rglob("*.sqlite"))
        assert not (lab.root / "state").exists()
        with pytest.raises(UsageError):
            lab.apply(approve=(planned.plan.digest,))
        with pytest.raises(UsageError):
            lab.apply(plan_file=file_of(planned))
        assert not names(lab)


def test_an_intent_does_not_hang_on_what_was_applied_here() -> None:
    """A branch that left main before the last run is no rollback: an intent is about git alone."""
    with Lab(uploads("u", "v")) as lab:
        lab.git("checkout", "--quiet", "-b", "change")
        lab.commit(uploads("w"))
        lab.git("checkout", "--quiet", "main")
        lab.drop("software/a-w.yaml")
        lab.commit(uploads("x"))
        old = lab.git("merge-base", "main", "change")
        lab.apply()
        planned = offline.intent(lab.request(ref="change", trusted_ref="main"), old)
        assert not planned.plan.held
        assert changes(planned) == [("SoftwareUpload/a/w", "create", "NotFound")]


def test_a_change_of_rules_is_judged_by_the_trusted_ones() -> None:
    """A24: guards, freezes and providers of the branch do not act before they are merged."""
    strict = "guards: {removal: {minimum: 1, share: 0}}\n"
    with Lab() as lab:
        lab.commit({**base(settings=strict), **uploads("u", "v", "w", "x")}, whole=True)
        lab.apply()
        old = lab.git("rev-parse", "HEAD")
        lab.git("checkout", "--quiet", "-b", "change")
        lab.commit({**base(settings=GENEROUS), **uploads("n", target="newsite")})
        provider = lab.files["providers/alba.yaml"].replace("alba", "newsite")
        lab.commit({"providers/newsite.yaml": provider})
        lab.drop("software/a-u.yaml", "software/a-v.yaml")
        for planned in (
            offline.intent(lab.request(ref="change"), old),
            lab.plan(ref="change", trusted_ref="main"),
        ):
            held = {str(c.ref): c.hold.reason for c in planned.plan.held if c.hold}
            assert held == dict.fromkeys(("SoftwareUpload/a/u", "SoftwareUpload/a/v"), "RemovalBudget")
            assert word(planned, "SoftwareUpload/a/n")[0] == "Waiting"
            assert not [r for r, _, _ in changes(planned) if r.endswith("/n")]


def test_an_intent_shows_a_provider_that_goes_at_once() -> None:
    with Lab({**uploads("u", target="cnaf"), **uploads("v")}) as lab:
        old = lab.git("rev-parse", "HEAD")
        lab.drop("software/a-u.yaml")
        lab.drop("providers/cnaf.yaml", "elements/cnaf.yaml")
        lab.commit(uploads("w"))
        for trusted in ("", "HEAD"):
            planned = offline.intent(lab.request(trusted_ref=trusted), old)
            gone = {(r, a) for r, a, _ in changes(planned)}
            assert ("SoftwareUpload/a/u", "delete") in gone, trusted
            assert [
                c for c in planned.plan.held if c.hold and c.hold.reason == "ProviderInUse"
            ] or not trusted


def test_a_plan_file_releases_nothing_that_is_held() -> None:
    with Lab(uploads("u", "v", metadata="locked: true")) as lab:
        lab.apply()
        lab.drop("software/a-u.yaml", "software/a-v.yaml")
        lab.commit(uploads("w"))
        seen = file_of(lab.plan())
        applied = lab.apply(plan_file=seen)
        assert set(holds(applied).values()) == {"Locked"}
        assert names(lab) == {"u", "v", "w"}
        quiet(lab, ExitCode.HELD, plan_file=seen)


def test_approvals_live_24_hours_and_are_bound_to_the_change() -> None:
    noon = datetime.now(UTC).replace(microsecond=0)
    with Lab(uploads("u", "v")) as lab:
        lab.apply(now=noon)
        lab.drop("software/a-u.yaml", "software/a-v.yaml")
        lab.commit(uploads("w", group="b"))
        lab.weather("alba", failures=[{"error": "Rejected", "operation": "delete"}])
        planned = lab.plan(now=noon)
        applied = lab.apply(now=noon, approve=(planned.plan.digest,))
        assert applied.exit_code is ExitCode.FAILED
        lab.clear()
        late = lab.plan(now=noon + timedelta(hours=25))
        assert len(late.plan.held) == 2
        assert lab.apply(now=noon + timedelta(hours=23)).exit_code is ExitCode.CONVERGED
        assert names(lab) == {"w"}


def test_an_approval_is_spent_by_the_change_that_it_released() -> None:
    with Lab(uploads("u", "v")) as lab:
        lab.apply()
        lab.drop("software/a-u.yaml", "software/a-v.yaml")
        lab.commit(uploads("w", group="b"))
        planned = lab.plan()
        assert lab.apply(approve=(planned.plan.digest,)).exit_code is ExitCode.CONVERGED
        lab.commit(uploads("u", "v"))
        lab.apply()
        lab.drop("software/a-u.yaml", "software/a-v.yaml")
        lab.commit({})
        again = lab.plan()
        assert {change.digest for change in again.plan.held} == {c.digest for c in planned.plan.held}
        assert names(lab) == {"u", "v", "w"}


def test_an_approval_releases_one_change_and_nothing_else() -> None:
    with Lab(uploads("u", "v")) as lab:
        lab.apply()
        lab.drop("software/a-u.yaml", "software/a-v.yaml")
        lab.commit(uploads("w", group="b"))
        one = next(change for change in lab.plan().plan.held if change.ref.name == "u")
        lab.apply(approve=(one.digest,))
        assert names(lab) == {"v"}
        with pytest.raises(Stale):
            lab.apply(approve=("sha256:" + "0" * 64,))


def test_only_target_and_remove_keep_to_what_was_asked() -> None:
    with Lab(
        {
            **uploads("u"),
            **uploads("c", target="cnaf"),
            **uploads("b", "d", group="b"),
            "data/r.yaml": rule("r", copies=3),
        }
    ) as lab:
        applied = lab.apply(only=(ref("SoftwareUpload/a/c"),))
        assert applied.exit_code is ExitCode.CONVERGED
        assert standing(lab) == {("cnaf", "SoftwareUpload/a/c")}
        assert word(applied, "SoftwareUpload/a/c")[0] == "Ready"
        applied = lab.apply(targets=("cnaf",))
        assert {site for site, _ in standing(lab) | standing(lab, "replica")} == {"cnaf"}
        assert (
            ref("DataRule/a/r") not in applied.record.conditions
            or word(applied, "DataRule/a/r")[0] != "Ready"
        )
        assert applied.exit_code is ExitCode.CONVERGED
        assert lab.apply().exit_code is ExitCode.CONVERGED
        held = lab.apply(remove_group="b")
        assert held.exit_code is ExitCode.HELD
        assert set(holds(held).values()) == {"GroupEmptied"}
        done = lab.apply(remove_group="b", approve=(held.left.digest,))
        assert done.exit_code is ExitCode.CONVERGED
        assert word(done, "SoftwareUpload/b/b") == ("Ready", "Removed")
        assert names(lab) == {"u", "c"}
        quiet(lab, remove_group="b")


def test_a_pass_of_nothing_is_lists_and_nothing_else() -> None:
    """Law 12, after the deep reads were done; and no file of a world changes."""
    from reconciler import registry  # noqa: PLC0415  only this test counts kinds

    with Lab({**uploads(*(f"u{n}" for n in range(20))), "data/r.yaml": rule("r", copies=3)}) as lab:
        lab.apply()
        lab.apply(deep=True)
        for _ in range(2):
            before, written = lab.calls(), lab.digest()
            applied = lab.apply()
            assert applied.plan.digest == EMPTY
            assert lab.calls() - before <= 3 * (len(registry.primitives()) + 1)
            assert lab.digest() == written
        operations = {name.split()[0] for name in lab.world("alba").calls()}
        assert operations <= {"facts", "list", "create", "verify"}


def test_what_its_author_must_mend_is_tried_again_with_the_next_commit() -> None:
    with Lab(uploads("u")) as lab:
        lab.weather("alba", failures=[{"error": "Rejected", "operation": "create", "ref": "*/u"}])
        assert word(lab.apply(), "SoftwareUpload/a/u") == ("Failed", "Rejected")
        lab.clear()
        assert word(patient(lab), "SoftwareUpload/a/u")[0] == "Failed"  # the same commit: it backs off
        lab.commit(uploads("v"))
        assert word(patient(lab), "SoftwareUpload/a/u")[0] == "Ready"


def test_what_failed_for_its_author_is_tried_once_a_run() -> None:
    with Lab(uploads("u")) as lab:
        lab.apply()
        lab.commit(uploads("u", sha256="1" * 64))
        lab.weather("alba", failures=[{"error": "Rejected", "operation": "update"}])
        tried = [outcome.change.ref for outcome in lab.apply().record.outcomes]
        assert len(tried) == len(set(tried))
