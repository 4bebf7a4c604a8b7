"""execute: plan → outcomes. WRITES the world, and nothing else does.

Works off a closed set of changes. A change starts when its needs are ready in the real world and,
for a delete, when nobody uses the thing any more. Nobody sleeps on one object: what was written is
looked at again in bulk, per target, and what is still building is left for the next pass. Targets do
not wait for each other; each has its own lane, rate, circuit breaker and deadline. Transient errors
are tried again here and nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from math import inf
from queue import SimpleQueue
from typing import Final

from reconciler.errors import Transient, Untried
from reconciler.lanes import Answer, Lane, next_answer
from reconciler.model import Action, Change, Outcome, Ref, Result
from reconciler.stages.calls import call
from reconciler.stages.following import followers
from reconciler.stages.jobs import Job, failed, jobs_for, merged, to_make
from reconciler.stages.observe import Observation
from reconciler.stages.orders import Orders
from reconciler.stages.place import Place, again, batch_of, errors_of, told_by
from reconciler.stages.standing import Standing
from reconciler.stages.watching import Watch

_LONGEST_SLEEP: Final = 1.0  # seconds; a signal to end is heeded at least so often


class Execution:
    """The state of one execution: what waits, what is ready, what is under way. Main thread only."""

    def __init__(self, changes: Sequence[Change], observation: Observation, orders: Orders) -> None:
        self.orders = orders
        self.observation = observation
        self.outcomes: list[Outcome] = []
        self._answers: SimpleQueue[Answer] = SimpleQueue()
        self._waiting = {job.number: job for job in jobs_for(changes, orders.primitives)}
        self._total = len(self._waiting)
        self._places: dict[str, Place] = {}
        self._leaving = {job.leaves for job in self._waiting.values()}
        self._watch = Watch(observation.things, time.monotonic())
        self._patience_ends = inf
        self._slow = {name for name, primitive in orders.primitives.items() if primitive.slow}
        self._index()

    # -- the loop ----------------------------------------------------------------------------

    def run(self, deadline: float) -> None:
        """Work until nothing moves, or until the deadline (monotonic seconds)."""
        while not self.orders.stop.is_set():
            moved = self._ready_up() + self._send()
            if not moved and self._at_rest(deadline):
                break
            self._take(min(_LONGEST_SLEEP, self._next_event(deadline) - time.monotonic()))
            if self._waiting:  # for what a look could tell
                self._look()
        self._end()

    def _at_rest(self, deadline: float) -> bool:
        """Will nothing more happen in this run?"""
        if self._under_way() or self._later() or (self._waiting and self._to_look()):
            return False
        return not self._watch.making or time.monotonic() >= deadline

    def _end(self) -> None:
        """Wait a little for what is under way, then say of the rest that it waits."""
        limit = time.monotonic() + 10
        while self._under_way() and time.monotonic() < limit:
            if not self._take(limit - time.monotonic()):
                break
        for place in self._places.values():
            place.lane.end()
            for job in place.jobs():
                self._conclude(job, Result.WAITING, *place.why_unsent(interrupted=self.orders.stop.is_set()))
        for job in self._waiting.values():
            self._blocked(job)

    # -- what is ready -----------------------------------------------------------------------

    def _index(self) -> None:
        self._standing = Standing(self.orders.world(self.observation), self._leaving, self.orders.primitives)
        self._stale = True

    def _ready_up(self) -> int:
        """Move to their places the jobs whose needs are met. A look, or the end of patience, changes that."""
        now = time.monotonic()
        if not self._stale and now < self._patience_ends:
            return 0
        self._stale = False
        placed = [job for place in self._places.values() for job in place.jobs()]
        pending = to_make([*self._waiting.values(), *placed])
        busy = {job.change.ref.object for job in placed}
        ready = [job for job in self._waiting.values() if self._is_ready(job, pending, busy)]
        coming = self._coming({job.number for job in ready})
        found = [job for job in ready if self._batch(job) not in coming or not self._watch.patient(job, now)]
        self._patience_ends = self._watch.patience_ends(now)
        for job in found:
            del self._waiting[job.number]
        found = [job for job in found if not self._refused(job)]
        self._ahead(found)
        return len(found)

    def _coming(self, ready: Collection[int]) -> set[tuple[str, ...]]:
        """The batches of jobs that wait for something on its way; where that is, is watched."""
        others = self._waiting.keys() - ready
        moving = {number: self._standing.moving(self._waiting[number], self._slow) for number in others}
        self._watch.making = frozenset(thing.target for things in moving.values() for thing in things)
        return {self._batch(self._waiting[number]) for number, things in moving.items() if things} - {()}

    def _batch(self, job: Job) -> tuple[str, ...]:
        return batch_of(self.orders.driver(self.orders.targets[job.change.target].driver), job)

    def _ahead(self, found: Sequence[Job]) -> None:
        if not found:
            return
        self.orders.check()
        self.orders.attempt([job.parent for job in found])
        for job in found:
            self._place(job.change.target).ready.append(job)
            self._watch.news(job.change.target, time.monotonic())

    def _is_ready(self, job: Job, pending: set[Ref], busy: set[Ref]) -> bool:
        change, standing = job.change, self._standing
        if job.gone and (change.target, job.gone) in standing.uids:
            return False
        needs = change.needs - {change.ref}
        if needs & pending or not all(standing.ready(ref) for ref in needs) or standing.untold(change):
            return False
        if job.successor and not standing.ready(change.ref):
            return False
        if change.action is not Action.DELETE:
            return True
        return not standing.used(change) and self._may_guard(change, busy)

    def _may_guard(self, change: Change, busy: set[Ref]) -> bool:
        """Deletes that a kind guards go one at a time an object, each after a fresh look."""
        primitive = self.orders.primitives.get(change.kind)
        if primitive is None or not primitive.holds_data:
            return True
        owner = change.ref.object
        places = {thing.target for thing in self._standing.world.seen.get(owner, ())} | {change.target}
        if owner in busy or places & self._watch.unlooked:
            self._watch.asked |= places & self._watch.unlooked
            return False
        busy.add(owner)
        return True

    def _refused(self, job: Job) -> bool:
        """The kind's own gate, asked again just before the write; what was approved holds nothing."""
        change = job.change
        kind = self.orders.kinds.get(change.ref.kind)
        if kind is None or change.action is not Action.DELETE or (change.have and change.have.partial):
            return False
        hold = kind.hold_removal(change, self._standing.world)
        if hold is None or hold.reason == change.released:
            return False
        self._conclude(job, Result.HELD, hold.reason, hold.message)
        return True

    # -- sending and taking ------------------------------------------------------------------

    def _place(self, name: str) -> Place:
        if name not in self._places:
            target = self.orders.targets[name]
            driver = self.orders.driver(target.driver)
            connect = partial(driver.writer, target, self.orders.places)
            lane = Lane(f"write-{name}", target.concurrency, connect, self._answers)
            self._places[name] = Place(target, driver, lane, time.monotonic() + target.deadline)
        return self._places[name]

    def _send(self) -> int:
        """Start what is ready, up to each target's concurrency and rate; healthy work before retries."""
        sent = 0
        for place in self._places.values():
            while job := place.next_job(time.monotonic()):
                self.orders.check()
                jobs = self._with_followers(place.company(job), place)
                work = call(jobs, place.driver, self._standing, self.orders.owner)
                place.lane.submit((place.target.name, place.begin(jobs)), work)
                sent += len(jobs)
        return sent

    def _with_followers(self, jobs: tuple[Job, ...], place: Place) -> tuple[Job, ...]:
        """These jobs, and those that come along with them."""
        if not place.batch(jobs[0]):
            return jobs
        placed = [job for one in self._places.values() for job in one.jobs()]
        pending = to_make([*self._waiting.values(), *placed])
        found = followers(jobs, self._waiting.values(), place, pending, self._standing)
        for job in found:
            del self._waiting[job.number]
        if found:
            self.orders.attempt([job.parent for job in found])
        return (*jobs, *found)

    def _take(self, seconds: float) -> int:
        answer = next_answer(self._answers, seconds)
        taken = 0
        while answer is not None:
            taken += self._settle(answer)
            answer = next_answer(self._answers, 0)
        return taken + self._give_up()

    def _settle(self, answer: Answer) -> int:
        name, numbers = answer.key
        place = self._places[name]
        jobs = place.sent.pop(numbers, ())  # none: given up on already
        if jobs:
            self._watch.written(name, time.monotonic())
            place.came_back(self._watch.looking)
            errors = errors_of(answer, len(jobs))
            place.note(told_by(errors))
            refs = to_make(jobs)
            for job, error in zip(jobs, errors, strict=True):
                self._finish(place, job, error, along=bool(job.change.needs & (refs - {job.change.ref})))
        return len(jobs)

    def _finish(self, place: Place, job: Job, error: BaseException | None, *, along: bool) -> None:
        """Who came along in vain waits again, now until what it needs is seen to be ready."""
        if error is None:
            self._conclude(job, Result.APPLIED, job.parent.reason)
        elif along and isinstance(error, (Transient, Untried)):
            self._waiting[job.number] = replace(job, tries=job.tries + 1)
        elif isinstance(error, Transient) and again(job, error):
            place.retry(replace(job, tries=job.tries + 1), error.wait)
        else:
            self._told(failed(job, error))

    def _give_up(self) -> int:
        """A call that blocks beyond the target's time-out: its thread is left behind."""
        late = [
            (place, numbers) for place in self._places.values() for numbers in place.overdue(time.monotonic())
        ]
        for place, numbers in late:
            place.lost += 1
            place.note(Transient("no answer in time"))
            self._watch.unlooked.add(place.target.name)
            message = f"no answer within {place.limit:.0f} s; the next run looks what became of it"
            for job in place.sent.pop(numbers):
                self._conclude(job, Result.FAILED, "TimedOut", message, "time")
        return len(late)

    def _conclude(self, job: Job, result: Result, reason: str, message: str = "", who: str = "") -> None:
        self._told(Outcome(job.parent, result, reason, message, who))

    def _told(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.orders.progress("written", {"done": len(self.outcomes), "of": self._total})

    def _blocked(self, job: Job) -> None:
        """Why a job never became ready: the Refs that it waits for."""
        needs = [ref for ref in sorted(job.change.needs - {job.change.ref}) if not self._standing.ready(ref)]
        reason, message, blockers = self._standing.why_blocked(job, needs, anywhere=self.observation.blind)
        self.outcomes.append(Outcome(job.parent, Result.WAITING, reason, message, blocked_by=blockers))

    # -- looking again -----------------------------------------------------------------------

    def _to_look(self) -> frozenset[str]:
        return self._watch.to_look(self._places, time.monotonic()) - self.observation.blind.keys()

    def _look(self) -> None:
        again = self._to_look()
        if again:
            began = time.monotonic()
            self.observation = self.observation.updated(self.orders.look(again))
            self._watch.looked(again, began, time.monotonic())
            self._index()

    # -- small questions ---------------------------------------------------------------------

    def _under_way(self) -> bool:
        return any(place.sent for place in self._places.values())

    def _later(self) -> bool:
        now = time.monotonic()
        return any((place.later or place.ready) and not place.closed(now) for place in self._places.values())

    def _next_event(self, deadline: float) -> float:
        """When there may be something to do although no answer came; now, if nothing is known."""
        now = time.monotonic()
        moments = [deadline] if now < deadline else []
        moments += [moment for place in self._places.values() for moment in place.moments(now)]
        if self._waiting:
            moments += self._watch.moments(self._places, now)
        return min(moments, default=now)


def execute(
    changes: Sequence[Change], observation: Observation, orders: Orders, seconds: float
) -> tuple[tuple[Outcome, ...], Observation]:
    """Carry out these changes. Returns what became of each, and the newest look at the world."""
    execution = Execution(changes, observation, orders)
    execution.run(time.monotonic() + seconds)
    return merged(execution.outcomes), execution.observation
