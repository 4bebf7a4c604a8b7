"""diff: resources × observation → changes. Pure: one comparison for all kinds.

Desired and observed speak the same language, so a change is what differs between two mappings. What
was not seen because a target is blind counts as present: nothing is created that could be there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from reconciler.canonical import digest_of
from reconciler.kind import Primitive, World
from reconciler.late import attribute_of, fits, resolve
from reconciler.model import (
    ABSENT,
    Action,
    Change,
    Condition,
    FieldChange,
    Json,
    Observed,
    Ref,
    Resource,
    Spec,
    State,
    Word,
    mark_id,
)
from reconciler.stages.fields import differing, leaves, named, of_specs
from reconciler.stages.scene import Difference, Scene
from reconciler.stages.unwanted import can_go, delete, unwanted


def diff(scene: Scene) -> Difference:
    """Compare everything wanted with everything seen."""
    by_ref = _by_ref(scene.world.seen)
    changes: list[Change] = []
    conditions: dict[Ref, Condition] = {}
    lookup = _lookup(by_ref, scene)
    for ref, resource in scene.expansion.resources.items():
        if ref.object in scene.untouchable:
            continue
        for entry in _wanted(resource, by_ref.get(ref, ()), scene, lookup):
            if isinstance(entry, Condition):
                conditions[ref] = entry
            else:
                changes.append(entry)
    changes.extend(unwanted(by_ref, scene))
    return Difference(tuple(_without_parts(changes, scene)), conditions)


def _without_parts(changes: Sequence[Change], scene: Scene) -> Iterator[Change]:
    """What lies inside of a thing that goes, goes with it: no change of its own."""
    leaving = {
        change.have.uid for change in changes if change.action is Action.DELETE and change.have is not None
    }
    for change in changes:
        have, primitive = change.have, scene.primitives.get(change.kind)
        is_part = primitive is not None and primitive.marked == "part"
        if not (is_part and have and change.action is Action.DELETE and have.uses & leaving):
            yield change


def _by_ref(seen: Mapping[Ref, tuple[Observed, ...]]) -> dict[Ref, Sequence[Observed]]:
    """What was seen, by the Ref of the primitive thing. One thing a Ref is the rule."""
    groups: dict[Ref, Sequence[Observed]] = {}
    for things in seen.values():
        for thing in things:
            groups[thing.ref] = (*groups[thing.ref], thing) if thing.ref in groups else (thing,)
    return groups


def _lookup(by_ref: Mapping[Ref, Sequence[Observed]], scene: Scene) -> Callable[[Ref, str], Json]:
    def known(ref: Ref, attribute: str) -> Json:
        things = [thing for thing in by_ref.get(ref, ()) if thing.state is State.READY]
        wish = scene.expansion.resources.get(ref) if len(things) > 1 else None
        if wish is not None:  # of two incarnations the one that stays is meant
            primitive = scene.primitives[wish.kind]
            things.sort(key=lambda thing: not _is_meant(wish, thing, primitive))
        return attribute_of(things[0].attributes, attribute) if things else None

    return known


def _is_meant(wish: Resource, thing: Observed, primitive: Primitive) -> bool:
    return thing.target == wish.target and _same_incarnation(wish.spec, thing, primitive)


def _wanted(
    resource: Resource, things: Sequence[Observed], scene: Scene, lookup: Callable[[Ref, str], Json]
) -> Iterator[Change | Condition]:
    """What it takes to have this one resource."""
    here = [thing for thing in things if thing.target == resource.target] if things else []
    if not here:
        yield _missing(resource, things, scene)
    elif len(here) == 1 and here[0].spec == resource.spec and _undisturbed(resource, here[0]):
        pass  # the quiet case, on which every pass spends its time
    else:
        yield from _present(resource, here, scene, lookup)
    natural = scene.primitives[resource.kind].marked == "natural"
    for thing in things:
        if thing.target != resource.target and can_go(thing) and not natural:
            successor = frozenset((resource.ref,))
            yield delete(thing, "Moved", scene, needs=successor, resource=resource)


def _undisturbed(resource: Resource, thing: Observed) -> bool:
    mark, metadata = thing.mark, resource.metadata
    if mark is None or thing.drift or thing.state in (State.FAILED, State.DELETING):
        return False
    return mark.lock == metadata.locked and mark.keep == metadata.keep and metadata.formerly is None


def _missing(resource: Resource, elsewhere: Sequence[Observed], scene: Scene) -> Change | Condition:
    blind = _blind_candidates(resource, scene.world, seen=bool(elsewhere))
    if blind:
        why = "; ".join(f"{name}: {scene.world.blind[name]}" for name in blind)
        message = f"it could be on a target that was not read ({why})"
        return Condition(resource.ref, Word.BLIND, "TargetBlind", message, "operator of the target")
    thing = _adoptable(resource, scene) if resource.metadata.adopt else None
    if thing is not None:
        return _adopted(resource, thing, of_specs(resource.spec, resource.spec, thing.spec))
    reason = "Moved" if elsewhere else "NotFound"
    return _change(resource, Action.CREATE, reason, tuple(leaves("", resource.spec, want=True)), None)


def _adopted(resource: Resource, thing: Observed, fields: Iterable[FieldChange]) -> Change:
    taken = FieldChange("metadata.adopt", ABSENT, True)
    return _change(resource, Action.UPDATE, "Adopted", (taken, *fields), thing)


def _adoptable(resource: Resource, scene: Scene) -> Observed | None:
    """The unmarked thing at this resource's natural key (`facts["natural"]`, given by its expansion)."""
    return scene.adoptable.get(
        (resource.target, resource.kind, resource.facts.get("natural", str(resource.ref)))
    )


