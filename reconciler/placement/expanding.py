"""From a rule on data to things, in the lake or at Rucio. Pure; kinds DataRule and Lifecycle share it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from reconciler.kind import World
from reconciler.model import Change, Condition, Declared, Json, Observed, Ref, Resource, State, Word
from reconciler.placement.copies import REPLICA, element_of, lake
from reconciler.placement.expression import ExpressionError
from reconciler.placement.ground import LAKE, Ground, against_target, divided, ground_of
from reconciler.placement.keeping import hold_replica, is_over
from reconciler.placement.primitives import RULE, UPLOAD
from reconciler.placement.replicas import SHOWN, natural_key_of, replicas_for
from reconciler.placement.rucio_rules import natural_key, rules_for
from reconciler.placement.rule_keeping import hold_rule
from reconciler.placement.wishes import DATA_RULE, wish_of


def expand_rule(declared: Declared, world: World) -> Iterator[Resource | Condition]:
    """What a DataRule or Lifecycle wants now; Conditions where it can't have it."""
    wish = wish_of(declared, world)
    if wish.why is not None:
        yield wish.why
        return
    if wish.ended:
        yield _ended(declared)
        return
    try:
        ground = ground_of(wish.rule, world)
        found = tuple(_grounded(wish.rule, ground, world))
    except ExpressionError as error:
        yield Condition(declared.ref, Word.FAILED, "ExpressionInvalid", str(error), "author")
        return
    yield from found


def _grounded(rule: Declared, ground: Ground, world: World) -> Iterator[Resource | Condition]:
    against = list(against_target(rule, world)) if ground.named else []
    if against:
        yield from against
    elif not ground.selected and not ground.named and not is_over(rule, world):
        yield _selects_nothing(rule, world)
    elif len(ground.servers) > 1:
        yield divided(rule, ground, world)
    elif ground.server == LAKE:
        yield from _in_the_lake(rule, world)
    else:
        yield from rules_for(rule, ground, world)


def _in_the_lake(rule: Declared, world: World) -> Iterator[Resource | Condition]:
    """Copies that we make need a source, and a name that no other copies of the data set have."""
    namesake = world.declared.get(Ref(DATA_RULE, rule.ref.group, rule.ref.name))
    if not rule.spec.get("source"):
        message = "copies in the lake are made from a folder of uploads: say which in `source`"
        yield Condition(rule.ref, Word.FAILED, "NoSource", message, "author")
    elif namesake and namesake.ref != rule.ref and namesake.spec["dataset"] == rule.spec["dataset"]:
        message = f"{namesake.ref} ({namesake.source}) has copies of {rule.spec['dataset']} under this name"
        yield Condition(rule.ref, Word.FAILED, "SameName", f"{message}; give one another name", "author")
    else:
        yield from replicas_for(rule, world)


def _selects_nothing(rule: Declared, world: World) -> Condition:
    there = ", ".join(sorted(lake(world).elements)[:SHOWN]) or "none"
    message = f"'{rule.spec['expression']}' selects no storage element; there are: {there}"
    return Condition(rule.ref, Word.FAILED, "ExpressionSelectsNothing", message, "author")


def _ended(declared: Declared) -> Condition:
    message = "its last stage is reached: no copies are wanted any more; this file can go when they are gone"
    return Condition(declared.ref, Word.WAITING, "LifetimeOver", message, "author")


def natural_keys_of(declared: Declared, primitive: str) -> Iterator[str]:
    """What one of the things of an object is called: a replica by where it lies, a rule by what Rucio tells
    it by, an upload by its data set.

    Rules that are worked out from quality, time or what stands can't be known by the file alone. Of those
    that name an account this is said, `<account>|`: what stands of ours in that account counts.
    """
    spec = declared.spec
    if primitive == REPLICA:
        yield natural_key_of(declared)
    elif primitive == UPLOAD and spec.get("source"):
        yield spec["dataset"]
    elif primitive == RULE and _is_plain(declared):
        yield natural_key(spec)
    elif primitive == RULE and spec.get("account"):
        yield f"{spec['account']}|"


def _is_plain(declared: Declared) -> bool:
    spec = declared.spec
    return declared.ref.kind == DATA_RULE and bool(spec.get("expression")) and not spec["staged"]


def hold_removal_of(change: Change, world: World) -> Condition | None:
    """Why one copy or one rule must not go now."""
    return hold_rule(change, world) if change.kind == RULE else hold_replica(change, world)


def outputs_of(parts: Collection[Observed]) -> Mapping[str, Json]:
    """Where the copies lie: element → path; or which rule sees to them."""
    ready = [part for part in parts if part.state is State.READY]
    copies = {
        element_of(part.ref): part.attributes["path"]
        for part in ready
        if part.kind == REPLICA and "path" in part.attributes
    }
    rules = [part.attributes["id"] for part in ready if part.kind == RULE and "id" in part.attributes]
    return {**({"copies": copies} if copies else {}), **({"rule": rules[0]} if rules else {})}
