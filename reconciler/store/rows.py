"""Between our nouns and the rows of the store, both ways. Standard library only, and quick: a quiet
pass reads 10,000 conditions.

Times are ISO 8601 text in UTC with microseconds: they sort as text and people can read them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from reconciler.model import NOTHING, Change, Condition, Json, Outcome, Plan, Ref, Source, Word, mark_id

Row = dict[str, Any]

LONGEST_MESSAGE: Final = 4000
"""Characters of a message that are kept: a back-end may answer with a whole web page."""

# Plain SQL that both databases read the same way, so that SQLite needs no more than its own module.
SELECT_CONDITIONS: Final = """
    SELECT ref, word, reason, message, who, path, line, since, next_try, attempts, blocked_by,
    last_try FROM conditions
"""
SELECT_FAILED: Final = "SELECT ref, digest, next_try, who FROM conditions WHERE word = 'Failed'"
SELECT_RUNS: Final = """
    SELECT run, started, finished, revision, digest, exit_code, summary, seconds, blind FROM runs
    WHERE :ref = '' OR run IN (SELECT run FROM outcomes WHERE object = :ref OR ref = :ref)
    ORDER BY number DESC LIMIT :most
"""
SELECT_DONE_IN_RUN: Final = """
    SELECT run, ref, target, action, why, result, reason, message, who, digest FROM outcomes
    WHERE run = :run ORDER BY number
"""
SELECT_DONE_TO: Final = """
    SELECT run, ref, target, action, why, result, reason, message, who, digest FROM outcomes
    WHERE object = :ref OR ref = :ref ORDER BY number DESC LIMIT :most
"""
SELECT_REMOVALS: Final = """
    SELECT removed, kind, "group", site, ref FROM removals WHERE removed >= :since ORDER BY ref, site
"""


@dataclass(frozen=True, slots=True)
class Removal:
    """One removal that counts against the budget of 24 hours. `site` is the provider."""

    when: datetime
    kind: str
    group: str
    site: str
    ref: Ref


@dataclass(frozen=True, slots=True)
class Reading:
    """How reading one target went: the mark ids it listed (None: blind) and how many seconds it took."""

    target: str
    seconds: float
    listed: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class LastTry:
    """Of an object that failed: the digests of the changes that did, when they are tried again, who acts."""

    failed: frozenset[str]
    again: datetime | None = None
    who: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """One recorded run. `finished` and `exit_code` are None when it was killed before its end."""

    run: str
    started: datetime
    finished: datetime | None
    revision: str
    digest: str
    exit_code: int | None
    summary: Mapping[str, Json] = NOTHING
    seconds: Mapping[str, float] = NOTHING
    blind: Mapping[str, str] = NOTHING


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one change in one recorded run. `why` is the reason of the change."""

    run: str
    ref: Ref
    target: str
    action: str
    why: str
    result: str
    reason: str
    message: str
    who: str
    digest: str


@dataclass(frozen=True, slots=True)
class Retention:
    """How long runs are kept: so many days, and never more than so many runs."""

    days: int = 90
    runs: int = 10_000


def text_of(when: datetime) -> str:
    """The stored form of a time. Raises ValueError for one without a zone."""
    if when.tzinfo is None:
        raise ValueError(f"{when} has no time zone: expected an aware time")
    return when.astimezone(UTC).isoformat(timespec="microseconds")


def optional_text(when: datetime | None) -> str | None:
    """`text_of`, where there may be no time."""
    return None if when is None else text_of(when)


def time_of(text: str | None) -> datetime | None:
    """The time of a stored form, where there is one."""
    return None if text is None else datetime.fromisoformat(text)


def shortened(message: str) -> str:
    """The message, cut where it is longer than we keep; without NUL, which PostgreSQL refuses."""
    return message.replace("\0", "")[:LONGEST_MESSAGE]


def row_of_condition(condition: Condition) -> Row:
    """The row of how one thing stands, without what was last tried."""
    return {
        "ref": str(condition.ref),
        "word": str(condition.word),
        "reason": condition.reason,
        "message": condition.message,
        "who": condition.who,
        "path": condition.source.path,
        "line": condition.source.line,
        "since": optional_text(condition.since),
        "next_try": optional_text(condition.next_try),
        "attempts": condition.attempts,
        "blocked_by": "\n".join(str(ref) for ref in condition.blocked_by),
    }


_WORDS: Final = {str(word): word for word in Word}


