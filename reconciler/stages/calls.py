"""execute: what a hand is asked to do for a job, or for several at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from reconciler.kind import Driver
from reconciler.model import Action, mark_for
from reconciler.stages.jobs import Job
from reconciler.stages.standing import Standing


def call(jobs: Sequence[Job], driver: Driver, standing: Standing, owner: str) -> Callable[[Any], Any]:
    """The call that does these jobs, given a client; late values are filled in now.

    What became of several things of one kind in one call is the value of the answer.
    """
    return (
        _together(jobs, driver, standing, owner)
        if len(jobs) > 1
        else _alone(jobs[0], driver, standing, owner)
    )


def _together(jobs: Sequence[Job], driver: Driver, standing: Standing, owner: str) -> Callable[[Any], Any]:
    hand: Any = driver.serving(jobs[0].change.kind)
    changes = [standing.resolved(job.change) for job in jobs]
    marked = [(change, mark_for(owner, change.want)) for change in changes if change.want]
    return lambda client: hand.apply_together(client, marked)


def _alone(job: Job, driver: Driver, standing: Standing, owner: str) -> Callable[[Any], None]:
    change = standing.resolved(job.change)
    hand = driver.serving(change.kind)
    if change.release:
        return lambda client: hand.release(client, change)
    if change.action is Action.DELETE or change.want is None:
        return lambda client: hand.delete(client, change)
    mark = mark_for(owner, change.want)
    return lambda client: hand.apply(client, change, mark)
