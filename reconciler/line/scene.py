"""The pieces of the line that stand between the stages: they pass data on and decide nothing of their own.

What is wanted now (`wish`), what is read (`read`), what the pure stages look at (`world`), and the plan
that comes out (`view`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from reconciler import registry
from reconciler.clock import is_over
from reconciler.kind import Ask, World
from reconciler.line.session import Session
from reconciler.model import (
    Action,
    Change,
    Condition,
    Declared,
    Json,
    Observed,
    Plan,
    Ref,
    Resource,
    Target,
    Word,
    mark_id,
)
from reconciler.stages import diff as comparison
from reconciler.stages.diff import Difference, Scene, diff
from reconciler.stages.expand import Expansion, expand
from reconciler.stages.judge import Case, counts, judge, removes, users_of
from reconciler.stages.observe import Observation, Reading, cadence_of, limit_for, observe
from reconciler.store import Reading as StoredReading
from reconciler.store import Removal
from reconciler.units import duration

DEEP_SECONDS = 30.0
ALL_DEEP_SECONDS = 24 * 3600.0
CATCH_UP = 200  # deep reads per target and pass


@dataclass(frozen=True, slots=True)
class Wish:
    """What git wants at this moment, before the world is looked at."""

    declared: Mapping[Ref, Declared]
    gone: Mapping[Ref, str]
    untouchable: frozenset[Ref]
    conditions: tuple[Condition, ...]
    waiting: Mapping[Ref, Condition]
    targets: Mapping[str, Target]
    leaving: frozenset[str]
    renamed: Mapping[Ref, Ref]
    still: Mapping[str, str]  # targets that are not written to now, and why


@dataclass(frozen=True, slots=True)
class View:
    """One look at everything: the plan, and all that it follows from."""

    plan: Plan
    observation: Observation
    world: World
    wish: Wish
    found: tuple[Condition, ...]
    slow: frozenset[Ref] = frozenset()


# -- what is wanted --------------------------------------------------------------------------


def wish(session: Session) -> Wish:
    """Sort what is declared into wanted, gone, untouchable and waiting."""
    valid = session.valid
    gone = dict(_gone(session))
    suspended = {condition.ref: condition for condition in _suspended(session)}
    invalid = [_invalid(session, ref) for ref in sorted(valid.invalid)]
    declared = (
        {ref: entry for ref, entry in valid.declared.items() if ref not in gone} if gone else valid.declared
    )
    former = session.former_targets()
    leaving = {name: target for name, target in former.items() if name not in valid.targets}
    targets = {name: _as_it_is(target, suspended) for name, target in {**leaving, **valid.targets}.items()}
    return Wish(
        declared=declared,
        gone=gone,
        untouchable=frozenset(suspended) | frozenset(valid.invalid),
        conditions=(*suspended.values(), *invalid),
        waiting={ref: entry for ref, entry in _waiting(session) if ref not in suspended},
        targets=targets,
        leaving=frozenset(target.provider for target in leaving.values())
        - {target.provider for target in valid.targets.values()},
        renamed={
            entry.metadata.formerly: ref
            for ref, entry in declared.items()
            if entry.metadata.formerly is not None
        },
        still={target.name: target.suspended for target in targets.values() if target.suspended},
    )


def _as_it_is(target: Target, suspended: Mapping[Ref, Condition]) -> Target:
    """The target, with the reason why nothing is written there now (if any)."""
    provider = suspended.get(Ref("Provider", "", target.provider))
    if provider is not None:
        return replace(target, suspended=provider.message)
    maintenance = target.status == "maintenance"
    return replace(target, suspended="its provider is in maintenance") if maintenance else target


def _gone(session: Session) -> Iterator[tuple[Ref, str]]:
    removed = session.request.remove_group
    for ref, declared in session.valid.declared.items():
        expires = declared.metadata.expires
        if expires is not None and is_over(expires, session.now):
            yield ref, "Expired"
        elif removed and ref.group == removed:
            yield ref, "Removed"


def _suspended(session: Session) -> Iterator[Condition]:
    declared, now = session.valid.declared, session.now
    groups = {
        ref.name: entry.metadata.suspend
        for ref, entry in declared.items()
        if ref.kind == "UserGroup" and entry.metadata.suspend and entry.metadata.suspend.active(now)
    }
    for ref, entry in declared.items():
        own = entry.metadata.suspend
        suspension = own if own and own.active(now) else groups.get(ref.group)
        if suspension is not None:
            until = f" until {suspension.until}" if suspension.until else ""
            message = f"suspended{until}: {suspension.reason}"
            yield Condition(ref, Word.SUSPENDED, "Suspended", message, "author", entry.source)


def _invalid(session: Session, ref: Ref) -> Condition:
    problem = session.valid.invalid[ref]
    source = replace(Condition(ref, Word.FAILED, "").source, path=problem.path, line=problem.line)
    return Condition(ref, Word.FAILED, "Invalid", problem.message, "author", source)


def _waiting(session: Session) -> Iterator[tuple[Ref, Condition]]:
    """What refers to a bad object, or to a target that is not trusted yet, waits for it."""
    for ref, why in session.valid.waiting.items():
        source = session.valid.declared[ref].source
        yield ref, Condition(ref, Word.WAITING, "InvalidReference", why, "author", source)


# -- what is read ----------------------------------------------------------------------------


def read(session: Session, wanted: Wish, only: frozenset[str] | None = None) -> Observation:
    """Read the targets (all of them, or only some again)."""
    history, request = session.history, session.request
    targets = [target for name, target in sorted(wanted.targets.items()) if only is None or name in only]
    natural = _natural(wanted)
    readings = [_reading(session, target, natural, first=only is None) for target in targets]
    request.progress("observe", {"targets": len(readings)})
    deep = ALL_DEEP_SECONDS if request.deep else DEEP_SECONDS
    due = _never if only is not None else _always if request.deep else _due(session)
    seen = observe(readings, session.folders, due, session.now, deep_seconds=deep)
    return replace(seen, things={name: _dated(things, history) for name, things in seen.things.items()})


def _reading(
    session: Session, target: Target, natural: Mapping[str, frozenset[str]], *, first: bool
) -> Reading:
    driver = registry.driver(target.driver)
    owner = session.settings.owner
    asks = {
        name: Ask(owner, natural.get(name, frozenset()))
        for name in registry.primitives()
        if driver.hand(name) is not None
    }
    limit = limit_for(target, session.history.durations.get(target.name))
    return Reading(target, driver, asks, limit, probe=first and session.history.was_blind(target.name))


def _natural(wanted: Wish) -> dict[str, frozenset[str]]:
    """The natural keys of objects that say `adopt`, and of those that can't be marked, by primitive kind."""
    keys: dict[str, set[str]] = {}
    kinds = registry.kinds()
    for ref, declared in wanted.declared.items():
        if declared.metadata.adopt:
            kind = kinds[ref.kind]
            for part in kind.parts:
                keys.setdefault(part.name, set()).update(kind.natural_keys(declared))
    for name, key in _unmarkable(wanted):
        keys.setdefault(name, set()).add(key)
    return {name: frozenset(found) for name, found in keys.items()}


