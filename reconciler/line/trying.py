"""Which changes of a plan are tried now: none twice, none that backs off, what failed before last. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.line.approval import Consent
from reconciler.line.scene import View
from reconciler.line.session import Session
from reconciler.model import BACKING_OFF, Change, Outcome, Ref, Result


def startable(
    session: Session, said: Consent, view: View, tried: set[str], wrong: set[tuple[Ref, str]]
) -> tuple[list[Change], list[Outcome]]:
    """The changes to try now, and those that back off, as outcomes.

    What failed in the last run comes when all else is done: it never costs the others time.
    """
    found = [
        change
        for change in view.plan.open
        if change.digest not in tried and (change.ref, change.target) not in wrong and said.allows(change)
    ]
    skipped = [change for change in found if not session.request.retry and _backs_off(session, change)]
    names = {change.digest for change in skipped}
    outcomes = [Outcome(change, Result.FAILED, BACKING_OFF) for change in skipped]
    wanted = [change for change in found if change.digest not in names]
    fresh = [change for change in wanted if not _failed_before(session, change)]
    return fresh or wanted, outcomes


def beyond_help(done: Iterable[Outcome]) -> set[tuple[Ref, str]]:
    """Which failed so that trying again is of no use in this run, even if the plan now words it otherwise."""
    failed = (outcome for outcome in done if outcome.result is Result.FAILED and outcome.who == "author")
    return {(outcome.change.ref, outcome.change.target) for outcome in failed}


def _failed_before(session: Session, change: Change) -> bool:
    """Did just this change fail in the last run?"""
    tried = session.history.failed.get(change.ref.object)
    return tried is not None and change.digest in tried.failed


def _backs_off(session: Session, change: Change) -> bool:
    """Did just this change fail lately, and is its next try still to come?

    A new commit may have mended what its author must mend: a role, a service.
    """
    tried = session.history.failed.get(change.ref.object)
    if tried is None or tried.again is None or session.now >= tried.again:
        return False
    if tried.who == "author" and session.history.ran != session.revision:
        return False
    return change.digest in tried.failed
