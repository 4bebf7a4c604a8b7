"""The pieces of the line that stand between the stages: they pass data on and decide nothing of their own.

What the pure stages look at (`world`), what is wanted in primitive things (`expanded`), and the plan that
comes out (`view`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from reconciler import registry
from reconciler.kind import Driver, World
from reconciler.line.permitted import tag_of
from reconciler.line.reading import by_key
from reconciler.line.session import Session
from reconciler.line.wish import Wish
from reconciler.model import (
    Action,
    Change,
    Condition,
    Observed,
    Plan,
    Ref,
    Resource,
    Word,
    mark_id,
)
from reconciler.stages import diff as comparison
from reconciler.stages.case import Case, removes, users_of
from reconciler.stages.conclude import AT_REST
from reconciler.stages.diff import diff
from reconciler.stages.expand import Expansion, expand
from reconciler.stages.judge import judge
from reconciler.stages.observe import Observation
from reconciler.stages.scene import Scene


@dataclass(frozen=True, slots=True)
class View:
    """One look at everything: the plan, and all that it follows from."""

    plan: Plan
    observation: Observation
    world: World
    wish: Wish
    found: tuple[Condition, ...]
    unasked: frozenset[Ref] = frozenset()  # objects with changes that this run is not about


def world(session: Session, wanted: Wish, observation: Observation) -> World:
    """The world as data: what was seen, what could be there, and the time."""
    former = {new: old for old, new in wanted.renamed.items()}

    def could_hold(ref: Ref, target: str) -> bool:
        if target not in observation.blind:
            return False
        names = [mark_id(name) for name in (ref.object, former.get(ref.object)) if name is not None]
        return not session.history.proves_absent(names, target)

    ours = observation.by_object(wanted.renamed, by_key(wanted))
    return World(
        session.now,
        wanted.targets,
        wanted.declared,
        ours,
        observation.blind,
        could_hold,
        observation.facts,
        session.valid.library,
        lambda ref, reference: tag_of(session, ref, reference),
        lambda name, primitive: _driver(wanted, name).hand(primitive) is not None,
        lambda name: _driver(wanted, name).traits(wanted.targets[name]),
    )


def _driver(wanted: Wish, name: str) -> Driver:
    return registry.driver(wanted.targets[name].driver)


def expanded(scene: World, wanted: Wish) -> Expansion:
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
    expansion = expanded(scene, wanted)
    resting = tuple(_resting(scene, wanted))
    difference = diff(_scene(scene, expansion, wanted, observation, resting))
    still = tuple(change for change in difference.changes if change.target in wanted.still)
    movable = [change for change in difference.changes if change.target not in wanted.still]
    changes = _asked_for(session, movable)
    users = users_of(scene.seen, registry.primitives()) if any(removes(change) for change in changes) else {}
    changes = [_with_users(change, users) for change in changes]
    case = _case(session, scene, wanted, changes, users, approved)
    judged = judge(comparison.sort(changes), replace(case, timed=_timed(wanted, expansion)))
    found = (*wanted.conditions, *expansion.conditions.values(), *difference.conditions.values())
    found = (*found, *resting, *_at_rest(still, wanted), *_unseen(scene, wanted))
    plan = Plan(session.revision, judged, observation.blind)
    asked = {change.digest for change in changes} if session.request.is_partial else None
    unasked = frozenset(
        change.ref.object for change in movable if asked is not None and change.digest not in asked
    )
    return View(plan, observation, scene, wanted, (*found, *_of_providers(wanted, observation)), unasked)


def _resting(scene: World, wanted: Wish) -> Iterator[Condition]:
    """What of a suspended group stands without a file is left alone like the rest of it."""
    for ref in sorted(scene.seen) if wanted.resting else ():
        group = wanted.resting.get(ref.group)
        if group is not None and ref not in wanted.declared and ref not in wanted.untouchable:
            yield replace(group, ref=ref)


def _at_rest(still: Iterable[Change], wanted: Wish) -> Iterator[Condition]:
    """What would change at a target that is suspended or in maintenance waits, and says so."""
    for change in still:
        message = f"{change.action} at {change.target} waits: {wanted.still[change.target]}"
        who = "operator of the target"
        yield Condition(change.ref, Word.WAITING, AT_REST, message, who, change.source)


def _unseen(scene: World, wanted: Wish) -> Iterator[Condition]:
    """What should be gone, and nobody can tell whether it is."""
    for ref in sorted(wanted.gone) if scene.blind else ():
        places = [name for name in sorted(scene.blind) if scene.could_hold(ref, name)]
        if places and ref not in scene.seen and registry.kinds()[ref.kind].parts:
            why = "; ".join(f"{name}: {scene.blind[name]}" for name in places)
            message = f"it could still be on a target that was not read ({why})"
            yield Condition(ref, Word.BLIND, "TargetBlind", message, "operator of the target")


def _timed(wanted: Wish, expansion: Expansion) -> frozenset[Ref]:
    """The objects that only the time has taken out."""
    return expansion.expired | {ref for ref, why in wanted.gone.items() if why == "Expired"}


def _scene(
    scene: World,
    expansion: Expansion,
    wanted: Wish,
    observation: Observation,
    resting: Iterable[Condition],
) -> Scene:
    unmarked = {
        (thing.target, thing.kind, thing.ref.name): thing for thing in observation.all() if thing.mark is None
    }
    untouchable = wanted.untouchable | {entry.ref for entry in resting}
    return Scene(expansion, scene, registry.primitives(), wanted.gone, untouchable, unmarked)


def _asked_for(session: Session, changes: list[Change]) -> list[Change]:
    """`--only`, `--target`, `--remove`: what the person limited the run to."""
    request = session.request
    if request.only:
        changes = [
            change for change in changes if change.ref in request.only or change.ref.object in request.only
        ]
    if request.targets:
        changes = [change for change in changes if is_asked(session, change.target)]
    if request.remove_group:
        changes = [change for change in changes if change.ref.group == request.remove_group]
    return changes


def is_asked(session: Session, name: str) -> bool:
    """Is this one of the targets (or sites) that `--target` names?"""
    target = session.valid.targets.get(name)
    return bool({name, target.provider if target else name} & set(session.request.targets))


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
    sites = {name: target.provider for name, target in wanted.targets.items()}
    again = {(change.ref, sites.get(change.target, "")) for change in changes if removes(change)}
    return Case(
        scene,
        valid.settings,
        registry.kinds(),
        registry.primitives(),
        session.now,
        invalid="a file is not valid: what is missing may be in it, unreadable or misspelt"
        if valid.unreadable
        else "",
        empty=not any(registry.kinds()[ref.kind].parts for ref in valid.declared),
        rewound=session.rewound,
        reowned="" if scene.seen or not changes else session.reowned,
        clock=session.clock,
        moved=lambda change: _moved(session, wanted, change),
        leaving=wanted.leaving,
        removals=[
            (entry.kind, entry.group, entry.site) for entry in removed if (entry.ref, entry.site) not in again
        ],
        approved=lambda digest: digest in approved or history.approved(digest),
        healed=history.healed(day) if any(change.reason == "Drifted" for change in changes) else {},
        lock_known=history.lock_known,
        users=users,
        planned=planned,
    )


def _moved(session: Session, wanted: Wish, change: Change) -> str:
    """How the place of the change's target differs from before, if the thing may stand where it was."""
    where = wanted.moved.get(change.target, "")
    if not where or session.history.proves_absent([mark_id(change.ref.object)], change.target):
        return ""
    return where


def _of_providers(wanted: Wish, observation: Observation) -> Iterator[Condition]:
    """A Provider stands as its targets can be read; one that left git while in use is held."""
    for name, why in sorted(observation.blind.items()):
        target = wanted.targets[name]
        message = f"target {name} could not be read: {why}"
        yield Condition(
            Ref("Provider", "", target.provider), Word.BLIND, "Unreadable", message, "operator of the target"
        )
    for provider in sorted(wanted.leaving):
        names = [target.name for target in wanted.targets.values() if target.provider == provider]
        things = sum(thing.mark is not None for name in names for thing in observation.things.get(name, ()))
        if things or any(name in observation.blind for name in names):
            message = (
                f"its file is gone, but {things} things of ours are there: put it back with `status: removed`"
            )
            yield Condition(Ref("Provider", "", provider), Word.HELD, "ProviderInUse", message, "operator")
