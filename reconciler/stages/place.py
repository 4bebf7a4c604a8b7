"""One target while it is written to: what is ready, sent, to be tried again, and when it is given up."""

from __future__ import annotations

import random
import time
from collections import deque
from dataclasses import dataclass, field

from reconciler.errors import Denied, Transient
from reconciler.kind import Driver
from reconciler.lanes import Lane
from reconciler.model import Target
from reconciler.stages.jobs import Job

TRIES = 3


BREAKS_AFTER = 5  # calls in a row that failed for a reason of the target's, not of the object's


FIRST_PAUSE = 0.2


LONGEST_PAUSE = 15.0  # who asks to be left alone for longer gets the next run


@dataclass(slots=True)
class Place:
    """One target while it is written to: its lane, what is ready, sent, and to be tried again."""

    target: Target
    driver: Driver
    lane: Lane
    deadline: float
    ready: deque[Job] = field(default_factory=deque)
    later: list[tuple[float, Job]] = field(default_factory=list)
    sent: dict[int, Job] = field(default_factory=dict)
    limits: dict[int, float] = field(default_factory=dict)
    failures: int = 0
    broken: str = ""
    lost: int = 0  # threads that never came back
    next_slot: float = 0.0

    @property
    def limit(self) -> float:
        """Seconds that one write may take before its thread is left behind."""
        return max(self.target.timeout, self.driver.write_seconds)

    def closed(self, now: float) -> bool:
        """Will nothing more be started here in this run?"""
        return bool(self.broken) or now >= self.deadline or self.lost >= self.target.concurrency

    def why_unsent(self, *, interrupted: bool) -> tuple[str, str]:
        """The reason and the message for what was not started here."""
        if interrupted:
            return "Interrupted", "the run was ended; the next one goes on"
        if self.broken:
            return "CircuitOpen", f"{self.target.name} refused too often: {self.broken}"
        return "DeadlinePassed", "there was no time left in this run; the next one goes on"

    @property
    def full(self) -> bool:
        """Is every thread at work, or lost?"""
        return len(self.sent) + self.lost >= self.target.concurrency

    def next_job(self, now: float) -> Job | None:
        """The next job that may start now, or None."""
        if self.full or self.closed(now) or now < self.next_slot:
            return None
        job = self.ready.popleft() if self.ready else self._due(now)
        if job is not None and self.target.rate:
            self.next_slot = max(now, self.next_slot) + 1 / self.target.rate
        return job

    def _due(self, now: float) -> Job | None:
        due = [entry for entry in self.later if entry[0] <= now]
        if not due:
            return None
        self.later.remove(due[0])
        return due[0][1]

    def retry(self, job: Job, wait: float) -> None:
        """Try again after a pause that doubles, with jitter; a target that asks for one gets it from all."""
        pause = FIRST_PAUSE * 2**job.tries * random.uniform(0.5, 1.5)  # noqa: S311  jitter, not a secret
        now = time.monotonic()
        self.later.append((now + wait + pause, job))
        self.next_slot = max(self.next_slot, now + wait if wait else 0.0)

    def note(self, error: BaseException | None) -> None:
        """Count failures that are the target's own; too many in a row open the circuit for this run."""
        if isinstance(error, Transient) and error.wait:
            return  # it is there, and says when
        if not isinstance(error, (Transient, Denied)):
            self.failures = 0
            return
        self.failures += 1
        if self.failures >= BREAKS_AFTER:
            self.broken = str(error)

    def overdue(self, now: float) -> list[Job]:
        return [job for number, job in self.sent.items() if now >= self.limits[number]]

    def jobs(self) -> list[Job]:
        return [*self.ready, *self.sent.values(), *(entry[1] for entry in self.later)]

    def moments(self, now: float) -> list[float]:
        """When something happens by itself: a time-out, a retry, a free slot."""
        limits = [self.limits[number] for number in self.sent]
        if self.full or self.closed(now):
            return limits
        retries = [entry[0] for entry in self.later]
        slot = [self.next_slot] if self.ready and self.next_slot and not self.sent else []
        return [*limits, *retries, *slot]


def again(job: Job, error: Transient) -> bool:
    """Is this worth another try in this run?"""
    return job.tries + 1 < TRIES and error.wait <= LONGEST_PAUSE
