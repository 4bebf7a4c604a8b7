"""judge: changes → changes with holds. Pure; every gate in one place, in order, the first hold wins.

A gate is a function from a change (and the case) to a Hold or None. Removal budgets look at all
removals of a bucket together: over the limit all of them are held, because a gate is not a ration.
"""

from __future__ import annotations

from collections import ChainMap, Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from reconciler.clock import is_frozen
from reconciler.kind import Kind, Primitive, World
from reconciler.model import Action, Change, Hold, Observed, Ref, State, mark_id
from reconciler.settings import Settings

FREE = frozenset({"Superseded", "Duplicate"})
NEVER_APPROVED = frozenset({"Locked", "InUse", "LastCopy", "BlindBucket", "ProviderInUse"})
FIGHT = 3
TIMED = frozenset({"Expired"})

Gate = Callable[[Change, "Case"], Hold | None]


@dataclass(frozen=True, slots=True)
class Case:
    """What the gates look at besides the change itself.

    `invalid` is why removals can't be trusted (a file could not be read), `rewound` why nothing can
    (git went backwards), `clock` why the time can't. `removals` are those of the last 24 hours as
    (kind, group, site). `lock_known` answers for marks that have no room for the lock.
    """

    world: World
    settings: Settings
    kinds: Mapping[str, Kind[Any]]
    primitives: Mapping[str, Primitive]
    now: datetime
    invalid: str = ""
    empty: bool = False
    rewound: str = ""
    clock: str = ""
    leaving: frozenset[str] = frozenset()  # providers that went from git without a drain
    removals: Sequence[tuple[str, str, str]] = ()
    approved: Callable[[str], bool] = lambda _digest: False
    healed: Mapping[str, int] = field(default_factory=dict)  # digest → how often in the last 24 hours
    lock_known: Callable[[str], bool | None] = lambda _id: None
    users: Mapping[str, tuple[Observed, ...]] = field(default_factory=dict)
    planned: Mapping[str, Change] = field(default_factory=dict)  # uid → its change

    def site(self, target: str) -> str:
        known = self.world.targets.get(target)
        return known.provider if known else target


def judge(changes: Sequence[Change], case: Case) -> tuple[Change, ...]:
    """Hold what a human must look at first; release what a human has approved."""
    held = [_first_hold(change, case) for change in changes]
    held = _kinds_say(held, case)
    held = _budgets(held, case)
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
    return replace(change, hold=None)


def removes(change: Change) -> bool:
    """Does something go away: a delete, or a replace of it?"""
    return change.action in (Action.DELETE, Action.REPLACE)


def counts(change: Change, primitives: Mapping[str, Primitive]) -> bool:
    """Is it a removal that the budgets count: a whole object, or a part that holds data?"""
    if not removes(change) or change.reason in FREE or _is_partial(change):
        return False
    primitive = primitives.get(change.kind)
    return change.reason != "Surplus" or primitive is None or primitive.holds_data


def _is_partial(change: Change) -> bool:
    return change.have is not None and change.have.partial


# -- gates, in order -------------------------------------------------------------------------


def _invalid(change: Change, case: Case) -> Hold | None:
    if not removes(change) or change.reason in FREE:
        return None
    if case.empty:
        return Hold("RepositoryEmpty", "the repository declares nothing any more", "RepositoryEmpty")
    return Hold("RepositoryInvalid", case.invalid, "RepositoryInvalid") if case.invalid else None


def _rewound(change: Change, case: Case) -> Hold | None:
    return Hold("NotFastForward", case.rewound, "NotFastForward") if case.rewound else None


def _clock(change: Change, case: Case) -> Hold | None:
    if case.clock and change.reason in TIMED:
        return Hold("ClockSuspect", case.clock, "ClockSuspect")
    return None


def _leaving(change: Change, case: Case) -> Hold | None:
    site = case.site(change.target)
    if site in case.leaving and removes(change):
        message = (
            f"provider {site} went from git while things of ours are there; set its status to removed first"
        )
        return Hold("ProviderInUse", message)
    return None


def _locked(change: Change, case: Case) -> Hold | None:
    if not removes(change) or change.reason in FREE or _is_partial(change):
        return None
    if change.have is None or change.have.mark is None:
        return None
    wish = change.want.metadata.locked if change.want else False
    known = change.have.mark.lock if change.have.mark.ref else case.lock_known(change.have.mark.id)
    if known is None:
        message = "its mark has no room for the lock, and there is no record that it was not locked"
        return Hold("LockUnknown", message, f"LockUnknown {change.ref.object}")
    if known or wish:
        return Hold("Locked", "it is locked: take `locked` out in one commit, remove it in the next")
    return None


def _duplicate(change: Change, case: Case) -> Hold | None:
    primitive = case.primitives.get(change.kind)
    if change.reason == "Duplicate" and primitive and primitive.holds_data and not _is_partial(change):
        return Hold("Duplicate", "two things carry this mark and both hold data", f"Duplicate {change.ref}")
    return None


