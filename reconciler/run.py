"""THE straight line of one pass. If you read one file, read this.

load → validate → observe → expand → diff → judge → execute → observe, diff again → record, report.
`plan` ends before execute: it never reaches the code that writes, and its clients refuse to.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from getpass import getuser

from reconciler import registry
from reconciler.errors import ExitCode, Problem, worst
from reconciler.line import scene, summary
from reconciler.line.approval import Consent, consent
from reconciler.line.asking import check_asked
from reconciler.line.reading import read
from reconciler.line.scene import View
from reconciler.line.session import Request, Session, open_session, utc_now
from reconciler.line.trying import beyond_help, startable
from reconciler.line.wish import Wish, wish_of
from reconciler.model import Condition, Json, Outcome, Plan, Record, Ref, Result, Word
from reconciler.pace import pause
from reconciler.stages.conclude import Evidence, conclude, exit_code
from reconciler.stages.execute import execute
from reconciler.stages.load import without_collection
from reconciler.stages.observe import Observation
from reconciler.stages.orders import Orders
from reconciler.store import Lease
from reconciler.telling.announce import announce
from reconciler.units import duration

STOP = threading.Event()  # set by a signal: end cleanly, start nothing new


@dataclass(frozen=True, slots=True)
class Planned:
    """What `plan` gives: the plan, how objects stand, and what a person should hear about."""

    plan: Plan
    conditions: Mapping[Ref, Condition]
    invalid: tuple[Problem, ...]
    notices: tuple[str, ...]
    exit_code: ExitCode
    objects: int = 0


@dataclass(frozen=True, slots=True)
class Applied:
    """What `apply` gives: the record of the run, the plan it began with, and what it left."""

    record: Record
    plan: Plan
    left: Plan
    invalid: tuple[Problem, ...]
    notices: tuple[str, ...]
    exit_code: ExitCode
    outputs: Mapping[Ref, Mapping[str, Json]]
    objects: int = 0


def plan(request: Request) -> Planned:
    """Read git and the world; say what `apply` would do. Writes nothing but caches and statistics."""
    session = open_session(request)
    view = look(session, wish_of(session), Consent())
    check_asked(session, view)
    session.store.note_readings(summary.durations(view.observation), session.history)
    session.store.note_verified(view.observation.verified)
    conditions = conclude(_evidence(session, view, (), ready=False))
    code = _plan_code(session, view, summary.asked_for(session, view, conditions))
    objects = len(session.valid.declared)
    return Planned(view.plan, conditions, session.valid.problems, session.notices, code, objects)


def look(session: Session, wish: Wish, consent: Consent, observation: Observation | None = None) -> View:
    """The reading half of the line: what is seen, what is wanted, what differs, what is held."""
    with without_collection():  # ten thousands of objects that all stay: the collector finds nothing
        seen = read(session, wish) if observation is None else observation
        return scene.view(session, wish, seen, consent.approved)


def apply(request: Request) -> Applied:
    """Converge once: plan, record, write, look again, until nothing moves or `--wait` is over."""
    started = time.monotonic()
    session = open_session(request)
    with session.store.lease() as lease:
        session = replace(session, history=session.store.history(session.now), writes=True)
        wish = wish_of(session)
        view = look(session, wish, Consent())
        check_asked(session, view)
        _note(session, view)
        said = _consent(session, view)
        first = look(session, wish, said, view.observation) if said.approved else view
        run = session.store.begin(session.revision, session.now)
        last, outcomes, seconds = _converge(session, wish, said, first, run, lease)
        took = {"converge": seconds, "whole": time.monotonic() - started}
        return _record(session, run, first, last, outcomes, took, said)


def _consent(session: Session, view: View) -> Consent:
    """What `--approve` and `--plan` allow. Remembered for 24 hours, bound to the changes."""
    request = session.request
    present = {} if request.plan_file is None else summary.present(view)  # only a FILE is held against it
    said = consent(view.plan, request.approve, request.plan_file, present)
    if said.approved:
        session.store.approve(said.approved, session.now, getuser())
    return said


def _converge(
    session: Session, wish: Wish, said: Consent, view: View, run: str, lease: Lease
) -> tuple[View, list[Outcome], float]:
    """Plans, each judged and recorded before its first write, until nothing moves."""
    started = time.monotonic()
    outcomes: list[Outcome] = []
    tried: set[str] = set()
    wrong: set[tuple[Ref, str]] = set()  # what only its author can mend
    stuck: set[str] = set()  # what waits, until something else goes through
    news = started
    while not STOP.is_set():
        changes, skipped = startable(session, said, view, tried | stuck, wrong)
        outcomes += skipped
        tried |= {outcome.change.digest for outcome in skipped}
        if changes:
            session.store.record_plan(run, replace(view.plan, changes=tuple(changes)))
            done, seen = execute(
                changes, view.observation, _orders(session, wish, run, lease), _left(session, started)
            )
            outcomes += done
            tried |= {outcome.change.digest for outcome in done if outcome.result is not Result.WAITING}
            wrong |= beyond_help(done)
            moved = any(outcome.result is Result.APPLIED for outcome in done)
            stuck = set() if moved else stuck | {outcome.change.digest for outcome in done}
            view = look(session, wish, said, _again(session, wish, seen, _touched(done)))
            news = time.monotonic()
        elif (building := summary.progressing(view)) and _left(session, started) > 0:
            STOP.wait(min(pause(time.monotonic() - news), _left(session, started)))
            view = look(session, wish, said, _again(session, wish, view.observation, building))
        else:
            break
    return view, outcomes, time.monotonic() - started


def _touched(done: Iterable[Outcome]) -> frozenset[str]:
    results = (Result.APPLIED, Result.FAILED)
    return frozenset(outcome.change.target for outcome in done if outcome.result in results)


def _again(session: Session, wish: Wish, seen: Observation, names: frozenset[str]) -> Observation:
    """The same observation with some targets read again."""
    again = names - seen.blind.keys()
    return seen.updated(read(session, wish, again)) if again else seen


def _orders(session: Session, wish: Wish, run: str, lease: Lease) -> Orders:
    return Orders(
        targets=wish.targets,
        driver=registry.driver,
        kinds=registry.kinds(),
        primitives=registry.primitives(),
        owner=session.settings.owner,
        places=session.places,
        look=lambda names: read(session, wish, names),
        world=lambda seen: scene.world(session, wish, seen),
        attempt=lambda changes: session.store.attempt(
            run, changes, utc_now(), removals=summary.removals(session, wish, changes)
        ),
        check=lease.require,
        stop=STOP,
        progress=session.request.progress,
    )


def _left(session: Session, started: float) -> float:
    """Seconds that `--wait` still gives; starting things is always allowed."""
    wait = session.request.wait
    seconds = (duration(session.settings.wait) if wait is None else wait).total_seconds()
    return max(0.0, started + seconds - time.monotonic())


def _record(
    session: Session,
    run: str,
    first: View,
    last: View,
    outcomes: list[Outcome],
    took: Mapping[str, float],
    said: Consent,
) -> Applied:
    """Conclude how everything stands, and leave the record of the run behind."""
    before = session.history.conditions
    conditions = summary.asked_for(session, last, conclude(_evidence(session, last, outcomes, ready=True)))
    code = _exit_code(session, last, conditions, said)
    record = Record(
        run,
        session.revision,
        first.plan.digest,
        session.now,
        session.now + timedelta(seconds=took["whole"]),
        tuple(outcomes),
        conditions,
        last.observation.blind,
        {name: round(seconds, 3) for name, seconds in took.items()},
        int(code),
    )
    finish = session.store.finish_part if session.request.is_partial else session.store.finish
    session.store.note_locks(summary.locks(last))
    record = replace(record, conditions=finish(record, followed=summary.followed(session, last)))
    outputs = summary.outputs(last)
    notices = (*session.notices, *announce(session, record, before, outputs))
    objects = len(session.valid.declared)
    return Applied(record, first.plan, last.plan, session.valid.problems, notices, code, outputs, objects)


def _exit_code(session: Session, last: View, conditions: Mapping[Ref, Condition], said: Consent) -> ExitCode:
    """How the run ended. What the person did not approve is pending, and no concern of this run."""
    if STOP.is_set():
        return ExitCode.TERMINATED
    unasked = {change.ref.object for change in last.plan.changes if not said.allows(change)}
    own = {ref: found for ref, found in conditions.items() if ref not in unasked}
    blind, slow = last.observation.blind, summary.slow(last)
    return exit_code(own, blind, slow, invalid=bool(session.valid.problems))


def _note(session: Session, view: View) -> None:
    """Leave the statistics of reading: how long, what was listed, what was proved."""
    session.store.note_readings(summary.readings(view.observation, view.wish), session.history)
    session.store.note_verified(view.observation.verified)


def _evidence(session: Session, view: View, outcomes: Iterable[Outcome], *, ready: bool) -> Evidence:
    """For a plan only what is not Ready matters; a record says it of every object."""
    return Evidence(
        declared=session.valid.declared if ready else {},
        found=view.found,
        changes=view.plan.changes,
        outcomes=outcomes,
        seen=view.world.seen,
        known=session.history.conditions if ready or view.found or view.plan.changes else {},
        now=session.now,
        notice=timedelta(days=session.settings.notice),
        gone=view.wish.gone,
    )


def _plan_code(session: Session, view: View, conditions: Mapping[Ref, Condition]) -> ExitCode:
    codes = set()
    if session.valid.problems:
        codes.add(ExitCode.INVALID)
    if view.observation.blind:
        codes.add(ExitCode.BLIND)
    planned = {change.ref.object for change in view.plan.open}
    if any(entry.word is Word.FAILED and ref not in planned for ref, entry in conditions.items()):
        codes.add(ExitCode.FAILED)
    if view.plan.held or any(condition.word is Word.HELD for condition in conditions.values()):
        codes.add(ExitCode.HELD)
    if view.plan.open:
        codes.add(ExitCode.PENDING)
    return worst(codes)
