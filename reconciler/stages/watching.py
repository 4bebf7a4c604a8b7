"""execute: when to look at a target again, and who waits a moment for that look."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf

from reconciler.pace import pause
from reconciler.stages.jobs import Job
from reconciler.stages.place import Place


class Watch:
    """What was written since the last look, what is being made, and when. Moments are monotonic seconds.

    `making` are the targets where a waiting job waits for something that is on its way, `asked` those that
    are to be looked at for any other reason, `unlooked` those not looked at since the start or a write.
    """

    def __init__(self, targets: Iterable[str], began: float) -> None:
        self.making: frozenset[str] = frozenset()
        self.asked: set[str] = set()
        self.unlooked = set(targets)
        self.looking = 0.0  # seconds that the last look took
        self._began = began
        self._news: dict[str, float] = {}
        self._looked: dict[str, float] = {}
        self._until: dict[int, float] = {}  # by the number of a job that could begin

    def news(self, target: str, now: float) -> None:
        """Something became ready there, or came to its end."""
        self._news[target] = now

    def written(self, target: str, now: float) -> None:
        """A write there came to its end."""
        self.asked.add(target)
        self.unlooked.add(target)
        self.news(target, now)

    def looked(self, targets: frozenset[str], began: float, now: float) -> None:
        """These targets were looked at."""
        self.asked -= targets
        self.unlooked -= targets
        self.looking = now - began
        self._looked |= dict.fromkeys(targets, now)

    def to_look(self, places: Mapping[str, Place], now: float) -> frozenset[str]:
        """The targets to look at now."""
        busy = {name for name, place in places.items() if not place.may_look(now)}
        due = {name for name in self.making if now >= self._look_at(name)}
        return frozenset((self.asked | due) - busy)

    def moments(self, places: Mapping[str, Place], now: float) -> list[float]:
        """When there will be something to look at, or a job has waited long enough."""
        looks = [places[name].look_at for name in self.asked & places.keys()]
        looks += [self._look_at(name) for name in self.making]
        return [moment for moment in (*looks, self.patience_ends(now)) if now < moment < inf]

    def patient(self, job: Job, now: float) -> bool:
        """Does a job that could begin still wait a moment, for others to come in the same call? Once only."""
        target = job.change.target
        return now < self._until.setdefault(job.number, now + self._patience(target, now))

    def patience_ends(self, now: float) -> float:
        """When the next job has waited long enough."""
        return min((moment for moment in self._until.values() if moment > now), default=inf)

    def _patience(self, target: str, now: float) -> float:
        """Seconds that the next look at this target is worth waiting for."""
        return pause(now - self._news.get(target, self._began))

    def _look_at(self, target: str) -> float:
        looked = self._looked.get(target, self._began)
        return looked + self._patience(target, looked)
