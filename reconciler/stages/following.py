"""execute: which jobs come along in a call of a hand that makes many things in one go. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from reconciler.model import Change, Ref
from reconciler.stages.jobs import Job
from reconciler.stages.place import Place
from reconciler.stages.standing import Standing


def followers(
    jobs: Sequence[Job], waiting: Iterable[Job], place: Place, pending: Collection[Ref], standing: Standing
) -> list[Job]:
    """Those of the same kind and target that wait for nothing but these jobs, or for each other: in order.

    `pending` are all things that are still to be made. Who came along in vain once waits like everybody.
    """
    batch = place.batch(jobs[0])
    kind = jobs[0].change.kind if batch else ""
    near = [job for job in waiting if job.change.target == place.target.name and not job.tries]
    near = [job for job in near if job.change.kind == kind and place.batch(job)]
    ahead, found = {job.change.ref for job in jobs}, list[Job]()
    while come := [job for job in near if _waits_only(job.change, ahead, pending, standing)]:
        found += come
        ahead |= {job.change.ref for job in come}
        near = [job for job in near if job not in come]
    return found


def _waits_only(change: Change, ahead: set[Ref], pending: Collection[Ref], standing: Standing) -> bool:
    """Is all else that it needs ready, and does nothing of what comes before tell it a value?"""
    others = change.needs - ahead - {change.ref}
    if not change.needs & ahead or not others.isdisjoint(pending) or not all(map(standing.ready, others)):
        return False
    return not standing.untold(change) and not standing.told_by(change, ahead)
