"""conclude: the last look × outcomes → how every object stands. Pure.

Each object gets one Condition: the first status word that fits any of its parts, with the reason,
who must act, since when, and when it is tried again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from reconciler.errors import ExitCode, worst
from reconciler.model import (
    BACKING_OFF,
    Change,
    Condition,
    Declared,
    Observed,
    Outcome,
    Ref,
    Result,
    Source,
    State,
    Word,
)

ORDER = {word: rank for rank, word in enumerate(Word)}
FIRST_BACKOFF = timedelta(minutes=1)
REFUSED_BACKOFF = timedelta(minutes=15)
LONGEST_BACKOFF = timedelta(hours=1)
AT_REST = "TargetSuspended"
_GONE = {
    "Expired": "its time is over and nothing of it is left; its file can go",
    "Removed": "it was removed with its group; while its file is there, the next whole pass makes it again",
}
EXIT_CODES = {
    Word.BLIND: ExitCode.BLIND,
    Word.HELD: ExitCode.HELD,
    Word.FAILED: ExitCode.FAILED,
    Word.WAITING: ExitCode.PROGRESSING,
    Word.PROGRESSING: ExitCode.PROGRESSING,
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the conditions follow from.

    `found` are conditions that earlier stages gave (suspended, invalid, unplaceable, blind).
    `changes` is what the newest plan still wants, `gone` is why an object of git is not wanted any more.
    """

    declared: Mapping[Ref, Declared]
    found: Iterable[Condition]
    changes: Iterable[Change]
    outcomes: Iterable[Outcome]
    seen: Mapping[Ref, tuple[Observed, ...]]
    known: Mapping[Ref, Condition]
    now: datetime
    notice: timedelta = timedelta(days=14)
    gone: Mapping[Ref, str] = field(default_factory=dict)


def conclude(evidence: Evidence) -> dict[Ref, Condition]:
    """One Condition for every declared object, and for every object that only the world still has."""
    found = _grouped(evidence)
    conditions = {
        ref: _settle(ref, found.get(ref, ()), evidence, declared.source)
        for ref, declared in evidence.declared.items()
    }
    for ref in sorted(found.keys() - conditions.keys()):
        conditions[ref] = _settle(ref, found[ref], evidence, Source(""))
    return conditions


def _grouped(evidence: Evidence) -> dict[Ref, list[Condition]]:
    groups: dict[Ref, list[Condition]] = {}
    tried = {_key(outcome.change): outcome for outcome in evidence.outcomes}
    for condition in evidence.found:
        groups.setdefault(condition.ref.object, []).append(condition)
    for change in evidence.changes:
        outcome = tried.pop(_key(change), None)
        groups.setdefault(change.ref.object, []).append(_pending(change, outcome, evidence))
    for outcome in tried.values():
        if outcome.result is Result.FAILED:  # yet the plan forgot it; what only waited has come about
            groups.setdefault(outcome.change.ref.object, []).append(_after(outcome, evidence))
    for ref, things in evidence.seen.items():
        unready = [_thing(thing) for thing in things if thing.state is not State.READY]
        if unready:
            groups.setdefault(ref, []).extend(unready)
    return groups


def _key(change: Change) -> tuple[Ref, str, str]:
    return (change.ref, change.target, change.action)


def _pending(change: Change, outcome: Outcome | None, evidence: Evidence) -> Condition:
    """A change that is still in the plan: held, failed, waiting, or just not done yet."""
    if change.hold is not None:
        message = change.hold.message
        return Condition(change.ref, Word.HELD, change.hold.reason, message, "operator", change.source)
    if outcome is None:
        return Condition(
            change.ref, Word.PROGRESSING, "Pending", f"{change.action} is planned ({change.reason})"
        )
    if outcome.result is Result.APPLIED and outcome.change.digest != change.digest:
        return Condition(
            change.ref, Word.PROGRESSING, "Pending", f"the next step is planned ({change.reason})"
        )
    if outcome.result is Result.APPLIED:
        message = "it was written, but looks the same; the next run tries again"
        return Condition(change.ref, Word.FAILED, "DidNotConverge", message, "author of the back-end")
    return _after(outcome, evidence)