def _unmarkable(wanted: Wish) -> dict[tuple[str, str], Ref]:
    """(primitive kind, natural key) → the object, for kinds whose things can't carry a mark."""
    kinds = registry.kinds()
    names = {name for name, kind in kinds.items() if any(part.marked == "natural" for part in kind.parts)}
    return {
        (part.name, key): ref
        for ref, declared in (wanted.declared.items() if names else ())
        if ref.kind in names
        for part in kinds[ref.kind].parts
        if part.marked == "natural"
        for key in kinds[ref.kind].natural_keys(declared)
    }


def _always(thing: Observed) -> bool:
    return _has_content(thing)


def _never(_thing: Observed) -> bool:
    return False


def _has_content(thing: Observed) -> bool:
    primitive = registry.primitives().get(thing.kind)
    return primitive is not None and cadence_of(primitive, thing, duration) is not None


def _due(session: Session) -> Callable[[Observed], bool]:
    """Deep reads spread over their cadence by the hash of the Ref; a bounded number per target and pass."""
    primitives, history, now = registry.primitives(), session.history, session.now
    left: dict[str, int] = {}

    def due(thing: Observed) -> bool:
        primitive = primitives.get(thing.kind)
        cadence = cadence_of(primitive, thing, duration) if primitive else None
        if cadence is None or thing.mark is None or left.setdefault(thing.target, CATCH_UP) <= 0:
            return False
        known = _later(thing.verified, history.verified(thing.mark.id))
        if known is not None and now - known < cadence * _phase(thing.mark.id):
            return False
        left[thing.target] -= 1
        return True

    return due


