"""How things stand → text: `status`, `explain REF` and `outputs`.

For whatever is not Ready: why, since when, where it is written, what blocks it, who must act, when it
is tried again, and what to type next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from reconciler.model import Action, Condition, Declared, Json, Ref, Result, Word
from reconciler.report import words
from reconciler.report.history import Past, PastChange, PastRun, past_lines
from reconciler.report.style import PLAIN, Style
from reconciler.report.text import WORD_COLOURS

_NEVER_SEEN: Final = "No run has looked at it yet."
READY_SHOWN: Final = 50

_WHO: Final[Mapping[str, str]] = {
    "time": "nobody has to act: it is tried again",
    "author": "the author of the file must act",
    "operator": "an operator must act",
    "operator of the target": "the operator of the target must act",
}


def status_text(
    conditions: Mapping[Ref, Condition],
    last: PastRun | None,
    now: datetime,
    *,
    unseen: Collection[Ref] = (),
    ready: int = READY_SHOWN,
    style: Style = PLAIN,
) -> str:
    """How every object stands: those that are not Ready in full, then the Ready ones.

    More than `ready` of them are only counted. `unseen` are declared objects that no run has looked at.
    """
    stand = words.objects(conditions)
    lines = [_counts(stand, unseen, style), *_as_of(last, now, style), ""]
    for word in words.ORDER:
        found = [stand[ref] for ref in sorted(stand) if stand[ref][0].word is word]
        if word is Word.READY:
            lines += _ready_lines(found, ready, style)
        else:
            lines += [line for parts in found for line in _object_lines(parts, now, style)]
    for ref in sorted(unseen):
        lines += [_title("Unseen", "dim", ref, "", style), f"{'':12}{_NEVER_SEEN}", ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _counts(stand: Mapping[Ref, Sequence[Condition]], unseen: Collection[Ref], style: Style) -> str:
    counts = Counter(parts[0].word for parts in stand.values())
    said = [
        style.paint(f"{counts[word]:,} {word}", WORD_COLOURS[word]) for word in words.ORDER if counts[word]
    ]
    said += [f"{len(unseen):,} never looked at"] if unseen else []
    total = words.counted(len(stand) + len(unseen), "object")
    return style.bold(total) + (": " + " · ".join(said) if said else "")


def _as_of(last: PastRun | None, now: datetime, style: Style) -> Iterator[str]:
    """When the last run ended, and where it was blind."""
    if last is None:
        yield style.dim("No run is recorded here. Type: reconciler plan")
        return
    at = f" at {words.plain(last.revision[:12])}" if last.revision else ""
    ended = f"ended {words.ago(last.finished, now)}" if last.finished else "did not end"
    yield style.dim(f"last run {ended}{at}")
    for target in sorted(last.blind):
        said = f"{words.plain(target)}: {words.plain(last.blind[target])}"
        yield style.paint("could not be read: ", "yellow") + said


def _ready_lines(found: list[tuple[Condition, ...]], limit: int, style: Style) -> Iterator[str]:
    if len(found) > limit:
        word = style.paint(f"{'Ready':<11}", WORD_COLOURS[Word.READY])
        yield f"{word} {words.counted(len(found), 'object')}; all of them: reconciler status --all"
        return
    for parts in found:
        yield _title(Word.READY, WORD_COLOURS[Word.READY], parts[0].ref.object, "", style)


def _title(word: str, colour: str, ref: Ref, where: str, style: Style) -> str:
    place = style.dim(f" · {words.plain(where)}") if where else ""
    return f"{style.paint(f'{word:<11}', colour)} {style.bold(words.plain(str(ref)))}{place}"


def _object_lines(parts: tuple[Condition, ...], now: datetime, style: Style) -> Iterator[str]:
    """One object that is not Ready: its own line, then each part that is not Ready."""
    worst = parts[0]
    where = str(worst.source) if worst.source.path else ""
    yield _title(worst.word, WORD_COLOURS[worst.word], worst.ref.object, where, style)
    own = [part for part in parts if not part.ref.part and part.word is not Word.READY]
    shown = own or [worst]
    shown += [part for part in parts if part.ref.part and part.word is not Word.READY and part not in shown]
    for part in shown:
        yield from _detail_lines(part, now, style, "            ")
    yield ""


def _detail_lines(condition: Condition, now: datetime, style: Style, indent: str) -> Iterator[str]:
    """Why, since when, what blocks it, who must act and what to type, a line each."""
    if condition.ref.part:
        yield f"{indent}{condition.word} {words.plain(condition.ref.part)}"
    yield indent + words.why(condition.reason, condition.message)
    if condition.since:
        yield f"{indent}{_since(condition.since, now)}{_tries(condition)}"
    if condition.blocked_by:
        yield indent + "waits for " + ", ".join(words.plain(str(ref)) for ref in condition.blocked_by)
    if who(condition):
        yield indent + who(condition)
    if condition.last_try:
        yield f"{indent}last try {words.ago(condition.last_try, now)}"
    if condition.next_try:
        yield f"{indent}next try {words.ago(condition.next_try, now)}"
    if words.next_command(condition):
        yield f"{indent}next: {style.bold(words.next_command(condition))}"


def _since(since: datetime, now: datetime) -> str:
    """`for 3 hours, since 2026-11-21 00:10 UTC`."""
    return f"for {words.span(max(now - since, timedelta()))}, since {words.moment(since)}"


def _tries(condition: Condition) -> str:
    return f", tried {words.counted(condition.attempts, 'time')}" if condition.attempts else ""


def who(condition: Condition) -> str:
    """A sentence that says who must act; empty where that is not known."""
    if not condition.who or condition.word in (Word.READY, Word.SUSPENDED):
        return ""
    return _WHO.get(condition.who, f"must act: {words.plain(condition.who)}")


def explain_text(
    ref: Ref,
    conditions: Mapping[Ref, Condition],
    declared: Declared | None,
    *,
    now: datetime,
    past: Past = (),
    style: Style = PLAIN,
) -> str:
    """Why one object is as it is: condition, parts, what it says about itself, and its last changes."""
    parts = words.objects(conditions).get(ref.object, ())
    lines = [style.bold(words.plain(str(ref.object)))]
    lines.append(_declared_in(declared, parts))
    lines += [*_declared_lines(declared, now), ""]
    lines += [line for part in _own_first(parts) for line in _part_lines(part, now, style)]
    lines += _places_lines(declared, past)
    lines += [] if parts else [f"  {_NEVER_SEEN} next: {style.bold('reconciler plan')}", ""]
    lines += _past_lines(past, now, style)
    return "\n".join(lines).rstrip("\n") + "\n"


def _declared_in(declared: Declared | None, parts: tuple[Condition, ...]) -> str:
    """The place in the files; that of the problem where the object is not valid."""
    bad = next((part.source for part in parts if part.reason == "Invalid" and part.source.path), None)
    place = declared.source if declared else bad
    return f"  declared in {words.plain(str(place))}" if place else "  no file declares it"


def _own_first(parts: tuple[Condition, ...]) -> list[Condition]:
    return sorted(parts, key=lambda part: (bool(part.ref.part), part.ref))


def _declared_lines(declared: Declared | None, now: datetime) -> Iterator[str]:
    """What its metadata makes of it, in sentences."""
    if declared is None:
        return
    metadata = declared.metadata
    if metadata.suspend and metadata.suspend.active(now):
        until = f" until {metadata.suspend.until}" if metadata.suspend.until else ""
        yield f"  suspended{until}: {words.plain(metadata.suspend.reason)}"
    if metadata.locked:
        yield "  locked: it is neither removed nor replaced"
    if metadata.keep:
        yield "  onRemove: keep: when the file goes, the thing stays"
    if metadata.expires:
        yield f"  expires at the end of {metadata.expires}: then it is treated as removed"
    if metadata.adopt:
        yield "  adopt: an unmarked thing of that name is taken over"
    if metadata.formerly:
        yield f"  formerly {words.plain(str(metadata.formerly))}"


def _part_lines(condition: Condition, now: datetime, style: Style) -> Iterator[str]:
    name = condition.ref.part or "the object itself"
    word = style.paint(f"{condition.word:<11}", WORD_COLOURS[condition.word])
    yield f"  {word} {words.plain(name)}"
    bare = Condition(
        ref=condition.ref.object,
        word=condition.word,
        reason=condition.reason,
        message=condition.message,
        who=condition.who,
        since=condition.since,
        next_try=condition.next_try,
        attempts=condition.attempts,
        blocked_by=condition.blocked_by,
        last_try=condition.last_try,
    )
    yield from _detail_lines(bare, now, style, " " * 14)
    yield ""


def _places_lines(declared: Declared | None, past: Past) -> Iterator[str]:
    """What was made of it and stands, a line each: the part, and its target."""
    last: dict[tuple[Ref, str], PastChange] = {}
    for change in (change for _run, changes in past for change in changes if change.result == Result.APPLIED):
        last.setdefault((change.ref, change.target), change)
    stands = [key for key in sorted(last) if last[key].action != Action.DELETE] if declared else []
    width = max((len(words.plain(ref.part)) for ref, _target in stands), default=0)
    for ref, target in stands:
        yield f"  {words.plain(ref.part):<{width}}{'  ' if width else ''}at {words.plain(target)}"
    if stands:
        yield ""


def _past_lines(past: Past, now: datetime, style: Style) -> Iterator[str]:
    """What was done to it, newest first."""
    changed = [(run, changes) for run, changes in past if changes]
    if changed:
        yield style.bold("Last changes")
    for run, changes in changed:
        yield f"  {words.ago(run.started, now)}  {words.plain(run.revision[:12])}"
        for change in changes:
            yield from (f"  {line}" for line in past_lines(change, style))


def outputs_text(ref: Ref, outputs: Mapping[str, Json], *, style: Style = PLAIN) -> str:
    """What an object gives its users, a line each; values that are secret are references."""
    if not outputs:
        return f"{words.plain(str(ref))} has no outputs yet.\n"
    width = max(len(words.plain(name)) for name in outputs)
    return "".join(
        f"{style.bold(f'{words.plain(name):<{width}}')}  {_output(outputs[name])}\n"
        for name in sorted(outputs)
    )


def _output(value: Json) -> str:
    """A value, or the text that only the group's recipients can read, as it has to be copied."""
    if isinstance(value, Mapping) and value.keys() == {"age"}:
        return f"encrypted to the recipients of the group; age -d shows it\n{value['age'].rstrip()}"
    return words.value(value)
