"""One target while it is written to: what is ready, sent, to be tried again, and when it is given up."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from reconciler.errors import Denied, Transient, Untried
from reconciler.kind import BatchHand, Driver
from reconciler.lanes import Answer, Lane
from reconciler.model import Action, Target
from reconciler.stages.jobs import Job

Numbers = tuple[int, ...]  # of the jobs of one call

TRIES = 3


LOOK_AFTER = 0.5  # seconds after an answer, until a target with long writes is looked at meanwhile


_LOOKS = 20


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
    sent: dict[Numbers, tuple[Job, ...]] = field(default_factory=dict)  # what is under way, call by call
    limits: dict[Numbers, float] = field(default_factory=dict)
    failures: int = 0
    broken: str = ""
    lost: int = 0  # threads that never came back
    next_slot: float = 0.0
    look_at: float = 0.0  # when it may be looked at although it is written to

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

    def may_look(self, now: float) -> bool:
        """Is nothing under way here, or only what takes long, so that others need not wait for it?"""
        idle = not self.sent and not self.ready
        return idle or (self.driver.write_seconds > 0 and now >= self.look_at)

    def came_back(self, looking: float) -> None:
        """A call did. `looking`: seconds that the last look took; looks take a small part of the time."""
        self.look_at = time.monotonic() + max(LOOK_AFTER, _LOOKS * looking)

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

    def company(self, job: Job) -> tuple[Job, ...]:
        """This job, and all that are ready and can be written in the same call."""
        batch = self.batch(job)
        if not batch:
            return (job,)
        others = [other for other in self.ready if self.batch(other) == batch]
        self.ready = deque(other for other in self.ready if other not in others)
        return (job, *others)

    def batch(self, job: Job) -> tuple[str, ...]:
        """The target, kind and batch of a job that is not written alone; empty: it is."""
        return batch_of(self.driver, job)

    def begin(self, jobs: tuple[Job, ...]) -> Numbers:
        """Note a call that is sent now."""
        numbers = tuple(job.number for job in jobs)
        self.sent[numbers] = jobs
        self.limits[numbers] = time.monotonic() + self.limit
        return numbers

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

    def overdue(self, now: float) -> list[Numbers]:
        """The calls that take too long."""
        return [numbers for numbers in self.sent if now >= self.limits[numbers]]

    def jobs(self) -> list[Job]:
        """All that came here and is not settled."""
        sent = (job for call in self.sent.values() for job in call)
        return [*self.ready, *sent, *(entry[1] for entry in self.later)]

    def moments(self, now: float) -> list[float]:
        """When something happens by itself: a time-out, a retry, a free slot."""
        limits = [self.limits[numbers] for numbers in self.sent]
        if self.full or self.closed(now):
            return limits
        retries = [entry[0] for entry in self.later]
        slot = [self.next_slot] if self.ready and self.next_slot and not self.sent else []
        return [*limits, *retries, *slot]


def batch_of(driver: Driver, job: Job) -> tuple[str, ...]:
    """The target, kind and batch of a job that is not written alone; empty: it is."""
    hand = driver.hand(job.change.kind)
    if not _makes(job) or not isinstance(hand, BatchHand):
        return ()
    return job.change.target, job.change.kind, hand.batch(job.change)


def _makes(job: Job) -> bool:
    """Does it create or update something?"""
    change = job.change
    return change.action is not Action.DELETE and change.want is not None and not change.release


def again(job: Job, error: Transient) -> bool:
    """Is this worth another try in this run?"""
    return job.tries + 1 < TRIES and error.wait <= LONGEST_PAUSE


def errors_of(answer: Answer, count: int) -> Sequence[BaseException | None]:
    """What became of each job of a call: several in one call answer each for itself."""
    if answer.error is None and count > 1:
        told: Sequence[BaseException | None] = answer.value
        if len(told) == count:
            return told
        return [RuntimeError(f"{count} things were given and {len(told)} answered")] * count
    return [answer.error] * count


def told_by(errors: Sequence[BaseException | None]) -> BaseException | None:
    """What one call says of its target, however many are in it: one that fared otherwise speaks for it."""
    tried = [error for error in errors if not isinstance(error, Untried)]
    return next((error for error in tried if not isinstance(error, (Transient, Denied))), errors[0])