def _blind_candidates(resource: Resource, world: World, *, seen: bool) -> list[str]:
    """The unread targets where the thing could be. Its own always counts while it is blind."""
    if resource.target in world.blind:
        return [resource.target]
    if seen:
        return []
    return [
        name
        for name in sorted(resource.candidates & world.blind.keys())
        if world.could_hold(resource.ref.object, name)
    ]


def _present(
    resource: Resource, here: Sequence[Observed], scene: Scene, lookup: Callable[[Ref, str], Json]
) -> Iterator[Change | Condition]:
    """One of the things is the one we keep; predecessors and twins go."""
    primitive = scene.primitives[resource.kind]
    spec = resolve(resource.spec, lookup) if resource.needs else resource.spec
    here = [thing for thing in here if thing.mark is not None] or here
    fitting = [thing for thing in here if _can_stay(spec, thing, primitive)]
    staying = fitting or [thing for thing in here if thing.state is not State.DELETING]
    if not staying:
        yield _missing(resource, (), scene) if primitive.undeletes else _going(resource, here[0])
        return
    kept = _best(staying)
    if kept.mark is None or (primitive.marked == "natural" and not fitting):
        yield from _natural(resource, spec, kept, primitive)
        return
    yield from (
        _update(resource, spec, kept, primitive) if fitting else _replace(resource, spec, kept, primitive)
    )
    for thing in here:
        if thing is not kept and can_go(thing) and primitive.marked != "natural":
            yield _spare(thing, kept, resource, scene, twin=thing in fitting)


def _can_stay(spec: Spec, thing: Observed, primitive: Primitive) -> bool:
    """Can this thing become what is wanted by an update?"""
    if thing.state is State.DELETING and not primitive.undeletes:
        return False
    return _same_incarnation(spec, thing, primitive)


def _going(resource: Resource, thing: Observed) -> Condition:
    message = f"the one before is still being deleted at {thing.target}; then it is made anew"
    return Condition(resource.ref, Word.PROGRESSING, "Deleting", message, "time", resource.source)


