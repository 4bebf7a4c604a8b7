"""The service: scheduled passes, one at a time, until it is told to stop.

Every pass is the same as one `apply`; the schedule is `reconciler.yaml`'s. A pass that fails is
reported and the next one comes; SIGTERM ends the pass under way cleanly.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING, Any

from reconciler.errors import ExitCode, ReconcilerError
from reconciler.line.session import Request, open_session
from reconciler.run import STOP, Applied, apply
from reconciler.settings import Schedule
from reconciler.units import duration

if TYPE_CHECKING:
    from apscheduler.schedulers.blocking import BlockingScheduler

log = logging.getLogger(__name__)


def serve(request: Request, report: Callable[[Applied], None]) -> ExitCode:
    """Make passes as `schedule:` says, the first at once. Returns when a signal ends it."""
    from apscheduler.schedulers.blocking import BlockingScheduler  # noqa: PLC0415  only the service needs it

    schedule = open_session(request).settings.schedule
    scheduler = BlockingScheduler(timezone=schedule.timezone)
    _end_on_signals(scheduler)
    one_pass(request, report)
    if not STOP.is_set():
        options = {"max_instances": 1, "coalesce": True, "misfire_grace_time": None}
        scheduler.add_job(one_pass, trigger(schedule), (request, report), **options)
        scheduler.start()
    return ExitCode.TERMINATED


def one_pass(request: Request, report: Callable[[Applied], None]) -> None:
    """One apply. Whatever goes wrong is said, and the next pass comes."""
    try:
        report(apply(replace(request, now=None)))
    except ReconcilerError as error:
        log.error("pass failed", extra={"exit_code": int(error.exit_code), "error": str(error)})  # noqa: TRY400
    except Exception:
        log.exception("pass failed by a defect of ours")


def trigger(schedule: Schedule) -> Any:
    """The APScheduler trigger for a schedule: cron where it is given, else the interval."""
    from apscheduler.triggers.cron import CronTrigger  # noqa: PLC0415  only the service needs it
    from apscheduler.triggers.interval import IntervalTrigger  # noqa: PLC0415

    if schedule.cron:
        return CronTrigger.from_crontab(schedule.cron, timezone=schedule.timezone)
    seconds = int(duration(schedule.interval or "10m").total_seconds())
    return IntervalTrigger(seconds=max(seconds, 1), timezone=schedule.timezone)


def _end_on_signals(scheduler: BlockingScheduler) -> None:
    def end(_number: int, _frame: FrameType | None) -> None:
        STOP.set()
        if scheduler.running:
            scheduler.shutdown(wait=False)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