def _phase(identity: str) -> float:
    """Between 0.5 and 0.95 of the cadence: no thing is ever overdue, and no two come together."""
    return 0.5 + 0.45 * (int.from_bytes(identity[:2].encode()) % 997) / 997


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((time for time in (one, other) if time is not None), default=None)


def _dated(things: tuple[Observed, ...], history: Any) -> tuple[Observed, ...]:
    """The same things, with the newest proof of their content that we know of."""
    if not history.has_verifications:
        return things
    return tuple(_proved(thing, history) for thing in things)


def _proved(thing: Observed, history: Any) -> Observed:
    known = history.verified(thing.mark.id) if thing.mark else None
    newest = _later(thing.verified, known)
    return thing if newest == thing.verified else replace(thing, verified=newest)


# -- what the pure stages look at ------------------------------------------------------------


def world(session: Session, wanted: Wish, observation: Observation) -> World:
    """The world as data: what was seen, what could be there, and the time."""

    former = {new: old for old, new in wanted.renamed.items()}

    def could_hold(ref: Ref, target: str) -> bool:
        if target not in observation.blind:
            return False
        names = [mark_id(name) for name in (ref.object, former.get(ref.object)) if name is not None]
        return not session.history.proves_absent(names, target)

    ours = observation.by_object(wanted.renamed, _unmarkable(wanted))
    return World(
        session.now, wanted.targets, wanted.declared, ours, observation.blind, could_hold, observation.facts
    )


def expanded(session: Session, scene: World, wanted: Wish) -> Expansion:
    """Expand what is wanted; what its target can't serve becomes a Condition."""
    found = expand(wanted.declared.values(), wanted.waiting, registry.kinds(), scene)
    unserved = {ref: why for ref, entry in found.resources.items() if (why := _unserved(entry, wanted))}
    if not unserved:
        return found
    resources = {ref: entry for ref, entry in found.resources.items() if ref not in unserved}
    conditions = {
        **found.conditions,
        **{ref.object: _condition(found.resources[ref], why) for ref, why in unserved.items()},
    }
    return replace(found, resources=resources, conditions=conditions)


def _unserved(resource: Resource, wanted: Wish) -> str:
    target = wanted.targets.get(resource.target)
    if target is None:
        return f"there is no target '{resource.target}' on the trusted ref (yet)"
    if registry.driver(target.driver).hand(resource.kind) is None:
        return f"target '{target.name}' is of type {target.driver}, which does not serve {resource.kind}"
    return ""


def _condition(resource: Resource, why: str) -> Condition:
    return Condition(resource.ref.object, Word.WAITING, "TargetUnknown", why, "author", resource.source)


def view(session: Session, wanted: Wish, observation: Observation, approved: frozenset[str]) -> View:
    """expand → diff → judge over one observation."""
    scene = world(session, wanted, observation)
    expansion = expanded(session, scene, wanted)
    difference = diff(_scene(scene, expansion, wanted, observation))
    changes = _asked_for(session, _movable(difference.changes, wanted))
    users = users_of(scene.seen) if any(removes(change) for change in changes) else {}
    changes = [_with_users(change, users) for change in changes]
    judged = judge(comparison.sort(changes), _case(session, scene, wanted, changes, users, approved))
    found = (*wanted.conditions, *expansion.conditions.values(), *difference.conditions.values())
    plan = Plan(session.revision, judged, observation.blind)
    return View(plan, observation, scene, wanted, (*found, *_of_providers(session, wanted, observation)))


def _scene(scene: World, expansion: Expansion, wanted: Wish, observation: Observation) -> Scene:
    unmarked = {
        (thing.target, thing.kind, thing.ref.name): thing for thing in observation.all() if thing.mark is None
    }
    return Scene(expansion, scene, registry.primitives(), wanted.gone, wanted.untouchable, unmarked)


