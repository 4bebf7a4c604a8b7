"""observe: targets → observation. Reads the world; can't write it.

One bulk list per (target, primitive kind), complete or the target is blind. Targets are read side
by side, each for a limited time; who answers later is blind in this pass. Deep reads come after the
lists, when due, within a budget, and never make a target blind.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from queue import SimpleQueue
from typing import Any

from reconciler.errors import BackendError, ReconcilerError
from reconciler.kind import Ask, Driver, Hand, Places, Primitive
from reconciler.lanes import Answer, Lane, next_answer
from reconciler.model import Json, Observed, Ref, Target

Due = Callable[[Observed], bool]
FACTS = "facts"
PROBE_SECONDS = 1.0
LEAST_PROBE = 0.3
LEAST_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Observation:
    """All we saw, per target, and where we were blind (target → why).

    `seconds` is how long each reading took, `facts` are capacities. `verified` are the mark ids that
    were read deeply in this pass and found as they should be.
    """

    things: Mapping[str, tuple[Observed, ...]]
    blind: Mapping[str, str]
    facts: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    verified: Mapping[str, datetime] = field(default_factory=dict)

    def all(self) -> Iterable[Observed]:
        """Everything that was seen, by target name, then as listed."""
        for target in sorted(self.things):
            yield from self.things[target]

    def by_object(
        self, renamed: Mapping[Ref, Ref], by_key: Mapping[tuple[str, str], Sequence[Ref]] | None = None
    ) -> dict[Ref, tuple[Observed, ...]]:
        """What is ours, by the object it belongs to; renamed objects under their new Ref.

        `by_key` names what is found by its natural key: (primitive kind, key) → Refs of the things.
        """
        groups: dict[Ref, list[Observed]] = {}
        keyed = by_key or {}
        for thing in self.all():
            if thing.ref.kind == thing.kind and (thing.kind, thing.ref.name) in keyed:
                for ref in keyed[thing.kind, thing.ref.name]:
                    groups.setdefault(ref.object, []).append(replace(thing, ref=ref))
                continue
            if thing.mark is None:
                continue
            owner = thing.ref.object
            if owner in renamed:
                owner = renamed[owner]
                thing = replace(thing, ref=owner._replace(part=thing.ref.part))  # noqa: PLW2901
            groups.setdefault(owner, []).append(thing)
        return {ref: tuple(things) for ref, things in groups.items()}

    def updated(self, newer: Observation) -> Observation:
        """This observation with some targets read again. A target once blind stays so in this pass."""
        again = {name: things for name, things in newer.things.items() if name not in self.blind}
        kept = {name: things for name, things in self.things.items() if name not in newer.blind}
        blind = {**self.blind, **newer.blind}
        facts = {**self.facts, **newer.facts}
        verified = {**self.verified, **newer.verified}
        return Observation({**kept, **again}, blind, facts, self.seconds, verified)


@dataclass(frozen=True, slots=True)
class Reading:
    """How one target is to be read: what to ask per primitive kind, and for how long.

    `probe` is the time for the first answer of a target that was blind the last time (0: no probe).
    """

    target: Target
    driver: Driver
    asks: Mapping[str, Ask]
    limit: float
    probe: float = 0.0


def limit_for(target: Target, learnt: float | None) -> float:
    """How many seconds a target gets to be read: min(timeout, max(5 s, 3 × learnt duration))."""
    if learnt is None:
        return target.timeout
    return min(target.timeout, max(LEAST_SECONDS, 3 * learnt))


def probe_for(learnt: float | None) -> float:
    """How many seconds a target that was blind gets for a first answer: 1 s, or 3 × what it once took."""
    return PROBE_SECONDS if learnt is None else min(PROBE_SECONDS, max(LEAST_PROBE, 3 * learnt))


def observe(
    readings: Sequence[Reading], places: Places, due: Due, now: datetime, *, deep_seconds: float
) -> Observation:
    """Read all targets at once. Never raises for a target: it is blind then, with the reason."""
    answers: SimpleQueue[Answer] = SimpleQueue()
    started = time.monotonic()
    for reading in readings:
        _start(reading, places, answers)
    waiting = {reading.target.name: reading for reading in readings}
    lists = _gather(waiting, answers, started)
    return _deepen(lists, readings, places, due, now, deep_seconds)


def _start(reading: Reading, places: Places, answers: SimpleQueue[Answer]) -> None:
    name, target = reading.target.name, reading.target
    size = min(target.concurrency, len(reading.asks) + 1)
    lane = Lane(f"read-{name}", size, partial(reading.driver.reader, target, places), answers)
    lane.submit((name, FACTS), reading.driver.facts)
    for primitive, ask in reading.asks.items():
        lane.submit((name, primitive), partial(_list, reading.driver.serving(primitive), ask))
    lane.end()


def _list(hand: Hand[Any], ask: Ask, client: Any) -> tuple[Observed, ...]:
    return tuple(hand.observe(client, ask))


@dataclass(slots=True)
class _Gathered:
    """The lists as they come in, per target and primitive kind; only `_gather` changes it."""

    lists: dict[str, dict[str, tuple[Observed, ...]]] = field(default_factory=dict)
    things: dict[str, tuple[Observed, ...]] = field(default_factory=dict)
    facts: dict[str, Mapping[str, Json]] = field(default_factory=dict)
    blind: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def _gather(waiting: dict[str, Reading], answers: SimpleQueue[Answer], started: float) -> _Gathered:
    gathered = _Gathered()
    while waiting:
        elapsed = time.monotonic() - started
        _give_up(waiting, gathered, elapsed)
        soonest = min((_limit(reading, gathered) for reading in waiting.values()), default=elapsed)
        answer = next_answer(answers, soonest - elapsed) if waiting else None
        if answer is not None:
            _take(answer, waiting, gathered, time.monotonic() - started)
    return gathered


def _limit(reading: Reading, gathered: _Gathered) -> float:
    name = reading.target.name
    unproven = reading.probe and name not in gathered.facts and name not in gathered.lists
    return min(reading.limit, reading.probe) if unproven else reading.limit


def _give_up(waiting: dict[str, Reading], gathered: _Gathered, elapsed: float) -> None:
    late = [name for name, reading in waiting.items() if elapsed >= _limit(reading, gathered)]
    for name in late:
        limit = _limit(waiting.pop(name), gathered)
        gathered.blind[name] = f"no answer within {limit:.0f} s"


def _take(answer: Answer, waiting: dict[str, Reading], gathered: _Gathered, elapsed: float) -> None:
    """One answer of one target. Any error makes the whole target blind; it is read when all have come."""
    name, what = answer.key
    if name not in waiting:
        return
    if answer.error is not None:
        gathered.blind[name] = _why(answer.error)
        del waiting[name]
        return
    if what == FACTS:
        gathered.facts[name] = answer.value
    else:
        gathered.lists.setdefault(name, {})[what] = answer.value
    lists, asks = gathered.lists.get(name, {}), waiting[name].asks
    if name in gathered.facts and len(lists) == len(asks):
        gathered.things[name] = tuple(thing for primitive in asks for thing in lists[primitive])
        gathered.seconds[name] = elapsed
        del waiting[name]


def _why(error: BaseException) -> str:
    if isinstance(error, BackendError):
        return f"{error.reason}: {error}"
    if isinstance(error, ReconcilerError):
        return str(error)
    return f"defect in the driver: {type(error).__name__}: {error}"


def _deepen(
    gathered: _Gathered,
    readings: Sequence[Reading],
    places: Places,
    due: Due,
    now: datetime,
    seconds: float,
) -> Observation:
    """Read deeply what is due, each target in its own lane, until the budget is spent."""
    answers: SimpleQueue[Answer] = SimpleQueue()
    under_way = 0
    for reading in readings:
        under_way += _start_deep(reading, places, gathered.things.get(reading.target.name, ()), due, answers)
    fresh = _collect_deep(answers, under_way, time.monotonic() + seconds, now)
    things = {
        name: tuple(fresh.get((name, thing.uid), thing) for thing in seen) if fresh else seen
        for name, seen in gathered.things.items()
    }
    verified = {thing.mark.id: now for thing in fresh.values() if thing.mark and not thing.drift}
    return Observation(things, gathered.blind, gathered.facts, gathered.seconds, verified)


def _start_deep(
    reading: Reading, places: Places, things: Iterable[Observed], due: Due, answers: SimpleQueue[Answer]
) -> int:
    wanted = [thing for thing in things if thing.mark is not None and due(thing)]
    if not wanted:
        return 0
    target = reading.target
    connect = partial(reading.driver.reader, target, places)
    lane = Lane(f"deep-{target.name}", target.concurrency, connect, answers)
    for thing in wanted:
        hand = reading.driver.hand(thing.kind)
        lane.submit((target.name, thing.uid), partial(_verify, hand, thing))
    lane.end()
    return len(wanted)


def _verify(hand: Any, thing: Observed, client: Any) -> Observed:
    found: Observed = hand.verify(client, thing)
    return found


def _collect_deep(
    answers: SimpleQueue[Answer], under_way: int, deadline: float, now: datetime
) -> dict[Any, Observed]:
    """The deep answers that came in time. What failed or is late stays as it was listed."""
    fresh: dict[Any, Observed] = {}
    while under_way:
        answer = next_answer(answers, deadline - time.monotonic())
        if answer is None:
            break
        under_way -= 1
        if answer.error is None:
            thing = answer.value
            fresh[answer.key] = thing if thing.drift else replace(thing, verified=now)
    return fresh


def cadence_of(primitive: Primitive, thing: Observed, parse: Callable[[str], Any]) -> Any:
    """How often this thing is verified: `spec.verify.every` where it says so, else the kind's own."""
    verify = thing.spec.get("verify")
    every = verify.get("every") if isinstance(verify, Mapping) else None
    return parse(every) if every else primitive.cadence
