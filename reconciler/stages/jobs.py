"""Between plan and execute: the writes of a plan, one by one, and what became of its changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from reconciler.errors import BackendError
from reconciler.kind import Primitive
from reconciler.model import Action, Change, Outcome, Ref, Result


@dataclass(frozen=True, slots=True)
class Job:
    """One write: a change, or one half of a replace. `parent` is the change that the plan shows."""

    number: int
    change: Change
    parent: Change
    successor: bool = False  # waits for a ready thing of the same Ref other than `change.have`
    gone: str = ""  # uid at the same target that must be gone first
    tries: int = 0

    @property
    def leaves(self) -> tuple[str, str] | None:
        """(target, uid) of the thing that this job takes away; None: it does not."""
        change = self.change
        goes = change.action is Action.DELETE and change.have is not None
        return (change.target, change.have.uid) if goes and change.have else None


def jobs_for(changes: Iterable[Change], primitives: Mapping[str, Primitive]) -> list[Job]:
    """The writes of a plan, deletes last and by rank; a replace is two of them."""

    def late(change: Change) -> tuple[bool, int]:
        primitive = primitives.get(change.kind)
        return change.action is Action.DELETE, primitive.rank if primitive else 0

    jobs: list[Job] = []
    for change in sorted(changes, key=late):
        for job in _split(change):
            jobs.append(replace(job, number=len(jobs)))
    return jobs


def _split(change: Change) -> tuple[Job, ...]:
    if change.action is not Action.REPLACE:
        return (
            Job(0, change, change, successor=change.reason in ("Superseded", "Moved") and not change.want),
        )
    uid = change.have.uid if change.have else ""
    create = replace(change, action=Action.CREATE, have=None, order=None)
    delete = replace(change, action=Action.DELETE, want=None, order=None, needs=frozenset())
    if change.order == "create-first":
        return (Job(0, create, change), Job(0, delete, change, successor=True))
    return (Job(0, delete, change), Job(0, create, change, gone=uid))


def to_make(jobs: Iterable[Job]) -> set[Ref]:
    """What these jobs are still to make."""
    return {job.change.ref for job in jobs if job.change.want is not None}


def failed(job: Job, error: BaseException) -> Outcome:
    """What a job came to that ended with an error: in the back-end's words, or as a defect of ours."""
    if isinstance(error, BackendError):
        message = f"{error}" + (f" ({error.hint})" if error.hint else "")
        return Outcome(job.parent, Result.FAILED, error.reason, message, error.who)
    message = f"{type(error).__name__}: {error} (this is a defect of ours; please report it)"
    return Outcome(job.parent, Result.FAILED, "Defect", message, "reconciler's authors")


def merged(outcomes: Iterable[Outcome]) -> tuple[Outcome, ...]:
    """One outcome a change: a replace went through when both its halves did."""
    worst: dict[tuple[Ref, str, str], Outcome] = {}
    order = (Result.FAILED, Result.HELD, Result.WAITING, Result.APPLIED)
    for outcome in outcomes:
        change = outcome.change
        key = (change.ref, change.target, f"{change.action} {change.have.uid if change.have else ''}")
        known = worst.get(key)
        if known is None or order.index(outcome.result) < order.index(known.result):
            worst[key] = outcome
    return tuple(worst[key] for key in sorted(worst))
