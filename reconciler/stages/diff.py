"""diff: resources × observation → changes. Pure: one comparison for all kinds.

Desired and observed speak the same language, so a change is what differs between two mappings. What
was not seen because a target is blind counts as present: nothing is created that could be there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from reconciler.canonical import digest_of
from reconciler.kind import Primitive, World
from reconciler.late import is_late, resolve
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
from reconciler.stages.expand import Expansion


@dataclass(frozen=True, slots=True)
class Scene:
    """All that the comparison looks at.

    `gone` says why an object that git still has is not wanted any more (Expired, Removed),
    `untouchable` are objects of which nothing may change (suspended, invalid), `adoptable` are
    unmarked things at the natural keys of objects that say `adopt`, by (target, kind, key).
    """

    expansion: Expansion
    world: World
    primitives: Mapping[str, Primitive]
    gone: Mapping[Ref, str]
    untouchable: frozenset[Ref]
    adoptable: Mapping[tuple[str, str, str], Observed]


@dataclass(frozen=True, slots=True)
class Difference:
    """The changes, unsorted, and the parts that could not be decided."""

    changes: tuple[Change, ...]
    conditions: Mapping[Ref, Condition] = field(default_factory=dict)


def diff(scene: Scene) -> Difference:
    """Compare everything wanted with everything seen."""
    by_ref = _by_ref(scene.world.seen)
    changes: list[Change] = []
    conditions: dict[Ref, Condition] = {}
    lookup = _lookup(by_ref)
    for ref, resource in scene.expansion.resources.items():
        if ref.object in scene.untouchable:
            continue
        for entry in _wanted(resource, by_ref.get(ref, ()), scene, lookup):
            if isinstance(entry, Condition):
                conditions[ref] = entry
            else:
                changes.append(entry)
    changes.extend(_unwanted(by_ref, scene))
    return Difference(tuple(changes), conditions)


def _by_ref(seen: Mapping[Ref, tuple[Observed, ...]]) -> dict[Ref, Sequence[Observed]]:
    """What was seen, by the Ref of the primitive thing. One thing a Ref is the rule."""
    groups: dict[Ref, Sequence[Observed]] = {}
    for things in seen.values():
        for thing in things:
            groups[thing.ref] = (*groups[thing.ref], thing) if thing.ref in groups else (thing,)
    return groups


def _lookup(by_ref: Mapping[Ref, Sequence[Observed]]) -> Callable[[Ref, str], Json]:
    def known(ref: Ref, attribute: str) -> Json:
        things = [thing for thing in by_ref.get(ref, ()) if thing.state is State.READY]
        return things[0].attributes.get(attribute) if things else None

    return known


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
    for thing in things:
        if thing.target != resource.target:
            successor = frozenset((resource.ref,))
            yield _delete(thing, "Moved", scene, needs=successor, resource=resource)


def _undisturbed(resource: Resource, thing: Observed) -> bool:
    mark, metadata = thing.mark, resource.metadata
    if mark is None or thing.drift or thing.state is State.FAILED:
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
        fields = (FieldChange("metadata.adopt", ABSENT, True), *_fields(resource.spec, thing.spec))
        return _change(resource, Action.UPDATE, "Adopted", fields, thing)
    reason = "Moved" if elsewhere else "NotFound"
    return _change(resource, Action.CREATE, reason, tuple(_leaves("", resource.spec, want=True)), None)


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
) -> Iterator[Change]:
    """One of the things is the one we keep; predecessors and twins go."""
    primitive = scene.primitives[resource.kind]
    spec = resolve(resource.spec, lookup) if resource.needs else resource.spec
    fitting = [thing for thing in here if _same_incarnation(spec, thing, primitive)]
    kept = _best(fitting or here)
    if not fitting:
        fields = tuple(_fields(spec, kept.spec))
        yield _change(resource, Action.REPLACE, "ImmutableField", fields, kept, primitive.replace_order)
    else:
        yield from _update(resource, spec, kept)
    for thing in here:
        if thing is not kept:
            yield _spare(thing, kept, resource, scene, twin=thing in fitting)


def _spare(thing: Observed, kept: Observed, resource: Resource, scene: Scene, *, twin: bool) -> Change:
    """A second thing of one Ref: a twin to be settled, or a predecessor that waits for its successor."""
    reason = "Duplicate" if twin else "Superseded"
    return _delete(thing, reason, scene, needs=frozenset((kept.ref,)), resource=resource)


def _same_incarnation(spec: Spec, thing: Observed, primitive: Primitive) -> bool:
    """Can this thing become what is wanted without being made anew? Half-made ones are simply made."""
    return thing.partial or all(
        key not in spec or spec[key] == thing.spec.get(key) or is_late(spec[key])
        for key in primitive.immutable
    )


def _best(things: Sequence[Observed]) -> Observed:
    """The ready one, else the oldest."""
    return min(things, key=lambda thing: (thing.state is not State.READY, thing.since, thing.uid))


def _update(resource: Resource, spec: Spec, thing: Observed) -> Iterator[Change]:
    fields = (*_mark_fields(resource, thing), *_fields(spec, thing.spec), *_extra(spec, thing), *thing.drift)
    if not fields and thing.state is State.FAILED:
        fields = (FieldChange("state", str(State.FAILED), str(State.READY)),)
    if fields:
        yield _change(
            resource, Action.UPDATE, _reason(spec, thing), tuple(sorted(fields, key=_by_path)), thing
        )


def _by_path(entry: FieldChange) -> str:
    return entry.path


def _reason(spec: Spec, thing: Observed) -> str:
    if thing.mark is None or not thing.mark.spec_hash or thing.mark.spec_hash == digest_of(spec):
        return thing.reason or "Drifted"
    return "SpecChanged"


def _mark_fields(resource: Resource, thing: Observed) -> Iterator[FieldChange]:
    """The mark itself may have to change: another name in git, lock, keep."""
    mark, metadata = thing.mark, resource.metadata
    if mark is None:
        return
    if mark.id != mark_id(resource.ref):
        yield FieldChange("metadata.name", str(mark.ref or mark.id), str(resource.ref))
    if mark.lock != metadata.locked:
        yield FieldChange("metadata.locked", mark.lock, metadata.locked)
    if mark.keep != metadata.keep:
        yield FieldChange("metadata.onRemove", _on_remove(mark.keep), _on_remove(metadata.keep))


def _on_remove(keep: bool) -> str:  # noqa: FBT001  a value, not a switch
    return "keep" if keep else "delete"


def _fields(want: Spec, have: Spec, prefix: str = "") -> Iterator[FieldChange]:
    """Where the wish and the thing differ. A key that the wish does not have is not managed."""
    for key in sorted(want):
        wish, real = want[key], have.get(key, ABSENT)
        if wish == real:
            continue
        if isinstance(wish, Mapping) and isinstance(real, Mapping) and not is_late(wish):
            yield from _fields(wish, real, f"{prefix}{key}.")
        elif real is ABSENT:
            yield from _leaves(f"{prefix}{key}", wish, want=True)
        else:
            yield FieldChange(f"{prefix}{key}", real, wish)


def _extra(spec: Spec, thing: Observed) -> Iterator[FieldChange]:
    """Keys that we wrote once and that the author has taken out since."""
    extra = sorted(thing.spec.keys() - spec.keys())
    if extra and thing.mark and thing.mark.spec_hash not in ("", digest_of(spec)):
        yield from (FieldChange(key, thing.spec[key], ABSENT) for key in extra)


def _leaves(prefix: str, value: Json, *, want: bool) -> Iterator[FieldChange]:
    """One field per leaf of a value that has no other side."""
    if isinstance(value, Mapping) and value and not is_late(value):
        for key in sorted(value):
            yield from _leaves(f"{prefix}.{key}" if prefix else key, value[key], want=want)
    elif prefix:
        yield FieldChange(prefix, ABSENT, value) if want else FieldChange(prefix, value, ABSENT)


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


def _unwanted(by_ref: Mapping[Ref, Sequence[Observed]], scene: Scene) -> Iterator[Change]:
    """What carries our mark and nobody wants."""
    wanted = scene.expansion.resources
    undecided = scene.expansion.conditions
    for ref, things in by_ref.items():
        owner = ref.object
        if ref in wanted or owner in scene.untouchable:
            continue
        if owner in undecided and owner not in scene.expansion.expired:
            continue
        reason = _why_unwanted(owner, scene)
        for thing in things:
            yield from _remove(thing, reason, scene)


def _why_unwanted(owner: Ref, scene: Scene) -> str:
    if owner in scene.expansion.expired:
        return "Expired"
    return scene.gone.get(owner) or ("Surplus" if owner in scene.world.declared else "Orphaned")


def _remove(thing: Observed, reason: str, scene: Scene) -> Iterator[Change]:
    primitive = scene.primitives.get(thing.kind)
    if primitive is None or primitive.marked == "natural" or thing.mark is None:
        return
    if thing.mark.keep and reason != "Surplus":
        fields = (FieldChange("mark", str(thing.mark), ABSENT),)
        yield replace(_delete(thing, "Released", scene), action=Action.UPDATE, fields=fields, release=True)
    else:
        yield _delete(thing, reason, scene)


def _delete(
    thing: Observed,
    reason: str,
    scene: Scene,
    needs: frozenset[Ref] = frozenset(),
    resource: Resource | None = None,
) -> Change:
    declared = scene.world.declared.get(thing.ref.object)
    source = resource.source if resource else declared.source if declared else None
    change = Change(
        thing.ref,
        thing.kind,
        thing.target,
        Action.DELETE,
        reason,
        tuple(_leaves("", thing.spec, want=False)),
        have=thing,
        needs=needs,
    )
    return replace(change, source=source) if source else change


def sort(changes: Iterable[Change]) -> tuple[Change, ...]:
    """The order of a plan: by Ref, target, action; never by file."""
    return tuple(
        sorted(changes, key=lambda change: (change.ref, change.target, change.action, change.digest))
    )
