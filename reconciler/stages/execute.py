"""execute: plan → outcomes. WRITES the world, and nothing else does.

Works off a closed set of changes. A change starts when its needs are ready in the real world and,
for a delete, when nobody uses the thing any more. Nobody sleeps on one object: what was written is
looked at again in bulk, per target, and what is still building is left for the next pass. Targets do
not wait for each other; each has its own lane, rate, circuit breaker and deadline. Transient errors
are tried again here and nowhere else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from queue import SimpleQueue
from typing import Any

from reconciler.errors import BackendError, Transient
from reconciler.kind import Driver, Kind, Places, Primitive, World
from reconciler.lanes import Answer, Lane, next_answer
from reconciler.late import late_values, resolve
from reconciler.model import Action, Change, Observed, Outcome, Ref, Result, State, Target, mark_for
from reconciler.stages.case import users_of
from reconciler.stages.jobs import Job, jobs_for, merged
from reconciler.stages.observe import Observation
from reconciler.stages.place import Place, again

POLLS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class Orders:
    """Everything that execution may use, and the three things it must do for the others.

    `look` reads some targets again. `attempt` records changes before they are written. `check` raises
    `Locked` when the lease is lost; it is asked before every write. `stop` is set when the run is to end.
    """

    targets: Mapping[str, Target]
    driver: Callable[[str], Driver]
    kinds: Mapping[str, Kind[Any]]
    primitives: Mapping[str, Primitive]
    owner: str
    places: Places
    look: Callable[[frozenset[str]], Observation]
    world: Callable[[Observation], World]
    attempt: Callable[[Sequence[Change]], None]
    check: Callable[[], None]
    stop: threading.Event
    progress: Callable[[str, Mapping[str, Any]], None]


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
        self._unlooked = set(observation.things)  # not looked at since the start, or written since
        self._written: set[str] = set()
        self._failed: set[Ref] = set()
        self._index()

    # -- the loop ----------------------------------------------------------------------------

    def run(self, deadline: float) -> None:
        """Work until nothing moves, or until the deadline (monotonic seconds)."""
        polls = 0
        while not self.orders.stop.is_set():
            moved = self._ready_up() + self._send()
            if self._under_way() or self._later():
                moved += self._take(self._next_event() - time.monotonic())
            if self._can_look():
                moved += self._look()
            elif not moved and not self._under_way() and not self._later():
                if not self._building() or time.monotonic() >= deadline:
                    break
                self._pause(POLLS[min(polls, len(POLLS) - 1)], deadline)
                polls += 1
                self._look()
            if time.monotonic() >= deadline and not self._under_way():
                break
        self._end()

    def _pause(self, seconds: float, deadline: float) -> None:
        self.orders.stop.wait(max(0.0, min(seconds, deadline - time.monotonic())))
        for job in self._waiting.values():
            self._written |= {job.change.target, *(thing.target for thing in self._awaited(job))}

    def _end(self) -> None:
        """Wait a little for what is under way, then say of the rest that it waits."""
        limit = time.monotonic() + 10
        while self._under_way() and time.monotonic() < limit:
            if not self._take(limit - time.monotonic()):
                break
        for place in self._places.values():
            place.lane.end()
            for job in (*place.ready, *place.sent.values(), *(entry[1] for entry in place.later)):
                self._conclude(job, Result.WAITING, *self._why_unsent(place))
        for job in self._waiting.values():
            self._blocked(job)

    def _why_unsent(self, place: Place) -> tuple[str, str]:
        if self.orders.stop.is_set():
            return "Interrupted", "the run was ended; the next one goes on"
        if place.broken:
            return "CircuitOpen", f"{place.target.name} refused too often: {place.broken}"
        return "DeadlinePassed", "there was no time left in this run; the next one goes on"

    # -- what is ready -----------------------------------------------------------------------

    def _index(self) -> None:
        """What the last look says, by Ref and by use."""
        world = self.orders.world(self.observation)
        self._world = world
        self._by_ref: dict[Ref, list[Observed]] = {}
        for things in world.seen.values():
            for thing in things:
                self._by_ref.setdefault(thing.ref, []).append(thing)
        self._uids = {(thing.target, thing.uid) for things in self._by_ref.values() for thing in things}
        self._users = users_of(world.seen)
        self._stale = True

    def _ready_up(self) -> int:
        """Move to their places the jobs whose needs are met. Only a look can change the answer."""
        if not self._stale:
            return 0
        self._stale = False
        guarded: set[Ref] = set()
        pending = {job.change.ref for job in self._all_jobs() if job.change.want is not None}
        found = [job for job in self._waiting.values() if self._is_ready(job, pending, guarded)]
        for job in found:
            del self._waiting[job.number]
        found = [job for job in found if not self._refused(job)]
        self._ahead(found)
        return len(found)

    def _ahead(self, found: Sequence[Job]) -> None:
        if not found:
            return
        self.orders.check()
        self.orders.attempt([job.parent for job in found])
        for job in found:
            self._place(job.change.target).ready.append(job)

    def _is_ready(self, job: Job, pending: set[Ref], guarded: set[Ref]) -> bool:
        change = job.change
        if job.gone and (change.target, job.gone) in self._uids:
            return False
        if not all(self._stands(ref, job, pending) for ref in change.needs - {change.ref}):
            return False
        if self._untold(change):
            return False
        if job.successor and not self._ready(change.ref):
            return False
        if change.action is not Action.DELETE:
            return True
        return not self._used(change) and self._may_guard(change, guarded)

    def _stands(self, ref: Ref, job: Job, pending: set[Ref]) -> bool:
        """Is the needed thing Ready in the real world, with nothing still to be done to it?"""
        if ref in pending and ref != job.change.ref:
            return False
        return bool(self._ready(ref))

    def _ready(self, ref: Ref) -> list[Observed]:
        """The ready things of a Ref that stay: what this plan takes away is nothing to rely on."""
        things = self._by_ref.get(ref, ())
        return [
            thing
            for thing in things
            if thing.state is State.READY and (thing.target, thing.uid) not in self._leaving
        ]

    def _untold(self, change: Change) -> list[str]:
        """The late values of a wish that nothing tells (yet)."""
        wish = self._resolved(change).want
        return [f"{ref}#{name}" for ref, name in late_values(wish.spec)] if wish else []

    def _used(self, change: Change) -> bool:
        return change.have is not None and any(
            user.uid != change.have.uid for user in self._users.get(change.have.uid, ())
        )

    def _may_guard(self, change: Change, guarded: set[Ref]) -> bool:
        """Deletes that a kind guards go one at a time an object, each after a fresh look."""
        primitive = self.orders.primitives.get(change.kind)
        if primitive is None or not primitive.holds_data:
            return True
        owner = change.ref.object
        places = {thing.target for thing in self._world.seen.get(owner, ())} | {change.target}
        if owner in guarded or places & self._unlooked or self._busy(owner):
            self._written |= places & self._unlooked
            return False
        guarded.add(owner)
        return True

    def _busy(self, owner: Ref) -> bool:
        jobs = [job for place in self._places.values() for job in place.jobs()]
        return any(job.change.ref.object == owner for job in jobs)

    def _refused(self, job: Job) -> bool:
        """The kind's own gate, asked again just before the write."""
        change = job.change
        kind = self.orders.kinds.get(change.ref.kind)
        if kind is None or change.action is not Action.DELETE or (change.have and change.have.partial):
            return False
        hold = kind.hold_removal(change, self._world)
        if hold is not None:
            self._conclude(job, Result.HELD, hold.reason, hold.message)
        return hold is not None

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
                place.sent[job.number] = job
                place.limits[job.number] = time.monotonic() + place.limit
                place.lane.submit((place.target.name, job.number), self._work(job, place))
                sent += 1
        return sent

    def _work(self, job: Job, place: Place) -> Callable[[Any], None]:
        change = self._resolved(job.change)
        hand = place.driver.serving(change.kind)
        if change.release:
            return lambda client: hand.release(client, change)
        if change.action is Action.DELETE or change.want is None:
            return lambda client: hand.delete(client, change)
        mark = mark_for(self.orders.owner, change.want)
        return lambda client: hand.apply(client, change, mark)

    def _resolved(self, change: Change) -> Change:
        """The change with its late values filled in from what stands now."""
        if change.want is None or not change.want.needs:
            return change
        return replace(change, want=replace(change.want, spec=resolve(change.want.spec, self._attribute)))

    def _attribute(self, ref: Ref, name: str) -> Any:
        ready = self._ready(ref)
        return ready[0].attributes.get(name) if ready else None

    def _take(self, seconds: float) -> int:
        answer = next_answer(self._answers, seconds)
        taken = 0
        while answer is not None:
            taken += self._settle(answer)
            answer = next_answer(self._answers, 0)
        return taken + self._give_up()

    def _settle(self, answer: Answer) -> int:
        name, number = answer.key
        place = self._places[name]
        job = place.sent.pop(number, None)
        if job is None:  # given up on already
            return 0
        place.note(answer.error)
        self._written.add(name)
        self._unlooked.add(name)
        if answer.error is None:
            self._conclude(job, Result.APPLIED, job.parent.reason)
        elif isinstance(answer.error, Transient) and again(job, answer.error):
            place.retry(replace(job, tries=job.tries + 1), answer.error.wait)
        else:
            self._fail(job, answer.error)
        return 1

    def _fail(self, job: Job, error: BaseException) -> None:
        if isinstance(error, BackendError):
            message = f"{error}" + (f" ({error.hint})" if error.hint else "")
            self._conclude(job, Result.FAILED, error.reason, message, error.who)
        else:
            message = f"{type(error).__name__}: {error} (this is a defect of ours; please report it)"
            self._conclude(job, Result.FAILED, "Defect", message, "reconciler's authors")

    def _give_up(self) -> int:
        """A call that blocks beyond the target's time-out: its thread is left behind."""
        late = [(place, job) for place in self._places.values() for job in place.overdue(time.monotonic())]
        for place, job in late:
            del place.sent[job.number]
            place.lost += 1
            place.note(Transient("no answer in time"))
            self._unlooked.add(place.target.name)
            message = f"no answer within {place.limit:.0f} s; the next run looks what became of it"
            self._conclude(job, Result.FAILED, "TimedOut", message, "time")
        return len(late)

    def _conclude(self, job: Job, result: Result, reason: str, message: str = "", who: str = "") -> None:
        if result is not Result.APPLIED:
            self._failed.add(job.change.ref)
        self.outcomes.append(Outcome(job.parent, result, reason, message, who))
        self.orders.progress("written", {"done": len(self.outcomes), "of": self._total})

    def _blocked(self, job: Job) -> None:
        """Why a job never became ready: the Refs that it waits for."""
        change = job.change
        needs = sorted(ref for ref in change.needs - {change.ref} if not self._stands(ref, job, set()))
        blind = [ref for ref in needs if self._is_blind(ref)]
        users = [user.ref for user in self._users.get(change.have.uid, ())] if change.have else []
        untold = self._untold(change) if not needs else []
        reason = "BlindDependency" if blind else "InUse" if users and not needs else "Dependency"
        reason = "AttributeUnknown" if untold else reason
        blockers = tuple(blind or needs or sorted(users))
        names = ", ".join(untold[:3] or [str(ref) for ref in blockers[:3]]) or "its successor"
        if job.gone and not blockers:
            reason, names = "Deleting", "the one before to be gone"
        outcome = Outcome(job.parent, Result.WAITING, reason, f"waits for {names}", blocked_by=blockers)
        self.outcomes.append(outcome)

    def _is_blind(self, ref: Ref) -> bool:
        return ref not in self._by_ref and bool(self.observation.blind)

    # -- looking again -----------------------------------------------------------------------

    def _can_look(self) -> bool:
        """Does a job wait for what a look at an idle target could tell?"""
        return bool(self._waiting) and bool(self._idle_written())

    def _idle_written(self) -> frozenset[str]:
        busy = {name for name, place in self._places.items() if place.sent or place.ready}
        return frozenset(self._written - busy - self.observation.blind.keys())

    def _look(self) -> int:
        again = self._idle_written()
        if not again:
            return 0
        self._written -= again
        self._unlooked -= again
        self.observation = self.observation.updated(self.orders.look(again))
        self._index()
        return 1

    def _building(self) -> bool:
        """Does a waiting job wait for something that is on its way, and not slow?"""
        slow = {name for name, primitive in self.orders.primitives.items() if primitive.slow}
        things = (thing for job in self._waiting.values() for thing in self._awaited(job))
        return any(thing.state.moving and thing.kind not in slow for thing in things)

    def _awaited(self, job: Job) -> list[Observed]:
        """What a job may wait for: what it needs, its own kin, and the users of what it takes away."""
        change = job.change
        things = [thing for ref in (*change.needs, change.ref) for thing in self._by_ref.get(ref, ())]
        return [*things, *(self._users.get(job.leaves[1], ()) if job.leaves else ())]

    # -- small questions ---------------------------------------------------------------------

    def _all_jobs(self) -> list[Job]:
        placed = [job for place in self._places.values() for job in place.jobs()]
        return [*self._waiting.values(), *placed]

    def _under_way(self) -> bool:
        return any(place.sent for place in self._places.values())

    def _later(self) -> bool:
        return any((place.later or place.ready) and not place.broken for place in self._places.values())

    def _next_event(self) -> float:
        moments = [moment for place in self._places.values() for moment in place.moments()]
        return min(moments, default=time.monotonic())


def execute(
    changes: Sequence[Change], observation: Observation, orders: Orders, seconds: float
) -> tuple[tuple[Outcome, ...], Observation]:
    """Carry out these changes. Returns what became of each, and the newest look at the world."""
    execution = Execution(changes, observation, orders)
    execution.run(time.monotonic() + seconds)
    return merged(execution.outcomes), execution.observation