def _natural(
    resource: Resource, spec: Spec, thing: Observed, primitive: Primitive
) -> Iterator[Change | Condition]:
    """What is not marked may be somebody else's: it is changed only where the author says `adopt`."""
    fields = tuple(differing(resource, spec, thing, primitive))
    adopt, marked = resource.metadata.adopt, primitive.marked != "natural"
    if not fields and not (adopt and marked):
        return
    names = named(fields)
    if not _same_incarnation(spec, thing, primitive):
        message = f"it differs ({names}) in what can't be changed in place, and is not ours to replace"
        yield Condition(resource.ref, Word.FAILED, "ImmutableField", message, "author", resource.source)
    elif not adopt:
        message = f"it is there without a mark and differs ({names}); `metadata.adopt: true` changes it"
        yield Condition(resource.ref, Word.FAILED, "NotOurs", message, "author", resource.source)
    elif marked:
        yield _adopted(resource, thing, fields)
    else:
        yield _change(resource, Action.UPDATE, "Adopted", fields, thing)


def _replace(resource: Resource, spec: Spec, thing: Observed, primitive: Primitive) -> Iterator[Change]:
    fields = tuple(of_specs(resource.spec, spec, thing.spec))
    yield _change(resource, Action.REPLACE, "ImmutableField", fields, thing, primitive.replace_order)


def _spare(thing: Observed, kept: Observed, resource: Resource, scene: Scene, *, twin: bool) -> Change:
    """A second thing of one Ref: a twin to be settled, or a predecessor that waits for its successor."""
    reason = "Duplicate" if twin else "Superseded"
    return delete(thing, reason, scene, needs=frozenset((kept.ref,)), resource=resource)


def _same_incarnation(spec: Spec, thing: Observed, primitive: Primitive) -> bool:
    """Can this thing become what is wanted without being made anew? Half-made ones are simply made."""
    if thing.partial:
        return True
    unseen = frozenset() if primitive.listed == "full" else primitive.immutable - thing.spec.keys()
    return all(fits(spec[key], thing.spec.get(key)) for key in primitive.immutable - unseen if key in spec)


_BEST_FIRST = (State.READY, State.PROGRESSING, State.FAILED, State.DELETING)


def _best(things: Sequence[Observed]) -> Observed:
    """The ready one, else the one that is nearest to it; of several the oldest."""
    return min(things, key=lambda thing: (_BEST_FIRST.index(thing.state), thing.since, thing.uid))


def _update(resource: Resource, spec: Spec, thing: Observed, primitive: Primitive) -> Iterator[Change]:
    fields = tuple(differing(resource, spec, thing, primitive))
    broken = thing.state is State.FAILED
    if broken and (not fields or primitive.heals == "replace"):
        fields = (*fields, FieldChange("state", str(State.FAILED), str(State.READY)))
    if not fields:
        return
    fields = tuple(sorted(fields, key=_by_path))
    reason = _reason(resource, spec, thing)
    if broken and primitive.heals == "replace" and not thing.partial:
        yield _change(resource, Action.REPLACE, reason, fields, thing, primitive.replace_order)
    else:
        yield _change(resource, Action.UPDATE, reason, fields, thing)


def _by_path(entry: FieldChange) -> str:
    return entry.path


def _reason(resource: Resource, spec: Spec, thing: Observed) -> str:
    if thing.state is State.DELETING:
        return "Undeleted"
    if thing.mark is not None and thing.mark.id not in ("", mark_id(resource.ref)):
        return "Renamed"
    if thing.mark is not None and (thing.mark.lock, thing.mark.keep) != _flags(resource):
        return "SpecChanged"
    told = thing.mark.spec_hash if thing.mark else ""
    if not told:  # nothing says whether the file changed or the thing
        return thing.reason or "Differs"
    return (thing.reason or "Drifted") if told == digest_of(spec) else "SpecChanged"


def _flags(resource: Resource) -> tuple[bool, bool]:
    return (resource.metadata.locked, resource.metadata.keep)


def _change(
    resource: Resource,
    action: Action,
    reason: str,
    fields: tuple[FieldChange, ...],
    have: Observed | None,
    order: str | None = None,
) -> Change:
    return Change(
        resource.ref,
        resource.kind,
        resource.target,
        action,
        reason,
        fields,
        order,
        want=resource,
        have=have,
        needs=resource.needs,
        source=resource.source,
    )


def sort(changes: Iterable[Change]) -> tuple[Change, ...]:
    """The order of a plan: by Ref, target, action; never by file."""
    return tuple(
        sorted(changes, key=lambda change: (change.ref, change.target, change.action, change.digest))
    )
