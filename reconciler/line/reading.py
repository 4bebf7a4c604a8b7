"""What is read of the world in one pass: which targets, how long, and what deeply."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from reconciler import registry
from reconciler.kind import Ask
from reconciler.line.session import Session
from reconciler.line.wish import Wish
from reconciler.model import Observed, Ref, Target
from reconciler.stages.observe import Observation, Reading, cadence_of, limit_for, observe, probe_for
from reconciler.units import duration

DEEP_SECONDS = 30.0
ALL_DEEP_SECONDS = 24 * 3600.0
CATCH_UP = 200  # deep reads per target and pass


def read(session: Session, wanted: Wish, only: frozenset[str] | None = None) -> Observation:
    """Read the targets (all of them, or only some again)."""
    history, request = session.history, session.request
    targets = [target for name, target in sorted(wanted.targets.items()) if only is None or name in only]
    natural = _natural(wanted)
    readings = [_reading(session, target, natural, first=only is None) for target in targets]
    request.progress("observe", {"targets": len(readings)})
    deep = ALL_DEEP_SECONDS if request.deep else DEEP_SECONDS
    due = _never if only is not None else _everything(session) if request.deep else _due(session)
    seen = observe(readings, session.places, due, session.now, deep_seconds=deep)
    return replace(seen, things={name: _dated(things, history) for name, things in seen.things.items()})


def _reading(
    session: Session, target: Target, natural: Mapping[tuple[str, str], set[str]], *, first: bool
) -> Reading:
    driver = registry.driver(target.driver)
    owner = session.settings.owner
    asks = {
        name: Ask(owner, frozenset().union(*(natural.get((at, name), ()) for at in ("", target.name))))
        for name in registry.primitives()
        if driver.hand(name) is not None
    }
    learnt = session.history.durations.get(target.name)
    probe = probe_for(learnt) if first and session.history.was_blind(target.name) else 0.0
    return Reading(target, driver, asks, limit_for(target, learnt), probe)


def _natural(wanted: Wish) -> dict[tuple[str, str], set[str]]:
    """(target or empty for all, primitive kind) → natural keys: of objects that say `adopt`, and of those
    that are found by their keys.
    """
    keys: dict[tuple[str, str], set[str]] = {}
    kinds = registry.kinds()
    for ref, declared in wanted.declared.items():
        kind = kinds[ref.kind]
        parts = [part.name for part in kind.parts if part.by_key or declared.metadata.adopt]
        targets = {target for _, target in kind.targets(declared)} if parts else set()
        for part in parts:
            for target in targets or {""}:
                keys.setdefault((target, part), set()).update(kind.natural_keys(declared, part))
    return keys


def by_key(wanted: Wish) -> dict[tuple[str, str], tuple[Ref, ...]]:
    """(primitive kind, natural key) → the things that what stands there is, where it says nothing else."""
    found: dict[tuple[str, str], list[Ref]] = {}
    kinds = registry.kinds()
    names = {name for name, kind in kinds.items() if any(part.by_key for part in kind.parts)}
    for ref, declared in wanted.declared.items() if names else ():
        for part in kinds[ref.kind].parts if ref.kind in names else ():
            for key in kinds[ref.kind].natural_keys(declared, part.name) if part.by_key else ():
                found.setdefault((part.name, key), []).append(_thing(ref, part.name))
    return {place: tuple(refs) for place, refs in found.items()}


def _thing(ref: Ref, primitive: str) -> Ref:
    return ref if ref.kind == primitive else ref.with_part("main", primitive)


def _never(_thing: Observed) -> bool:
    return False


def _everything(session: Session) -> Callable[[Observed], bool]:
    """All that has content; a plan leaves out what only running something would prove."""
    primitives = registry.primitives()

    def due(thing: Observed) -> bool:
        primitive = primitives.get(thing.kind)
        if primitive is None or (primitive.proved_by_running and not session.writes):
            return False
        return cadence_of(primitive, thing, duration) is not None

    return due


def _due(session: Session) -> Callable[[Observed], bool]:
    """Deep reads spread over their cadence by the hash of the Ref; a bounded number per target and pass."""
    primitives, history, now = registry.primitives(), session.history, session.now
    left: dict[str, int] = {}

    def due(thing: Observed) -> bool:
        primitive, mark = primitives.get(thing.kind), thing.mark
        if primitive is None or mark is None or (primitive.proved_by_running and not session.writes):
            return False
        if left.setdefault(thing.target, CATCH_UP) <= 0:
            return False
        cadence = cadence_of(primitive, thing, duration)
        if cadence is None:
            return False
        known = _later(thing.verified, history.verified(mark.id))
        age = None if known is None else now - known
        if age is not None and (age < cadence / 2 or age < cadence * _phase(mark.id)):
            return False
        left[thing.target] -= 1
        return True

    return due


def _phase(identity: str) -> float:
    """Between 0.5 and 0.95 of the cadence: no thing is ever overdue, and no two come together."""
    return 0.5 + 0.45 * (int.from_bytes(identity[:2].encode()) % 997) / 997


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    if one is None or other is None:
        return one or other
    return max(one, other)


def _dated(things: tuple[Observed, ...], history: Any) -> tuple[Observed, ...]:
    """The same things, with the newest proof of their content that we know of."""
    if not history.has_verifications:
        return things
    return tuple(_proved(thing, history) for thing in things)


def _proved(thing: Observed, history: Any) -> Observed:
    known = history.verified(thing.mark.id) if thing.mark else None
    newest = _later(thing.verified, known)
    return thing if newest == thing.verified else replace(thing, verified=newest)
