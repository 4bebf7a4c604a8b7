"""judge, removal budgets: all of a bucket is held that is over its limit, blind, or emptied.

A gate is not a ration: the removals of a bucket are let through together or not at all.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from reconciler.kind import Primitive
from reconciler.model import Action, Change, Hold, Ref, State
from reconciler.stages.case import Case, counts

Bucket = tuple[str, ...]


def _buckets(kind: str, group: str, site: str) -> Iterator[Bucket]:
    yield (kind, group, site)
    if group:
        yield ("", group, "")
    yield ()


def budgets(changes: Sequence[Change], case: Case) -> list[Change]:
    """Count removals per bucket; hold all of a bucket that is over its limit, blind or emptied."""
    removals = [change for change in changes if counts(change, case.primitives)]
    if not removals:
        return list(changes)
    owned = _owned(case)
    going = _going(removals, case)
    emptied = _emptied(_going((change for change in removals if _ends(change)), case), owned)
    holds = {
        bucket: emptied.get(bucket) or _budget_hold(bucket, refs, owned[bucket], case)
        for bucket, refs in going.items()
    }
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


def _ends(change: Change) -> bool:
    """Is nothing to stand in its place? A replace and a move empty no group."""
    return change.action is Action.DELETE and change.reason != "Moved"


def _emptied(ending: Mapping[Bucket, set[Ref]], owned: Mapping[Bucket, set[Ref]]) -> dict[Bucket, Hold]:
    """The groups of two or more of which nothing would be left."""
    holds = {}
    for bucket, going in ending.items():
        known = owned.get(bucket, set())
        if bucket[:1] == ("",) and len(known) >= 2 and going >= known:
            name = _bucket_name(bucket)
            message = f"this would remove all {len(known)} things of {name}"
            holds[bucket] = Hold("GroupEmptied", message, f"GroupEmptied {name}")
    return holds


def _budget_hold(bucket: Bucket, going: set[Ref], owned: set[Ref], case: Case) -> Hold | None:
    name = _bucket_name(bucket)
    if _is_blind(bucket, case):
        return Hold("BlindBucket", f"a target of {name} was not read, so removals there wait")
    earlier = _earlier(bucket, case)
    limit = case.settings.guards.removal if bucket else case.settings.guards.run
    if limit.allows(len(going) + earlier, len(owned) + earlier):
        return None
    since = f" and {earlier} in the last 24 hours" if earlier else ""
    removals, are = ("1 removal", "is") if len(going) == 1 else (f"{len(going)} removals", "are")
    message = f"{removals}{since} in {name}, of {len(owned)} owned, {are} over the limit"
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
