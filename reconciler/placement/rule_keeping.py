"""When a rule at Rucio must not go: the last that protects a data set, and one without a successor. Pure.

Where one rule stands in for another, there is an order between the two, so that none stands in for a rule
that stands in for it: with the last of them the data would go.
"""

from __future__ import annotations

from typing import Final

from reconciler.kind import World
from reconciler.model import Action, Change, Condition, Declared, Json, Observed, Spec, State, Word
from reconciler.placement.copies import server_of
from reconciler.placement.ground import ground_of
from reconciler.placement.primitives import RULE
from reconciler.placement.rucio_rules import scenery_of, spec_of
from reconciler.placement.standing_rules import is_as, rules_of_object
from reconciler.placement.wishes import rules_on, wish_of

WAITING_APPROVAL: Final = "WaitingApproval"


def hold_rule(change: Change, world: World) -> Condition | None:
    """HELD LastCopy; LastCopyApproval where the file said that it may go and a human must agree."""
    have = change.have
    if have is None or have.partial or change.action is not Action.DELETE or have.reason == WAITING_APPROVAL:
        return (
            None  # what waits for approval has brought nothing, and a replace is asked again when it deletes
        )
    declared = _wanting(change, have, world)
    spec = _wanted(declared, have, world) if declared else None
    if any(_stands_in(rule, have, spec, world) for rule in _siblings(change, have, world)):
        return None
    if declared is not None:
        return _waits(have, spec)
    if any(_protects(rule, have, world) for rule in rules_on(have.spec["dataset"], world)):
        return None
    return _last(have, _ended(change, have, world))


def _ended(change: Change, have: Observed, world: World) -> Declared | None:
    """The file of a rule whose last stage is reached. Nothing else can tell the rule what it says now."""
    declared = world.declared.get(change.ref.object)
    wish = wish_of(declared, world) if declared else None
    return wish.rule if wish and wish.ended and wish.rule.spec["dataset"] == have.spec["dataset"] else None


def _wanting(change: Change, have: Observed, world: World) -> Declared | None:
    """What the object of a rule wants now of the same data set; None: nothing."""
    declared = world.declared.get(change.ref.object)
    wish = wish_of(declared, world) if declared else None
    if wish is None or wish.ended or wish.rule.spec["dataset"] != have.spec["dataset"]:
        return None
    return wish.rule


def _wanted(declared: Declared, have: Observed, world: World) -> Spec | None:
    """The rule that is wanted at the server of this one; None: none is, or nobody can tell."""
    try:
        ground = ground_of(declared, world)
        if ground.server != server_of(have.target, world):
            return None
        return spec_of(declared, scenery_of(declared, ground, world), world)
    except ValueError:
        return None


def _siblings(change: Change, have: Observed, world: World) -> list[Observed]:
    """The other sound rules of the same object for the same data set at the same server."""
    server, dataset = server_of(have.target, world), have.spec["dataset"]
    found = rules_of_object(change.ref.object, world)
    return [rule for rule in found if rule.uid != have.uid and _is_sound(rule, server, dataset, world)]


def _is_sound(rule: Observed, server: str, dataset: str, world: World) -> bool:
    """Ours, OK, and for this data set of this Rucio."""
    good = rule.kind == RULE and rule.mark is not None and rule.state is State.READY
    return good and rule.spec["dataset"] == dataset and server_of(rule.target, world) == server


def _stands_in(rule: Observed, have: Observed, spec: Spec | None, world: World) -> bool:
    """Does a sound rule of the same object do for this one, and not the other way round?"""
    needed = min(have.spec["copies"], spec["copies"]) if spec else min(have.spec["copies"], 1)
    if rule.spec["copies"] < needed:
        return False
    return _rank(rule, spec, world) < _rank(have, spec, world)


def _rank(rule: Observed, spec: Spec | None, _world: World) -> tuple[Json, ...]:
    """The best first: what is wanted, what is sound, what has more copies, what was there first."""
    wanted = spec is not None and is_as(rule, spec)
    return not wanted, rule.state is not State.READY, -rule.spec["copies"], rule.since, rule.uid


def _protects(rule: Declared, have: Observed, world: World) -> bool:
    """Has another object, which stays, a sound rule for the data set?"""
    if rule.ref == have.ref.object:
        return False
    server = server_of(have.target, world)
    return any(
        _is_sound(one, server, have.spec["dataset"], world) for one in rules_of_object(rule.ref, world)
    )


def _waits(have: Observed, spec: Spec | None) -> Condition:
    dataset = have.spec["dataset"]
    if spec is None:
        message = f"it protects {dataset}, and its object is to have no rule at this server that is OK"
        return Condition(have.ref, Word.HELD, "LastCopy", message, "author")
    needed = min(have.spec["copies"], spec["copies"])
    message = f"its successor for {dataset} is not OK yet; {needed} copies are needed first"
    return Condition(have.ref, Word.HELD, "LastCopy", message, "time")


def _last(have: Observed, ended: Declared | None) -> Condition:
    """`ended`: its file, where that is there and only the time has come."""
    what = f"it is the last rule of ours that protects {have.spec['dataset']}"
    consent = ended.spec["lastCopy"] if ended else have.spec.get("lastCopy")
    if consent == "delete":
        message = f"{what}, and its file said `lastCopy: delete`; a human must approve that the copies may go"
        return Condition(have.ref, Word.HELD, "LastCopyApproval", message, "approver")
    if ended:
        message = (
            f"{what}; its last stage is reached: to let the copies go, say `lastCopy: delete` in its file"
        )
        return Condition(have.ref, Word.HELD, "LastCopy", message, "author")
    message = (
        f"{what}; to let the copies go, put its file back with `lastCopy: delete`, let that be applied, and "
        "remove it then; or declare another rule for the data set"
    )
    return Condition(have.ref, Word.HELD, "LastCopy", message, "author")
