"""Plan, record and conditions → JSON, version 1: stable for machines; more fields may be added.

The shape of the plan is that of the product's documentation; its digest covers the changes only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime

from reconciler.errors import Problem
from reconciler.model import (
    ABSENT,
    Action,
    Change,
    Condition,
    Declared,
    FieldChange,
    Json,
    Outcome,
    Plan,
    Record,
    Ref,
    Result,
    Word,
)
from reconciler.report import words
from reconciler.report.history import Past, PastRun, history_json
from reconciler.report.text import hold_groups, unplanned

VERSION = 1


def text(value: Json) -> str:
    """JSON as it is printed: indented, readable, a newline at the end. ASCII, so nothing can hide."""
    return json.dumps(value, indent=1, default=dict) + "\n"


def plan_json(
    plan: Plan, conditions: Mapping[Ref, Condition], *, invalid: tuple[Problem, ...] = ()
) -> dict[str, Json]:
    """The plan; `apply --plan` reads it. In `fields` a key is absent when there is no value.

    `summary` counts every change by its action; `held` is how many of these are held.
    """
    counts = words.tally(plan.changes)
    summary = {str(action): counts[str(action)] for action in Action}
    return {
        "schemaVersion": VERSION,
        "revision": plan.revision,
        "digest": plan.digest,
        "summary": {**summary, "held": counts["held"], "blind": sorted(plan.blind)},
        "changes": [change_json(change) for change in plan.changes],
        "holds": [
            {"reason": hold.reason, "bucket": hold.bucket, "digest": digest or None, "changes": len(changes)}
            for hold, digest, changes in hold_groups(plan)
        ],
        "blind": dict(sorted(plan.blind.items())),
        "invalid": problems_json(invalid),
        "conditions": [
            _timeless(entry) for entry in unplanned(plan, conditions) if entry.word is not Word.READY
        ],
    }


def _timeless(condition: Condition) -> dict[str, Json]:
    """A condition without its times: the same plan has the same JSON."""
    found = condition_json(condition)
    return {key: found[key] for key in found if key not in ("since", "lastTry", "nextTry")}


def change_json(change: Change) -> dict[str, Json]:
    """One change as `changes` of the plan holds it."""
    hold = change.hold and {
        "reason": change.hold.reason,
        "message": change.hold.message,
        "bucket": change.hold.bucket,
    }
    return {
        "ref": str(change.ref),
        "target": change.target,
        "action": str(change.action),
        "reason": change.reason,
        "digest": change.digest,
        "order": change.order,
        "fields": [_field(entry) for entry in change.fields],
        "hold": hold,
        "needs": [str(ref) for ref in sorted(change.needs)],
        "source": {"path": change.source.path, "line": change.source.line},
    }


def _field(entry: FieldChange) -> dict[str, Json]:
    sides = {"path": entry.path, "have": entry.have, "want": entry.want}
    return {key: side for key, side in sides.items() if side is not ABSENT}


def problems_json(problems: Iterable[Problem]) -> list[dict[str, Json]]:
    """The problems of a repository, each with where, what and what to do."""
    return [
        {
            "path": problem.path,
            "line": problem.line,
            "column": problem.column,
            "code": problem.code,
            "message": problem.message,
            "hint": problem.hint,
        }
        for problem in problems
    ]


def conditions_json(conditions: Iterable[Condition]) -> list[dict[str, Json]]:
    """Conditions, sorted by Ref."""
    return [condition_json(entry) for entry in sorted(conditions, key=lambda entry: entry.ref)]


def condition_json(condition: Condition) -> dict[str, Json]:
    """One condition, with what to type next."""
    return {
        "ref": str(condition.ref),
        "status": str(condition.word),
        "reason": condition.reason,
        "message": condition.message,
        "who": condition.who,
        "source": {"path": condition.source.path, "line": condition.source.line},
        "since": _time(condition.since),
        "lastTry": _time(condition.last_try),
        "nextTry": _time(condition.next_try),
        "attempts": condition.attempts,
        "blockedBy": [str(ref) for ref in condition.blocked_by],
        "next": words.next_command(condition),
    }


def _time(when: datetime | None) -> str | None:
    return when.isoformat() if when else None


def record_json(record: Record, *, invalid: tuple[Problem, ...] = ()) -> dict[str, Json]:
    """What one run did: its outcomes, how every object stands now, and where it was blind."""
    counts = {str(result).lower(): 0 for result in Result}
    for outcome in record.outcomes:
        counts[str(outcome.result).lower()] += 1
    return {
        "schemaVersion": VERSION,
        "run": record.run,
        "revision": record.revision,
        "digest": record.digest,
        "started": _time(record.started),
        "finished": _time(record.finished),
        "exitCode": int(record.exit_code),
        "summary": {**counts, "blind": sorted(record.blind)},
        "outcomes": [outcome_json(outcome) for outcome in record.outcomes],
        "conditions": conditions_json(record.conditions.values()),
        "blind": dict(sorted(record.blind.items())),
        "invalid": problems_json(invalid),
        "seconds": dict(record.seconds),
    }


def outcome_json(outcome: Outcome) -> dict[str, Json]:
    """What became of one change: the change, and how it went."""
    return {
        **change_json(outcome.change),
        "result": str(outcome.result),
        "resultReason": outcome.reason,
        "message": outcome.message,
        "who": outcome.who,
        "blockedBy": [str(ref) for ref in outcome.blocked_by],
    }


def standing_json(
    conditions: Mapping[Ref, Condition],
    last: PastRun | None,
    declared: Mapping[Ref, Declared],
    outputs: Mapping[Ref, Mapping[str, Json]] | None = None,
) -> dict[str, Json]:
    """How objects stand: `status` and status.json. Objects that no run has seen yet are listed too."""
    stand, given = words.objects(conditions), outputs or {}
    counts = {str(word): 0 for word in words.ORDER}
    for entries in stand.values():
        counts[str(entries[0].word)] += 1
    return {
        "schemaVersion": VERSION,
        "run": last.run if last else None,
        "revision": last.revision if last else None,
        "asOf": _time(last.finished) if last else None,
        "summary": counts,
        "conditions": conditions_json(conditions.values()),
        "unseen": [str(ref) for ref in sorted(declared.keys() - stand.keys())],
        "outputs": {str(ref): dict(given[ref]) for ref in sorted(given) if given[ref]},
        "blind": dict(sorted(last.blind.items())) if last else {},
    }


def explain_json(
    ref: Ref, conditions: Mapping[Ref, Condition], declared: Declared | None, past: Past
) -> dict[str, Json]:
    """Why one object is as it is: how it and its parts stand, where it is declared, its last changes."""
    source = declared and {"path": declared.source.path, "line": declared.source.line}
    return {
        "schemaVersion": VERSION,
        "ref": str(ref),
        "source": source,
        "conditions": conditions_json(conditions.values()),
        "history": history_json(past)["runs"],
    }
