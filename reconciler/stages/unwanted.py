"""diff, the other way round: what carries our mark and nobody wants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from reconciler.model import (
    ABSENT,
    Action,
    Change,
    FieldChange,
    Observed,
    Ref,
    Resource,
    State,
)
from reconciler.stages.fields import leaves
from reconciler.stages.scene import Scene


def unwanted(by_ref: Mapping[Ref, Sequence[Observed]], scene: Scene) -> Iterator[Change]:
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
    if primitive is None or primitive.marked == "natural" or thing.mark is None or not can_go(thing):
        return
    if thing.mark.keep and reason != "Surplus":
        fields = (FieldChange("mark", str(thing.mark), ABSENT),)
        yield replace(delete(thing, "Released", scene), action=Action.UPDATE, fields=fields, release=True)
    else:
        yield delete(thing, reason, scene)


def delete(
    thing: Observed,
    reason: str,
    scene: Scene,
    needs: frozenset[Ref] = frozenset(),
    resource: Resource | None = None,
) -> Change:
    """The change that removes one observed thing, said to come from its file where it has one."""
    declared = scene.world.declared.get(thing.ref.object)
    source = resource.source if resource else declared.source if declared else None
    change = Change(
        thing.ref,
        thing.kind,
        thing.target,
        Action.DELETE,
        reason,
        tuple(leaves("", thing.spec, want=False)),
        have=thing,
        needs=needs,
    )
    return replace(change, source=source) if source else change


def can_go(thing: Observed) -> bool:
    """May a delete be asked for? Not of what can't be marked, nor again of what is going already."""
    return thing.mark is not None and thing.state is not State.DELETING