def _after(outcome: Outcome, evidence: Evidence) -> Condition:
    change = outcome.change
    words = {Result.HELD: Word.HELD, Result.WAITING: Word.WAITING}
    word = words.get(outcome.result, Word.FAILED)
    known = evidence.known.get(change.ref.object)
    if outcome.reason == BACKING_OFF and known is not None:
        return replace(known, ref=change.ref)
    attempts = (
        (known.attempts if known and known.word is Word.FAILED else 0) + 1 if word is Word.FAILED else 0
    )
    return Condition(
        change.ref,
        word,
        outcome.reason,
        outcome.message,
        outcome.who,
        change.source,
        next_try=evidence.now + backoff(attempts, outcome.who) if word is Word.FAILED else None,
        attempts=attempts,
        blocked_by=outcome.blocked_by,
    )


def backoff(attempts: int, who: str) -> timedelta:
    """How long a failing change is left alone: 1 minute (15 where its author must act first), doubled
    each time, at most an hour. Another change of the object is tried at once.
    """
    first = REFUSED_BACKOFF if who == "author" else FIRST_BACKOFF
    doubled: int = 2 ** min(max(attempts - 1, 0), 10)
    return min(first * doubled, LONGEST_BACKOFF)


def _thing(thing: Observed) -> Condition:
    word = Word.FAILED if thing.state is State.FAILED else Word.PROGRESSING
    message = thing.message or f"{thing.kind} is {thing.state} at {thing.target}"
    return Condition(thing.ref, word, thing.reason or str(thing.state), message)


def _settle(ref: Ref, found: Iterable[Condition], evidence: Evidence, source: Source) -> Condition:
    known = evidence.known.get(ref)
    entries = tuple(found)
    if not entries:
        return _ready(ref, evidence, source, known)
    first = min(entries, key=lambda entry: (ORDER[entry.word], entry.ref))
    again = known is not None and first.message == known.message  # it backs off, and says so already
    message = first.message if again else _with_part(first, len(entries))
    condition = replace(first, ref=ref, message=message, source=first.source if first.source.path else source)
    return _dated(condition, known, evidence.now)


def _with_part(condition: Condition, of: int) -> str:
    part = f"{condition.ref.part}: " if condition.ref.part else ""
    more = f" (and {of - 1} more)" if of > 1 else ""
    return f"{part}{condition.message}{more}"


def _ready(ref: Ref, evidence: Evidence, source: Source, known: Condition | None) -> Condition:
    reason, message = _notice(evidence.declared.get(ref), evidence)
    if known is not None and known.word is Word.READY and (known.reason, known.source) == (reason, source):
        return known if known.message == message else replace(known, message=message)
    return _dated(Condition(ref, Word.READY, reason, message, source=source), known, evidence.now)


def _notice(declared: Declared | None, evidence: Evidence) -> tuple[str, str]:
    expires = declared.metadata.expires if declared else None
    if declared is not None and declared.ref in evidence.gone:
        return evidence.gone[declared.ref], _GONE.get(evidence.gone[declared.ref], "")
    if expires is None or expires > (evidence.now + evidence.notice).date():
        return "Converged", ""
    days = (expires - evidence.now.date()).days
    return "Expiring", f"expires at the end of {expires} (in {days} days); after that it is removed"


def _dated(condition: Condition, known: Condition | None, now: datetime) -> Condition:
    """`since` stays while word and reason stay."""
    same = known is not None and (known.word, known.reason) == (condition.word, condition.reason)
    return replace(condition, since=known.since if same and known else now)


def exit_code(
    conditions: Mapping[Ref, Condition], blind: Mapping[str, str], slow: frozenset[Ref], *, invalid: bool
) -> ExitCode:
    """What the run ends with: the first of 1, 3, 5, 7, 4, 6 that applies."""
    codes = {code for condition in conditions.values() for code in _codes(condition, slow)}
    if invalid:
        codes.add(ExitCode.INVALID)
    if blind:
        codes.add(ExitCode.BLIND)
    return worst(codes)


def _codes(condition: Condition, slow: frozenset[Ref]) -> Iterator[ExitCode]:
    code = EXIT_CODES.get(condition.word)
    if condition.reason == "Defect":
        yield ExitCode.DEFECT
    elif condition.reason == AT_REST:
        return  # as for what is suspended itself: somebody wants it so
    elif code is not None and not (code is ExitCode.PROGRESSING and condition.ref in slow):
        yield code
