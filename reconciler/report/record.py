"""Record → text: what one run did, what failed and who must act, what it left for later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from reconciler.errors import Problem
from reconciler.model import Condition, Outcome, Plan, Record, Ref, Result, Word
from reconciler.report import words
from reconciler.report.style import PLAIN, Style
from reconciler.report.text import (
    blind_lines,
    change_lines,
    held_lines,
    invalid_lines,
    is_calm,
    quiet_line,
    ref_column,
    total_line,
    unready_lines,
)

_TITLES: Final = (
    (Result.APPLIED, "Applied"),
    (Result.FAILED, "Failed"),
    (Result.WAITING, "Waiting"),
)


def record_text(
    record: Record, left: Plan, *, invalid: tuple[Problem, ...] = (), style: Style = PLAIN
) -> str:
    """What one run did. `left` is the plan of its last look: what it did not do, held or not."""
    lines = [line for result, title in _TITLES for line in _outcomes(record, result, title, style)]
    lines += [
        *held_lines(left, style),
        *_untouched(record, left, style),
        *blind_lines(record.blind, style),
        *invalid_lines(invalid, style),
    ]
    others = _others(record, left)
    news = bool(lines) or not all(map(is_calm, others))
    return (
        "\n".join([*lines, *unready_lines(others, style), _last_line(record, left, style, news=news)]) + "\n"
    )


def results(record: Record) -> Counter[str]:
    """How many outcomes of each result there are."""
    return Counter(str(outcome.result) for outcome in record.outcomes)


def _outcomes(record: Record, result: Result, title: str, style: Style) -> Iterator[str]:
    found = [outcome for outcome in record.outcomes if outcome.result is result]
    if not found:
        return
    yield style.bold(f"{title} ({words.number(len(found))})")
    column = ref_column((outcome.change for outcome in found), style)
    for outcome in found:
        yield from _outcome_lines(outcome, column, style)
    yield ""


def _outcome_lines(outcome: Outcome, column: int, style: Style) -> Iterator[str]:
    yield from change_lines(outcome.change, column, style)
    if outcome.result is not Result.APPLIED and outcome.reason:
        colour = "red" if outcome.result is Result.FAILED else "yellow"
        yield "      " + style.paint(words.why(outcome.reason, outcome.message), colour)
    if outcome.blocked_by and not outcome.message.startswith("waits for "):
        yield "      waits for " + ", ".join(words.plain(str(ref)) for ref in outcome.blocked_by[:5])
    if outcome.result is Result.FAILED and outcome.who:
        yield f"      must act: {words.plain(outcome.who)}"


def _untouched(record: Record, left: Plan, style: Style) -> Iterator[str]:
    """Open changes that this run was not asked to apply (`--plan`, `--approve`, `--only`)."""
    tried = {(outcome.change.ref, outcome.change.target) for outcome in record.outcomes}
    count = sum((change.ref, change.target) not in tried for change in left.open)
    if count:
        yield style.dim(f"{words.counted(count, 'other change')} not applied by this run: reconciler plan")
        yield ""


def _others(record: Record, left: Plan) -> list[Condition]:
    """The conditions that nothing else speaks about; what was applied and still builds is shown."""
    told = {outcome.change.ref for outcome in record.outcomes if outcome.result is not Result.APPLIED}
    told |= {change.ref for change in left.held}
    told |= {ref.object for ref in told}
    return [record.conditions[ref] for ref in sorted(record.conditions) if ref not in told]


def _last_line(record: Record, left: Plan, style: Style, *, news: bool) -> str:
    """Counts, seconds and digest; a quiet run says that it was."""
    seconds = f"{(record.finished - record.started).total_seconds():.1f} s"
    objects = len(words.objects(record.conditions))
    if not record.outcomes and not news:
        suspended = sum(
            stand[0].word is Word.SUSPENDED for stand in words.objects(record.conditions).values()
        )
        return f"{quiet_line(objects, suspended, style)} {seconds}"
    said = result_words(record, left)
    return total_line(f"{said or 'nothing changed'} · {seconds}", record.digest, style)


def result_words(record: Record, left: Plan) -> str:
    """`3 applied, 1 failed, 2 held, 1 object still progressing`; empty when there is none of it."""
    counts = results(record)
    said = [f"{counts[result]:,} {result.lower()}" for result, _title in _TITLES if counts[result]]
    said += [f"{len(left.held):,} held"] if left.held else []
    said += [_progressing(record.conditions)] if _progressing(record.conditions) else []
    return ", ".join(said)


def _progressing(conditions: Mapping[Ref, Condition]) -> str:
    count = sum(parts[0].word is Word.PROGRESSING for parts in words.objects(conditions).values())
    return f"{words.counted(count, 'object')} still progressing" if count else ""