def conditions_of(rows: Sequence[Sequence[Any]]) -> dict[Ref, Condition]:
    """The nouns of what SELECT_CONDITIONS found."""
    by_ref: dict[Ref, Condition] = {}
    parse, when = Ref.parse, datetime.fromisoformat
    for ref_text, word, reason, message, who, path, line, since, later, count, blocked, last in rows:
        ref = parse(ref_text)
        by_ref[ref] = Condition(
            ref,
            _WORDS[word],
            reason,
            message,
            who,
            Source(path, line),
            when(since) if since else None,
            when(later) if later else None,
            count,
            tuple(parse(text) for text in blocked.split("\n")) if blocked else (),
            when(last) if last else None,
        )
    return by_ref


def tries_of(rows: Sequence[Sequence[Any]]) -> dict[Ref, LastTry]:
    """The nouns of what SELECT_FAILED found."""
    return {
        Ref.parse(ref): LastTry(frozenset(digest.split()), time_of(again), who)
        for ref, digest, again, who in rows
    }


def settled(
    old: Mapping[Ref, Condition], new: Mapping[Ref, Condition], now: datetime
) -> dict[Ref, Condition]:
    """The new conditions as they are stored: `since` is kept while word and reason stay the same."""
    return {ref: _settled(old.get(ref), condition, now) for ref, condition in new.items()}


def _settled(before: Condition | None, after: Condition, now: datetime) -> Condition:
    message = shortened(after.message)
    same = before is not None and (before.word, before.reason) == (after.word, after.reason)
    since = before.since if before is not None and same and before.since else after.since or now
    if since == after.since and message == after.message:
        return after
    return replace(after, since=since, message=message)


def rows_of_plan(run: str, plan: Plan) -> list[Row]:
    """One row per change of a recorded plan; fields hold references to secrets only, as in its JSON."""
    plan_digest = plan.digest
    return [_row_of_change(run, plan_digest, change) for change in plan.changes]


def _row_of_change(run: str, plan: str, change: Change) -> Row:
    from reconciler.model import ABSENT  # noqa: PLC0415  a sentinel of this function only

    fields = [
        {
            key: side
            for key, side in (("path", e.path), ("have", e.have), ("want", e.want))
            if side is not ABSENT
        }
        for e in change.fields
    ]
    return {
        "run": run,
        "plan": plan,
        "digest": change.digest,
        "ref": str(change.ref),
        "target": change.target,
        "action": str(change.action),
        "reason": change.reason,
        "hold": change.hold.reason if change.hold else "",
        "fields": json.dumps(fields, default=dict),
    }


def row_of_attempt(run: str, change: Change, started: str, number: int) -> Row:
    """The row that says, before the write, that this change was begun in that round."""
    return {
        "mark": mark_id(change.ref),
        "target": change.target,
        "ref": str(change.ref),
        "digest": change.digest,
        "started": started,
        "run": run,
        "round": number,
    }


def row_of_outcome(run: str, outcome: Outcome) -> Row:
    """The row of what became of one change."""
    change = outcome.change
    return {
        "run": run,
        "ref": str(change.ref),
        "object": str(change.ref.object),
        "target": change.target,
        "action": str(change.action),
        "why": change.reason,
        "result": str(outcome.result),
        "reason": outcome.reason,
        "message": shortened(outcome.message),
        "who": outcome.who,
        "digest": change.digest,
    }


def row_of_removal(removal: Removal) -> Row:
    """The row of one removal that counts."""
    return {
        "ref": str(removal.ref),
        "site": removal.site,
        "kind": removal.kind,
        "group": removal.group,
        "removed": text_of(removal.when),
    }


def summary_of(plan: Plan) -> Row:
    """How many changes of each action, how many held, and where we were blind."""
    counts: Row = dict.fromkeys(("create", "update", "replace", "delete"), 0)
    for change in plan.changes:
        counts[str(change.action)] += 1
    return {**counts, "held": len(plan.held), "blind": sorted(plan.blind)}


def run_of(row: Sequence[Any]) -> Run:
    """The noun of one row of SELECT_RUNS."""
    run, started, finished, revision, digest, exit_code, summary, seconds, blind = row
    end = time_of(finished)
    documents = (json.loads(text) for text in (summary, seconds, blind))
    return Run(run, datetime.fromisoformat(started), end, revision, digest, exit_code, *documents)


def done_of(row: Sequence[Any]) -> Done:
    """The noun of one row of SELECT_DONE_…."""
    run, ref, *rest = row
    return Done(run, Ref.parse(ref), *rest)
