"""judge: changes → changes with holds. Pure; every gate in one place, in order, the first hold wins.

A gate is a function from a change (and the case) to a Hold or None. Removal budgets look at all
removals of a bucket together: over the limit all of them are held, because a gate is not a ration.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Sequence
from dataclasses import replace

from reconciler.clock import is_frozen
from reconciler.kind import World
from reconciler.model import Action, Change, Hold, Observed, Ref, State
from reconciler.stages.budgets import budgets
from reconciler.stages.case import (
    FIGHT,
    FREE,
    NEVER_APPROVED,
    Case,
    is_partial,
    lets_go,
    removes,
)

Gate = Callable[[Change, "Case"], Hold | None]


def judge(changes: Sequence[Change], case: Case) -> tuple[Change, ...]:
    """Hold what a human must look at first; release what a human has approved."""
    held = [_first_hold(change, case) for change in changes]
    held = _kinds_say(held, case)
    held = budgets(held, case)
    held = _cycles(held)
    return tuple(_released(change, case) for change in held)


def _first_hold(change: Change, case: Case) -> Change:
    for gate in GATES:
        hold = gate(change, case)
        if hold is not None:
            return change.held(hold)
    return change


def _released(change: Change, case: Case) -> Change:
    hold = change.hold
    if hold is None or hold.reason in NEVER_APPROVED or not case.approved(change.digest):
        return change
    return replace(change, hold=None, released=hold.reason)


# -- gates, in order -------------------------------------------------------------------------


def _invalid(change: Change, case: Case) -> Hold | None:
    if not lets_go(change) or change.reason in FREE:
        return None
    if case.empty:
        return Hold(
            "RepositoryEmpty", "nothing that is to exist anywhere is declared any more", "RepositoryEmpty"
        )
    return Hold("RepositoryInvalid", case.invalid, "RepositoryInvalid") if case.invalid else None


def _rewound(_change: Change, case: Case) -> Hold | None:
    return Hold("NotFastForward", case.rewound, "NotFastForward") if case.rewound else None


def _reowned(_change: Change, case: Case) -> Hold | None:
    return Hold("OwnerChanged", case.reowned, "OwnerChanged") if case.reowned else None


def _clock(change: Change, case: Case) -> Hold | None:
    if case.clock and lets_go(change) and change.ref.object in case.timed:
        return Hold("ClockSuspect", case.clock, "ClockSuspect")
    return None


def _leaving(change: Change, case: Case) -> Hold | None:
    site = case.site(change.target)
    if site in case.leaving and lets_go(change):
        message = (
            f"provider {site} went from git while things of ours are there; set its status to removed first"
        )
        return Hold("ProviderInUse", message)
    return None


def _moved(change: Change, case: Case) -> Hold | None:
    """What stands where a target was before is not made anew where it is now, unless somebody wants that."""
    where = case.moved(change) if change.action is Action.CREATE else ""
    if not where:
        return None
    message = f"target {change.target} is another place now ({where}), and what stood is not there"
    return Hold("TargetMoved", message, f"TargetMoved {change.target}")


def _locked(change: Change, case: Case) -> Hold | None:
    if change.reason in FREE or is_partial(change):
        return None
    marks = [thing.mark for thing in _given_up(change, case) if thing.mark is not None]
    if not marks:
        return None
    wish = change.want.metadata.locked if change.want else False
    locks = [mark.lock if mark.ref else case.lock_known(mark.id) for mark in marks]
    known = True in locks or (None if None in locks else False)
    if known is None:
        message = "its mark has no room for the lock, and there is no record that it was not locked"
        return Hold("LockUnknown", message, f"LockUnknown {change.ref.object}")
    if known or wish:
        return Hold("Locked", "it is locked: take `locked` out in one commit, remove it in the next")
    return None


def _given_up(change: Change, case: Case) -> Sequence[Observed]:
    """The things that this change takes away; of a move the first half is no less than the second."""
    if change.action is Action.CREATE and change.reason == "Moved":
        seen = case.world.seen.get(change.ref.object, ())
        return [thing for thing in seen if thing.ref == change.ref and thing.target != change.target]
    return [change.have] if removes(change) and change.have else []


def _duplicate(change: Change, case: Case) -> Hold | None:
    primitive = case.primitives.get(change.kind)
    if change.reason == "Duplicate" and primitive and primitive.holds_data and not is_partial(change):
        return Hold("Duplicate", "two things carry this mark and both hold data", f"Duplicate {change.ref}")
    return None


def _in_use(change: Change, case: Case) -> Hold | None:
    """Users in the real world go first; one that is not going and not changing keeps its thing.

    What is superseded is never held: it waits until its users have moved on.
    """
    goes_first = change.action is Action.DELETE or change.order == "delete-first"
    if not goes_first or change.have is None or change.reason == "Superseded":
        return None
    users = case.users.get(change.have.uid, ())
    staying = [user for user in users if user.uid not in case.planned and user.state is not State.DELETING]
    if not staying:
        return None
    return Hold("InUse", f"in use by {', '.join(str(user.ref) for user in staying[:3])}, which stays")


def _fought(change: Change, case: Case) -> Hold | None:
    """Undoing the same drift again and again is a fight with another writer, which nobody wins."""
    if change.action is not Action.UPDATE or change.reason != "Drifted" or not change.have:
        return None
    if change.have.state is State.FAILED or case.healed.get(change.digest, 0) < FIGHT:
        return None
    message = f"healed {FIGHT} times in the last 24 hours and changed again: somebody else writes it, too"
    return Hold("Fought", message, f"Fought {change.ref}")


def _frozen(change: Change, case: Case) -> Hold | None:
    if change.reason == "Superseded":  # half of a replace that was let through
        return None
    site, group = case.site(change.target), change.ref.group
    for freeze in case.settings.freezes:
        elsewhere = bool(freeze.providers) and site not in freeze.providers
        if elsewhere or (freeze.groups and group not in freeze.groups):
            continue
        if (freeze.all or not _heals_or_creates(change)) and is_frozen(freeze, case.now):
            why = f": {freeze.reason}" if freeze.reason else ""
            return Hold("Frozen", f"freeze '{freeze.name}' holds now{why}", f"Frozen {freeze.name}")
    return None


def _heals_or_creates(change: Change) -> bool:
    broken = change.have is not None and change.have.state is State.FAILED
    return change.action is Action.CREATE or (change.action is Action.UPDATE and broken)


GATES: tuple[Gate, ...] = (
    _invalid,
    _rewound,
    _reowned,
    _clock,
    _leaving,
    _moved,
    _locked,
    _duplicate,
    _in_use,
    _fought,
    _frozen,
)


# -- what the kinds say ----------------------------------------------------------------------


def _kinds_say(changes: Sequence[Change], case: Case) -> list[Change]:
    """Ask each kind about its removals, one after the other: what one takes, the next has not."""
    remaining: dict[Ref, tuple[Observed, ...]] = {}
    world = replace(case.world, seen=ChainMap(remaining, dict(case.world.seen))) if changes else case.world
    judged = []
    for change in changes:
        found = _kind_hold(change, case, world)
        judged.append(replace(change, hold=found) if found else change)
        if found is None and change.hold is None and change.action is Action.DELETE:
            owner = change.ref.object
            seen = world.seen.get(owner, ())
            remaining[owner] = tuple(thing for thing in seen if thing != change.have)
    return judged


def _kind_hold(change: Change, case: Case, world: World) -> Hold | None:
    """What the kind says, also of what another gate holds that a human could release.

    What is superseded waits for its successor; the kind is asked when that is there.
    """
    kind = case.kinds.get(change.ref.kind)
    final = change.hold is not None and change.hold.reason in NEVER_APPROVED
    free = change.reason == "Superseded" or is_partial(change)
    if kind is None or final or free or not removes(change):
        return None
    found = kind.hold_removal(change, world)
    return Hold(found.reason, found.message) if found else None


# -- cycles ----------------------------------------------------------------------------------


def _cycles(changes: Sequence[Change]) -> list[Change]:
    """Deletes that wait for each other for ever are held, and say so."""
    deletes = {
        change.have.uid: change for change in changes if change.have and change.action is Action.DELETE
    }
    waits = {uid: change.after & deletes.keys() for uid, change in deletes.items()}
    while free := [uid for uid, users in waits.items() if not users & waits.keys()]:
        for uid in free:
            del waits[uid]
    hold = Hold("Cycle", "these things use each other; take one out by hand")
    return [
        change.held(hold) if change.have and change.have.uid in waits and change.after else change
        for change in changes
    ]
