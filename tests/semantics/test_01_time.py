"""Section 1: dates, notice, freezes, clocks."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from reconciler.errors import ExitCode
from tests.laws.lab import GENEROUS, Lab, at, base
from tests.semantics.hands import condition, day, holds, names, quiet, uploads, word


def test_expiry_is_announced_then_done_and_said() -> None:
    with Lab(uploads("u", "v", metadata=f"expires: {day(14)}")) as lab:
        lab.commit(uploads("v"))
        assert word(lab.apply(now=at(day(0))), "SoftwareUpload/a/u") == ("Ready", "Expiring")
        lab.commit(uploads("u", metadata=f"expires: {day(15)}"))
        assert word(lab.apply(now=at(day(0))), "SoftwareUpload/a/u") == ("Ready", "Converged")
        assert word(lab.apply(now=at(day(1))), "SoftwareUpload/a/u") == ("Ready", "Expiring")
        quiet(lab, now=at(day(15)))
        applied = lab.apply(now=at(day(16)))
        assert names(lab) == {"v"}
        assert applied.exit_code is ExitCode.CONVERGED
        assert word(applied, "SoftwareUpload/a/u") == ("Ready", "Expired")
        assert "in -1 days" not in condition(applied, "SoftwareUpload/a/u").message
        quiet(lab, now=at(day(17)))


def test_expiry_counts_in_the_budgets() -> None:
    files = uploads(*(f"u{n}" for n in range(4)), metadata=f"expires: {day(0)}")
    with Lab() as lab:
        lab.commit({**base(settings=""), **files, **uploads("v", "w")}, whole=True)
        lab.apply()
        applied = quiet(lab, ExitCode.HELD, now=at(day(1)))
        assert set(holds(applied).values()) == {"RemovalBudget"}


def test_keep_and_expiry_are_held_by_a_suspect_clock() -> None:
    with Lab(uploads("u", "v")) as lab:
        lab.apply()
        lab.commit(uploads("u", metadata=f"expires: {day(-3)}, onRemove: keep"))
        lab.commit(uploads("u", metadata=f"expires: {day(3)}, onRemove: keep"))
        lab.apply()
        applied = quiet(lab, ExitCode.HELD, now=at(day(40)))
        assert holds(applied) == {"SoftwareUpload/a/u": "ClockSuspect"}
        assert names(lab) == {"u", "v"}


FREEZE = "freezes: [{{name: f, timezone: Europe/Rome, {}}}]\n"


def _frozen_lab(lab: Lab, freeze: str) -> None:
    lab.commit({**base(settings=GENEROUS + FREEZE.format(freeze)), **uploads("u", "v", "w")}, whole=True)


@pytest.mark.parametrize(("more", "created"), [("", True), (", all: true", False)])
def test_a_freeze_holds_all_but_create_and_healing(more: str, created: bool) -> None:
    with Lab(uploads("u", "v", "w")) as lab:
        lab.apply()
        _frozen_lab(lab, f"from: {day(-1)}, until: {day(1)}{more}")
        lab.commit({**uploads("u", keepPrevious=3), **uploads("n")})
        lab.drop("software/a-w.yaml")
        lab.world("alba").halve("SoftwareUpload/a/v")
        applied = lab.apply()
        held = holds(applied)
        assert held["SoftwareUpload/a/u"] == held["SoftwareUpload/a/w"] == "Frozen"
        assert ("n" in names(lab)) is created
        partial = {thing.ref for _s, thing in lab.things("SoftwareUpload") if thing.partial}
        assert partial == (set() if created else {"SoftwareUpload/a/v"})
        assert applied.exit_code in (ExitCode.HELD, ExitCode.FAILED)
        quiet(lab, applied.exit_code)
        lab.apply(approve=(applied.left.digest,))
        assert names(lab) == {"u", "v", "n"}
        quiet(lab)


def test_a_freeze_keeps_to_the_clock_on_the_wall_over_dst() -> None:
    """22:00-02:00 in Rome: on the night of 2026-10-25 clocks go back at 03:00."""
    with Lab(uploads("u")) as lab:
        when = datetime(2026, 10, 24, 12, tzinfo=UTC)
        lab.apply()
        _frozen_lab(lab, "days: [sat], start: '22:00', end: '04:00'")
        lab.commit(uploads("u", keepPrevious=3))
        for hour, frozen in (((24, 19, 59), False), ((24, 20, 0), True), ((25, 2, 59), True)):
            moment = when.replace(day=hour[0], hour=hour[1], minute=hour[2])
            held = {c.hold.reason for c in lab.plan(now=moment).plan.held if c.hold}
            assert held == ({"Frozen"} if frozen else set()), hour
        assert not lab.plan(now=when.replace(day=25, hour=3, minute=0)).plan.held


def test_what_supersedes_is_never_held_by_a_freeze() -> None:
    """The create half of a replace is there; the predecessor goes whatever freeze has begun since."""
    with Lab(uploads("u", "v", "w")) as lab:
        lab.apply()
        twin = lab.world("alba").duplicate("SoftwareUpload/a/u")
        lab.world("alba").change(twin, path="a/old")
        _frozen_lab(lab, f"from: {day(-1)}, until: {day(1)}")
        applied = lab.apply()
        assert applied.exit_code is ExitCode.CONVERGED, applied.record.conditions
        assert sorted(thing.spec["path"] for _s, thing in lab.things("SoftwareUpload")) == [
            "a/u",
            "a/v",
            "a/w",
        ]
        quiet(lab)


def test_what_was_renamed_expires_under_its_new_name() -> None:
    """With a suspect clock the thing under the old name is as safe as under the new one."""
    with Lab(uploads("u", "v")) as lab:
        lab.apply()
        lab.drop("software/a-u.yaml")
        renamed = f"formerly: SoftwareUpload/a/u, expires: {day(3)}"
        lab.commit(uploads("w", metadata=renamed, path="a/u"))
        applied = quiet(lab, ExitCode.HELD, now=at(day(40)))
        assert holds(applied) == {"SoftwareUpload/a/w": "ClockSuspect"}
        assert names(lab) == {"u", "v"}


def test_maintenance_is_no_time_for_writes() -> None:
    with Lab({**uploads("u"), **uploads("c", target="cnaf")}) as lab:
        lab.apply()
        before = lab.files["providers/alba.yaml"]
        lab.commit({"providers/alba.yaml": before.replace("spec:\n", "spec:\n  status: maintenance\n")})
        lab.commit(uploads("u", keepPrevious=2))
        applied = quiet(lab)
        assert word(applied, "SoftwareUpload/a/u") == ("Waiting", "TargetSuspended")
        lab.commit({"providers/alba.yaml": before})
        lab.apply()
        quiet(lab)