def _in_use(change: Change, case: Case) -> Hold | None:
    """Users in the real world go first; one that is not going and not changing keeps its thing."""
    goes_first = change.action is Action.DELETE or change.order == "delete-first"
    if not goes_first or change.have is None:
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
    site, group = case.site(change.target), change.ref.group
    for freeze in case.settings.freezes:
        if freeze.providers and site not in freeze.providers or freeze.groups and group not in freeze.groups:
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
    _clock,
    _leaving,
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
        judged.append(change.held(found) if found else change)
        if found is None and change.hold is None and change.action is Action.DELETE:
            owner = change.ref.object
            seen = world.seen.get(owner, ())
            remaining[owner] = tuple(thing for thing in seen if thing != change.have)
    return judged


def _kind_hold(change: Change, case: Case, world: World) -> Hold | None:
    kind = case.kinds.get(change.ref.kind)
    if kind is None or change.hold or not removes(change) or _is_partial(change):
        return None
    found = kind.hold_removal(change, world)
    return Hold(found.reason, found.message) if found else None


# -- removal budgets -------------------------------------------------------------------------

Bucket = tuple[str, ...]


def _buckets(kind: str, group: str, site: str) -> Iterator[Bucket]:
    yield (kind, group, site)
    if group:
        yield ("", group, "")
    yield ()


def _budgets(changes: Sequence[Change], case: Case) -> list[Change]:
    """Count removals per bucket; hold all of a bucket that is over its limit, blind or emptied."""
    removals = [change for change in changes if counts(change, case.primitives)]
    if not removals:
        return list(changes)
    owned = _owned(case)
    going = _going(removals, case)
    holds = {bucket: _budget_hold(bucket, refs, owned[bucket], case) for bucket, refs in going.items()}
    return [_over_budget(change, holds, case) for change in changes]


def _unit(ref: Ref, kind: str, primitives: Mapping[str, Primitive]) -> Ref:
    """What counts as one: a part that holds data, else the whole object."""
    primitive = primitives.get(kind)
    return ref if primitive and primitive.holds_data else ref.object


def _owned(case: Case) -> dict[Bucket, set[Ref]]:
    owned: dict[Bucket, set[Ref]] = defaultdict(set)
    for things in case.world.seen.values():
        for thing in things:
            if thing.state is State.DELETING:  # it counts among the removals of the last 24 hours
                continue
            unit = _unit(thing.ref, thing.kind, case.primitives)
            for bucket in _buckets(thing.ref.kind, thing.ref.group, case.site(thing.target)):
                owned[bucket].add(unit)
    return owned


def _going(removals: Iterable[Change], case: Case) -> dict[Bucket, set[Ref]]:
    going: dict[Bucket, set[Ref]] = defaultdict(set)
    for change in removals:
        unit = _unit(change.ref, change.kind, case.primitives)
        for bucket in _buckets(change.ref.kind, change.ref.group, case.site(change.target)):
            going[bucket].add(unit)
    return going


def _budget_hold(bucket: Bucket, going: set[Ref], owned: set[Ref], case: Case) -> Hold | None:
    name = _bucket_name(bucket)
    if _is_blind(bucket, case):
        return Hold("BlindBucket", f"a target of {name} was not read, so removals there wait")
    if bucket[:1] == ("",) and len(owned) >= 2 and going >= owned:
        message = f"this would remove all {len(owned)} things of {name}"
        return Hold("GroupEmptied", message, f"GroupEmptied {name}")
    earlier = _earlier(bucket, case)
    limit = case.settings.guards.removal if bucket else case.settings.guards.run
    if limit.allows(len(going) + earlier, len(owned) + earlier):
        return None
    since = f" and {earlier} in the last 24 hours" if earlier else ""
    message = f"{len(going)} removals{since} in {name}, of {len(owned)} owned, are over the limit"
    return Hold("RemovalBudget", message, f"RemovalBudget {name}")


def _bucket_name(bucket: Bucket) -> str:
    if not bucket:
        return "this run"
    if bucket[0] == "":
        return f"group {bucket[1]}"
    return "/".join(piece for piece in bucket[:2] if piece) + f" at {bucket[2]}"


def _is_blind(bucket: Bucket, case: Case) -> bool:
    """Only the bucket of one site is held for a blind target: one dead site never holds up the others."""
    if len(bucket) != 3 or not bucket[2]:
        return False
    return any(case.site(target) == bucket[2] for target in case.world.blind)


def _earlier(bucket: Bucket, case: Case) -> int:
    tally = Counter(found for entry in case.removals for found in _buckets(*entry))
    return tally[bucket]


def _over_budget(change: Change, holds: Mapping[Bucket, Hold | None], case: Case) -> Change:
    if not counts(change, case.primitives):
        return change
    for bucket in _buckets(change.ref.kind, change.ref.group, case.site(change.target)):
        hold = holds.get(bucket)
        if hold is not None:
            return change.held(hold)
    return change


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


def users_of(seen: Mapping[Ref, tuple[Observed, ...]]) -> dict[str, tuple[Observed, ...]]:
    """uid → the observed things that use it, whoever owns them."""
    users: dict[str, tuple[Observed, ...]] = {}
    for things in seen.values():
        for thing in things:
            for uid in thing.uses:
                users[uid] = (*users.get(uid, ()), thing)
    return users
