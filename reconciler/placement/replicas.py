"""A rule on data in the lake: one replica per chosen element, and why there are too few. Pure; for expand.

Every rule has replicas of its own: two rules for one data set on one element lie side by side and never share
bytes, so that removing one rule can't harm the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from reconciler.kind import World
from reconciler.model import NOTHING, Condition, Declared, Resource, Word
from reconciler.placement.copies import NOT_SELECTED, REPLICA, Placed, element_of, lake, place, replicas_of
from reconciler.placement.keeping import disagreement, is_over, oldest_of
from reconciler.placement.supply import is_sound, supply

SHOWN: Final = 8


def replicas_for(declared: Declared, world: World) -> Iterator[Resource | Condition]:
    """One replica per chosen element, and a Condition where there are too few.

    Raises ExpressionError when the expression can't be read.
    """
    placed = place(declared, world)
    if is_over(declared, world):
        yield from _at_the_end(declared, placed, world)
    elif not placed.copies and placed.unseen:
        yield _blind(declared, placed, world)
    else:
        yield from _resources(declared, placed, placed.choice.chosen, world)
        yield from _shortage(declared, placed, world)
        yield from disagreement(declared, placed)


def natural_key_of(declared: Declared) -> str:
    """Below an element a replica lies in `<scope>/<name>/<group>.<rule>`."""
    scope, _, name = declared.spec["dataset"].partition(":")
    return f"{scope}/{name}/{declared.ref.group}.{declared.ref.name}"


def _at_the_end(declared: Declared, placed: Placed, world: World) -> Iterator[Resource | Condition]:
    """The oldest copy stays while the file does: it is the clock; without it all would begin anew."""
    oldest = oldest_of(replicas_of(declared, world))
    kept = element_of(oldest.ref) if oldest else ""
    if kept in lake(world).elements:
        yield from _resources(declared, placed, (kept,), world)
    message = (
        f"its lifetime of {declared.spec['lifetime']} is over; one copy stays on {kept} until this file goes"
    )
    yield Condition(declared.ref, Word.WAITING, "LifetimeOver", message, "author")


def _resources(declared: Declared, placed: Placed, names: Iterable[str], world: World) -> Iterator[Resource]:
    elements, spec = lake(world).elements, declared.spec
    chosen = tuple(names)
    targets = frozenset(elements[name].target for name in placed.selected - placed.unseen)
    facts = NOTHING if is_sound(declared, placed, chosen, world) else supply(declared, world)
    if facts and declared.metadata.adopt:
        facts = {**facts, "natural": natural_key_of(declared)}
    for name in chosen:
        element = elements[name]
        yield Resource(
            declared.ref.with_part(name, REPLICA),
            REPLICA,
            element.target,
            {"dataset": spec["dataset"], "element": name, "source": spec["source"], "verify": spec["verify"]},
            declared.source,
            declared.metadata,
            frozenset((element.ref,)),
            targets - {element.target},
            facts,
        )


def _shortage(declared: Declared, placed: Placed, world: World) -> Iterator[Condition]:
    wanted, chosen = declared.spec["copies"], placed.choice.chosen
    if len(chosen) >= wanted:
        return
    refused = dict(placed.choice.refused)
    others = sorted(lake(world).elements.keys() - placed.selected)
    refused.update(dict.fromkeys(others, NOT_SELECTED))
    reasons = [
        f"{name}: {refused[name]}" for name in sorted(refused, key=lambda name: (name in others, name))
    ]
    more = f"; and {len(reasons) - SHOWN} more" if len(reasons) > SHOWN else ""
    why = ("; ".join(reasons[:SHOWN]) + more) or "there are no other elements"
    reason = "NotEnoughElements" if chosen else "NoPlace"
    message = f"{len(chosen)} of {wanted} copies have a place ({why})"
    yield Condition(declared.ref, Word.WAITING, reason, message, "author")


def _blind(declared: Declared, placed: Placed, world: World) -> Condition:
    places = sorted({lake(world).elements[name].target for name in placed.unseen})
    why = "; ".join(f"{name}: {world.blind[name]}" for name in places)
    message = f"copies could lie on targets that were not read ({why})"
    return Condition(declared.ref, Word.BLIND, "TargetBlind", message, "operator of the target")
