"""Time as people mean it: freezes in their time zone, dates that last until the end of the day (UTC)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from reconciler.settings import Freeze

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
BEHIND = timedelta(minutes=5)
AHEAD = timedelta(days=30)


def is_over(day: date, now: datetime) -> bool:
    """Is this day over (UTC)? Dates mean the end of that day."""
    return now.astimezone(UTC).date() > day


def suspect(now: datetime, committed: datetime, last_run: datetime | None) -> str:
    """Why this clock can't be trusted; empty: it can.

    The commit and the last run have passed, so it may be neither before them nor long after the newest:
    where passes go on, a quiet repository makes no clock suspect.
    """
    newest = max(committed, last_run or committed)
    if now < newest - BEHIND:
        return f"the clock says {now:%Y-%m-%d %H:%M} UTC, which is before {newest:%Y-%m-%d %H:%M} UTC"
    if now > newest + AHEAD:
        return f"the clock says {now:%Y-%m-%d %H:%M} UTC, over 30 days after {newest:%Y-%m-%d %H:%M} UTC"
    return ""


def is_frozen(freeze: Freeze, now: datetime) -> bool:
    """Does the freeze hold at this moment? Wall-clock times, so that a DST change shifts nothing."""
    local = now.astimezone(ZoneInfo(freeze.timezone)).replace(tzinfo=None)
    return any(start <= local < end for start, end in _spans(freeze, local))


def _spans(freeze: Freeze, local: datetime) -> Iterator[tuple[datetime, datetime]]:
    if freeze.first or freeze.until:
        first = date.fromisoformat(freeze.first) if freeze.first else date.min
        until = date.fromisoformat(freeze.until) if freeze.until else date.max - timedelta(days=1)
        yield datetime.combine(first, time()), datetime.combine(until, time()) + timedelta(days=1)
        return
    for back in (1, 0):
        day = local.date() - timedelta(days=back)
        if not freeze.days or DAYS[day.weekday()] in freeze.days:
            yield _weekly(freeze, day)


def _weekly(freeze: Freeze, day: date) -> tuple[datetime, datetime]:
    midnight = datetime.combine(day, time())
    start, end = midnight + _clock_time(freeze.start), midnight + _clock_time(freeze.end)
    return start, end if end > start else end + timedelta(days=1)


def _clock_time(text: str) -> timedelta:
    hours, _, minutes = text.partition(":")
    return timedelta(hours=int(hours), minutes=int(minutes or 0))
