"""What readings of targets teach: how long they take, and what a complete list proves. Pure but for selects.

Only rows that would say something new come out, so that a quiet pass writes nothing at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from reconciler.store.history import History, Rows
from reconciler.store.rows import Reading, text_of

_WEIGHT: Final = 0.3  # of the newest reading in the learnt average
_SECONDS: Final = 0.5  # differences below this, or below a quarter, teach nothing
_SHARE: Final = 0.25


def durations(rows: Rows, readings: Iterable[Reading]) -> list[dict[str, Any]]:
    """The rows of learnt seconds and blindness that change. A blind reading teaches no duration."""
    known = {
        target: (seconds, blind)
        for target, seconds, blind in rows("SELECT target, seconds, blind FROM durations")
    }
    learnt = []
    for reading in sorted(readings, key=lambda reading: reading.target):
        seconds, blind = known.get(reading.target, (None, None))
        now_blind = int(reading.listed is None)
        average = seconds if now_blind else _average(seconds, reading.seconds)
        if average != seconds or now_blind != blind:
            learnt.append({"target": reading.target, "seconds": average, "blind": now_blind})
    return learnt


def _average(learnt: float | None, sample: float) -> float:
    if learnt is None:
        return sample
    if abs(sample - learnt) <= max(_SECONDS, _SHARE * learnt):
        return learnt
    return learnt + _WEIGHT * (sample - learnt)


def listings(rows: Rows, readings: Iterable[Reading], history: History) -> list[dict[str, Any]]:
    """The rows of complete lists that change what is proved.

    A list is of the round of attempts before it began. An older one never replaces a newer one.
    """
    known = {
        target: (number, listed) for target, number, listed in rows("SELECT target, round, listed FROM reads")
    }
    tried: dict[str, int] = dict(rows("SELECT target, MAX(round) FROM attempts GROUP BY target"))
    changed = []
    for reading in sorted(readings, key=lambda reading: reading.target):
        if reading.listed is None:
            continue
        number, before = known.get(reading.target, (-1, None))
        listed = "\n".join(sorted(reading.listed))
        news = listed != before or tried.get(reading.target, -1) > number
        if news and history.round >= number:
            row = {"target": reading.target, "read": text_of(history.now), "round": history.round}
            changed.append({**row, "listed": listed})
    return changed
