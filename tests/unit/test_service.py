"""`reconciler run`: passes on schedule, never two at once, ends cleanly when told to."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.service import trigger
from reconciler.settings import Schedule
from tests.laws.lab import GENEROUS, Lab, base, upload

EVERY_SECOND = f"{GENEROUS}schedule: {{interval: 1s}}\n"


def serving(lab: Lab, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "reconciler", "run", str(lab.repository), "--no-status"]
    with log.open("wb") as output:
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)


def until(question: Callable[[], bool], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not question() and time.monotonic() < deadline:
        time.sleep(0.1)
    return question()


def standing(lab: Lab) -> set[str]:
    return {thing.ref for _site, thing in lab.things("SoftwareUpload")}


def test_commits_are_converged_until_it_is_stopped(tmp_path: Path) -> None:
    with Lab() as lab:
        lab.commit({**base(settings=EVERY_SECOND), "software/u.yaml": upload("u")}, whole=True)
        service = serving(lab, tmp_path / "log")
        try:
            assert until(lambda: standing(lab) == {"SoftwareUpload/a/u"}), (tmp_path / "log").read_text()
            lab.commit({"software/v.yaml": upload("v")})
            assert until(lambda: len(standing(lab)) == 2)
            lab.commit({"software/w.yaml": "kind: [broken\n"})  # a bad commit is no end
            lab.commit({"software/w.yaml": upload("w")})
            assert until(lambda: len(standing(lab)) == 3)
            service.send_signal(signal.SIGTERM)
            assert service.wait(20) == 143
        finally:
            service.kill()
        assert lab.apply().plan.changes == ()  # nothing half-done, and the lock is free


def test_a_second_service_waits_for_the_lock(tmp_path: Path) -> None:
    with Lab() as lab:
        lab.commit({**base(settings=EVERY_SECOND), "software/u.yaml": upload("u")}, whole=True)
        services = [serving(lab, tmp_path / name) for name in ("one", "two")]
        try:
            assert until(lambda: bool(standing(lab)))
            time.sleep(3)
        finally:
            for service in services:
                service.send_signal(signal.SIGTERM)
            codes = [service.wait(20) for service in services]
        assert codes == [143, 143]
        assert len(lab.things("SoftwareUpload")) == 1


def test_sigterm_in_mid_pass_ends_cleanly(tmp_path: Path) -> None:
    files = {f"software/u{n}.yaml": upload(f"u{n}") for n in range(30)}
    with Lab() as lab:
        lab.commit({**base(settings=EVERY_SECOND), **files}, whole=True)
        lab.weather("alba", latency="100ms")
        service = serving(lab, tmp_path / "log")
        try:
            assert until(lambda: len(standing(lab)) > 2)
            service.send_signal(signal.SIGTERM)
            assert service.wait(20) == 143
        finally:
            service.kill()
        begun = len(standing(lab))
        assert begun < 30
        lab.clear()
        lab.apply()
        assert len(lab.things("SoftwareUpload")) == 30


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Schedule(interval="10m"), "interval[0:10:00]"),
        (Schedule(), "interval[0:10:00]"),
        (Schedule(cron="*/5 * * * *", timezone="Europe/Rome"), "cron[month='*', day='*', day_of_week='*'"),
    ],
)
def test_schedules(schedule: Schedule, expected: str) -> None:
    assert str(trigger(schedule)).startswith(expected)
