"""What must not go: last copies; and whether the lifetime of a rule is over. Pure; for expand and judge."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime

from reconciler.kind import World
from reconciler.model import Change, Condition, Declared, Observed, State, Word
from reconciler.placement.copies import Placed, element_of, is_good, place, replicas_of
from reconciler.placement.expression import ExpressionError
from reconciler.placement.wishes import rules_of, wish_of
from reconciler.units import duration


def is_over(declared: Declared, world: World) -> bool:
    """Has the lifetime of a rule passed since its oldest copy was made? Without a copy it has not begun."""
    lifetime = declared.spec.get("lifetime")
    oldest = oldest_of(replicas_of(declared, world)) if lifetime else None
    if oldest is None:
        return False
    begun = datetime.fromisoformat(oldest.since)
    return world.now - (begun if begun.tzinfo else begun.replace(tzinfo=UTC)) > duration(
        declared.spec["lifetime"]
    )


def oldest_of(replicas: Iterable[Observed]) -> Observed | None:
    """The replica that was made first; half-made ones do not count."""
    dated = [replica for replica in replicas if replica.since and replica.reason != "Partial"]
    return min(dated, key=lambda replica: (replica.since, replica.ref), default=None)


def disagreement(declared: Declared, placed: Placed) -> Iterator[Condition]:
    """Copies of one data set have one content; first copies made at once from a changing source may not."""
    ready = {name: copy for name, copy in placed.copies.items() if copy.state is State.READY}
    told = {
        name: ready[name].attributes["manifest"]
        for name in sorted(ready)
        if "manifest" in ready[name].attributes
    }
    if len(set(told.values())) > 1:
        which = ", ".join(f"{name} {digest[:19]}" for name, digest in told.items())
        message = f"its copies differ in content ({which}); remove the wrong ones by hand"
        yield Condition(declared.ref, Word.FAILED, "CopiesDiffer", message, "author")


def hold_replica(change: Change, world: World) -> Condition | None:
    """A copy goes only while enough other good ones stay, or when its rule was removed on purpose."""
    have = change.have
    if have is None or have.reason == "Partial":
        return None
    declared = world.declared.get(change.ref.object)
    wish = wish_of(declared, world) if declared else None
    wanted = wish is not None and wish.rule.spec["dataset"] == have.spec.get("dataset")
    if wish and wanted and not wish.ended:
        needed = 1 if is_over(wish.rule, world) else wish.rule.spec["copies"]
        return last_copy(wish.rule, have, needed, world)
    others = [
        rule
        for rule in rules_of(change.ref.group, have.spec.get("dataset", ""), world)
        if rule.ref != change.ref.object
    ]
    found = (last_copy(rule, have, rule.spec["copies"], world) for rule in others)
    held = next((condition for condition in found if condition), None)
    if held or others or not (wish and wanted):
        return held
    return _last_at_the_end(wish.rule, have, world)


def _last_at_the_end(rule: Declared, have: Observed, world: World) -> Condition | None:
    """Nobody removed the file: it is only the time that asks for the last copy of all to go."""
    others = (copy for copy in replicas_of(rule, world) if copy.state is not State.DELETING)
    if any(_replaces(copy, have) and is_good(copy, rule.spec, world.now) for copy in others):
        return None
    what = f"it is the last good copy of {rule.spec['dataset']}, and the last stage of {rule.ref} is reached"
    if rule.spec["lastCopy"] == "delete":
        message = f"{what}; its file says `lastCopy: delete`; a human must approve that it may go"
        return Condition(have.ref, Word.HELD, "LastCopyApproval", message, "approver")
    message = f"{what}; say `lastCopy: delete` in the file, or remove the file"
    return Condition(have.ref, Word.HELD, "LastCopy", message, "author")


def last_copy(rule: Declared, have: Observed, needed: int, world: World) -> Condition | None:
    """HELD LastCopy unless `needed` good copies of a rule stay besides this one. Unseen is never good."""
    staying = _staying(rule, world)
    others = [copy for copy in replicas_of(rule, world) if element_of(copy.ref) in staying]
    good = sum(1 for copy in others if _replaces(copy, have) and is_good(copy, rule.spec, world.now))
    if good >= needed:
        return None
    message = (
        f"{good} other good copies of {rule.spec['dataset']} stay for {rule.ref}; {needed} are needed first"
    )
    return Condition(have.ref, Word.HELD, "LastCopy", message, "time")


def _staying(rule: Declared, world: World) -> Collection[str]:
    """The elements on which copies of a rule are to stay."""
    if is_over(rule, world):
        oldest = oldest_of(replicas_of(rule, world))
        return {element_of(oldest.ref)} if oldest else set()
    try:
        return place(rule, world).choice.chosen
    except ExpressionError:  # `check` says so; nothing of such a rule goes
        return ()


def _replaces(copy: Observed, have: Observed) -> bool:
    """Is this another copy of the same content?"""
    if (copy.target, copy.uid) == (have.target, have.uid):
        return False
    mine, other = have.attributes.get("manifest"), copy.attributes.get("manifest")
    return not mine or not other or mine == other
