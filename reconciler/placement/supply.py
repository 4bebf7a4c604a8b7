"""What a hand is told for its work on one copy: where others lie and where uploads are. Pure.

These are facts, not part of the wish: they are in no digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from reconciler.kind import World
from reconciler.model import Declared, Json, Observed, State
from reconciler.placement.copies import Placed, element_of, is_good, lake, replicas_of
from reconciler.placement.wishes import rules_of


def is_sound(declared: Declared, placed: Placed, chosen: Iterable[str], world: World) -> bool:
    """Is every chosen copy there and sound, so that no hand will ask where others lie?"""
    copies, elements, dataset = placed.copies, lake(world).elements, declared.spec["dataset"]
    return all(
        name in copies
        and copies[name].state is State.READY
        and not copies[name].drift
        and copies[name].spec.get("dataset") == dataset
        and copies[name].target == elements[name].target
        for name in chosen
    )


def supply(declared: Declared, world: World) -> Mapping[str, Json]:
    """What a hand needs to make a copy: where others lie, good ones first, and where uploads are.

    Copies of other rules of the same group count as sources too; those of other groups never do. Uploads are
    looked for at every target that has an element and serves the group.
    """
    copies = [_source_of(replica, world) for replica in _known(declared, world)]
    places = [element.place for element in lake(world).elements.values() if not element.server]
    near = [place for place in places if place and place.serves(declared.ref.group)]
    uploads = {place.settings["uploads"] for place in near if place.settings.get("uploads")}
    return {"copies": copies, "uploads": sorted(uploads)}


def _known(declared: Declared, world: World) -> list[Observed]:
    """All copies of the data set that the group has, good ones first, then those of this rule."""
    dataset = declared.spec["dataset"]
    siblings = [rule for rule in rules_of(declared.ref.group, dataset, world) if rule.ref != declared.ref]
    found: list[tuple[bool, int, Observed]] = []
    for order, rule in enumerate([declared, *siblings]):
        for copy in replicas_of(rule, world):
            whole = copy.reason != "Partial" and copy.spec.get("dataset") == dataset
            if whole and copy.target in world.targets:
                found.append((not is_good(copy, rule.spec, world.now), order, copy))
    return [copy for _, _, copy in sorted(found, key=lambda entry: (*entry[:2], entry[2].ref))]


def _source_of(replica: Observed, world: World) -> Mapping[str, Json]:
    place = world.targets[replica.target]
    where = {"target": place.name, "driver": place.driver, "path": place.settings.get("path", "")}
    return {**where, "element": element_of(replica.ref), "uid": replica.uid, "ref": str(replica.ref)}