def _movable(changes: Iterable[Change], wanted: Wish) -> list[Change]:
    """Nothing is planned at a target that is suspended or in maintenance."""
    return [change for change in changes if change.target not in wanted.still]


def _asked_for(session: Session, changes: list[Change]) -> list[Change]:
    """`--only`, `--target`, `--remove`: what the person limited the run to."""
    request = session.request
    if request.only:
        changes = [
            change for change in changes if change.ref in request.only or change.ref.object in request.only
        ]
    if request.targets:
        named = set(request.targets)
        sites = session.valid.targets
        changes = [
            c for c in changes if c.target in named or c.target in sites and sites[c.target].provider in named
        ]
    if request.remove_group:
        changes = [change for change in changes if change.ref.group == request.remove_group]
    return changes


def _with_users(change: Change, users: Mapping[str, tuple[Observed, ...]]) -> Change:
    if change.action is not Action.DELETE or change.have is None:
        return change
    after = frozenset(user.uid for user in users.get(change.have.uid, ()))
    return replace(change, after=after) if after else change


def _case(
    session: Session,
    scene: World,
    wanted: Wish,
    changes: Collection[Change],
    users: Mapping[str, tuple[Observed, ...]],
    approved: frozenset[str],
) -> Case:
    history, valid = session.history, session.valid
    planned = {change.have.uid: change for change in changes if change.have}
    day = session.now - timedelta(days=1)
    removed = history.removals(day) if planned else ()
    return Case(
        scene,
        valid.settings,
        registry.kinds(),
        registry.primitives(),
        session.now,
        invalid="a file could not be read, so what is missing may only be unreadable"
        if valid.unreadable
        else "",
        empty=not any(registry.kinds()[ref.kind].parts for ref in valid.declared),
        rewound=session.rewound,
        clock=session.clock,
        leaving=wanted.leaving,
        removals=[(entry.kind, entry.group, entry.site) for entry in removed],
        approved=lambda digest: digest in approved or history.approved(digest),
        healed=history.healed(day) if any(change.reason == "Drifted" for change in changes) else {},
        lock_known=history.lock_known,
        users=users,
        planned=planned,
    )


def _of_providers(session: Session, wanted: Wish, observation: Observation) -> Iterator[Condition]:
    """A Provider stands as its targets can be read; one that left git while in use is held."""
    for name, why in sorted(observation.blind.items()):
        target = wanted.targets[name]
        message = f"target {name} could not be read: {why}"
        yield Condition(
            Ref("Provider", "", target.provider), Word.BLIND, "Unreadable", message, "operator of the target"
        )
    for provider in sorted(wanted.leaving):
        names = [target.name for target in wanted.targets.values() if target.provider == provider]
        things = sum(len(observation.things.get(name, ())) for name in names)
        if things or any(name in observation.blind for name in names):
            message = (
                f"its file is gone, but {things} things of ours are there: put it back with `status: removed`"
            )
            yield Condition(Ref("Provider", "", provider), Word.HELD, "ProviderInUse", message, "operator")


def slow(found: View) -> frozenset[Ref]:
    """The objects whose kinds hold up neither `--wait` nor the exit code."""
    kinds = registry.kinds()
    names = {name for name, kind in kinds.items() if kind.parts and all(part.slow for part in kind.parts)}
    if not names:
        return frozenset()
    return frozenset(ref for ref in (*found.wish.declared, *found.world.seen) if ref.kind in names)


def readings(seen: Observation) -> Iterator[StoredReading]:
    """How each target was read, for the statistics: the objects that it listed."""
    for name, things in sorted(seen.things.items()):
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
        ref: kinds[ref.kind].outputs(declared, found.world.seen.get(ref, ()))
        for ref, declared in found.wish.declared.items()
    }
    return {ref: values for ref, values in given.items() if values}


def progressing(found: View) -> frozenset[str]:
    """The targets on which something that is not slow is still being made, or taken away."""
    slow = {name for name, primitive in registry.primitives().items() if primitive.slow}
    return frozenset(
        thing.target for thing in found.observation.all() if thing.state.moving and thing.kind not in slow
    )
