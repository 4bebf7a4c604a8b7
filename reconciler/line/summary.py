"""What the record and the store want to know of a look."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from reconciler import registry
from reconciler.line.scene import View, is_asked
from reconciler.line.session import Session
from reconciler.line.wish import Wish
from reconciler.model import (
    Change,
    Condition,
    Json,
    Observed,
    Ref,
    Spec,
    State,
    mark_id,
)
from reconciler.stages.case import counts
from reconciler.stages.observe import Observation
from reconciler.store import Reading as StoredReading
from reconciler.store import Removal


def asked_for(session: Session, found: View, conditions: Mapping[Ref, Condition]) -> Mapping[Ref, Condition]:
    """The conditions of the objects that the person asked for; of the others nothing new is known."""
    request = session.request
    if not request.is_partial:
        return conditions
    conditions = {ref: conditions[ref] for ref in conditions if ref not in found.unasked}
    if request.only:
        named = {ref.object for ref in request.only}
        return {ref: conditions[ref] for ref in conditions if ref in named}
    if request.remove_group:
        return {ref: conditions[ref] for ref in conditions if ref.group == request.remove_group}
    there = {thing.ref.object for thing in found.observation.all() if is_asked(session, thing.target)}
    there |= {change.ref.object for change in found.plan.changes}
    return {ref: conditions[ref] for ref in conditions if ref in there}


def slow(found: View) -> frozenset[Ref]:
    """The objects that hold up neither `--wait` nor the exit code: all that is still made of them is slow."""
    kinds, slow_ones = registry.kinds(), _slow_primitives()
    some = {name for name, kind in kinds.items() if any(part.slow for part in kind.parts)}
    every = {name for name in some if all(part.slow for part in kinds[name].parts)}
    refs = [ref for ref in {*found.wish.declared, *found.world.seen} if ref.kind in some]
    moving = {ref: _moving(found.world.seen.get(ref, ())) for ref in refs}
    return frozenset(ref for ref in refs if ref.kind in every or (moving[ref] and moving[ref] <= slow_ones))


def _moving(things: Iterable[Observed]) -> frozenset[str]:
    """The kinds of those that are still made, or taken away."""
    return frozenset(thing.kind for thing in things if thing.state.moving)


def _slow_primitives() -> frozenset[str]:
    return frozenset(name for name, primitive in registry.primitives().items() if primitive.slow)


def readings(seen: Observation, wanted: Wish) -> Iterator[StoredReading]:
    """How each target was read, for the statistics: the objects that it listed.

    Of one that moved, what it listed where it was before still counts.
    """
    for name, things in sorted(seen.things.items()):
        if name in wanted.moved:
            continue
        listed = frozenset(mark_id(thing.ref.object) for thing in things)
        yield StoredReading(name, seen.seconds.get(name, 0.0), listed)
    yield from _blind_readings(seen)


def durations(seen: Observation) -> Iterator[StoredReading]:
    """The same without what was listed: a plan holds no lock, so what it saw proves nothing."""
    for name in sorted(seen.things):
        yield StoredReading(name, seen.seconds.get(name, 0.0), frozenset())
    yield from _blind_readings(seen)


def _blind_readings(seen: Observation) -> Iterator[StoredReading]:
    for name in sorted(seen.blind):
        yield StoredReading(name, 0.0, None)


def removals(session: Session, wanted: Wish, changes: Iterable[Change]) -> list[Removal]:
    """What among these changes counts against the removal budgets of the next 24 hours."""
    primitives = registry.primitives()
    return [
        Removal(
            session.now, change.ref.kind, change.ref.group, wanted.targets[change.target].provider, change.ref
        )
        for change in changes
        if counts(change, primitives)
    ]


def present(found: View) -> dict[tuple[str, str], Spec]:
    """(Ref, target) → the spec of each thing of the plan's objects that is there and not on its way out."""
    return {
        (str(thing.ref), thing.target): thing.spec
        for things in found.world.seen.values()
        for thing in things
        if thing.state is not State.DELETING
    }


def followed(session: Session, found: View) -> str:
    """The commit that the next run must follow: an older one while this one's going back or the move of a
    target is held, or while a target that it has no more still holds things of ours.
    """
    reasons = ("NotFastForward", "TargetMoved")
    held = any(change.hold and change.hold.reason in reasons for change in found.plan.changes)
    return session.before if held or _occupied(found) else session.revision


def _occupied(found: View) -> bool:
    """Is a target that git has no more still needed: unread, or with things of ours?"""
    seen = found.observation
    return any(
        name in seen.blind or any(thing.mark is not None for thing in seen.things.get(name, ()))
        for name in found.wish.former
    )


def locks(found: View) -> dict[str, bool]:
    """Which things are locked, for those whose mark has no room to say so."""
    declared = found.wish.declared
    unroomy = [
        thing for thing in found.observation.all() if thing.mark is not None and thing.mark.ref is None
    ]
    return {
        thing.mark.id: declared[thing.ref.object].metadata.locked
        for thing in unroomy
        if thing.mark is not None and thing.ref.object in declared
    }


def outputs(found: View) -> dict[Ref, Mapping[str, Json]]:
    """What objects give their users, from what stands."""
    kinds = registry.kinds()
    given = {
        ref: kinds[ref.kind].outputs(declared, found.world.seen.get(ref, ()), found.world.library)
        for ref, declared in found.wish.declared.items()
    }
    return {ref: values for ref, values in given.items() if values}


def progressing(found: View) -> frozenset[str]:
    """The targets on which something that is not slow is still being made, or taken away."""
    slow = _slow_primitives()
    return frozenset(
        thing.target for thing in found.observation.all() if thing.state.moving and thing.kind not in slow
    )
