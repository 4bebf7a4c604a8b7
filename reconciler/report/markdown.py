"""Plan and record → Markdown for merge requests: counts and digest first, details folded, under 60 kB.

Content of files is shown only inside code: in a code span, in `<code>` within a `<summary>`, or in a
fenced block whose lines all begin with a symbol of ours. There it can be no heading, link, mention,
reference to an issue, HTML or end of a fold. What is too long is left out whole, level by level, and
the report says so; markup is never cut.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from reconciler.errors import Problem
from reconciler.model import ABSENT, Action, Change, Condition, FieldChange, Plan, Record, Ref, Result, Word
from reconciler.report import words
from reconciler.report.record import result_words
from reconciler.report.text import HoldGroup, hold_groups, hold_title, release, unplanned

LIMIT: Final = 60_000  # bytes; a comment on GitLab or GitHub may have more, a mail may not
_CLIP: Final = 200


@dataclass(frozen=True, slots=True)
class Detail:
    """How much is shown: fields of a change, changes of a group, groups."""

    fields: int
    changes: int
    groups: int


_LEVELS: Final = (
    Detail(1_000, 100_000, 1_000),
    Detail(5, 100_000, 1_000),
    Detail(0, 100_000, 1_000),
    Detail(0, 200, 100),
    Detail(0, 100, 100),
    Detail(0, 50, 50),
    Detail(0, 25, 50),
    Detail(0, 10, 20),
    Detail(0, 0, 10),
)


def plan_markdown(
    plan: Plan, conditions: Mapping[Ref, Condition], objects: int, *, invalid: tuple[Problem, ...] = ()
) -> str:
    """The plan for a merge request. The header stands first and can't be imitated by what follows."""
    names = f"digest {code(plan.digest)} · revision {code(plan.revision)}"
    head = [
        "<!-- reconciler: plan -->",
        f"### Plan: {words.summary(words.tally(plan.changes))}",
        "",
        f"{names} · {words.counted(objects, 'object')}",
        *_warnings(plan, invalid),
    ]
    unready, groups = _worst_first(unplanned(plan, conditions)), hold_groups(plan)

    def body(detail: Detail) -> Iterator[str]:
        yield from _held(groups, detail)
        yield from _by_target(plan.open, detail)
        yield from _rest(plan.blind, invalid, unready, detail)

    return _fitting(head, body)


def _warnings(plan: Plan, invalid: tuple[Problem, ...]) -> Iterator[str]:
    """The numbers nobody may overlook, before any fold."""
    if plan.changes and words.tally(plan.changes)[str(Action.DELETE)]:
        yield f"\n**{words.counted(words.tally(plan.changes)['delete'], 'removal')}.**"
    if plan.prefix:
        yield "\nFrom git alone: what this change means. The live plan is made on the protected branch."
    if invalid:
        yield f"\n**{words.counted(len(invalid), 'problem')} in the repository.**"
    if plan.blind:
        yield f"\n**{words.counted(len(plan.blind), 'target')} could not be read.** Nothing there is touched."


def record_markdown(record: Record, left: Plan, *, invalid: tuple[Problem, ...] = ()) -> str:
    """What one run did, for a merge request or a pipeline."""
    said = result_words(record, left)
    names = f"digest {code(record.digest)} · revision {code(record.revision)}"
    seconds = (record.finished - record.started).total_seconds()
    head = [
        "<!-- reconciler: apply -->",
        f"### Apply: {said or 'nothing to do'}",
        "",
        f"{names} · exit code {int(record.exit_code)} · {seconds:.1f} s",
        *_warnings(Plan("", (), record.blind), invalid),
    ]
    told = {outcome.change.ref for outcome in record.outcomes if outcome.result is not Result.APPLIED}
    told |= {change.ref for change in left.held}
    unready = [entry for entry in _worst_first(record.conditions.values()) if entry.ref not in told]
    groups = hold_groups(left)
    applied = tuple(outcome.change for outcome in record.outcomes if outcome.result is Result.APPLIED)

    def body(detail: Detail) -> Iterator[str]:
        yield from _outcomes(record, Result.FAILED, detail)
        yield from _outcomes(record, Result.WAITING, detail)
        yield from _held(groups, detail)
        yield from _by_target(applied, detail, "applied: ")
        yield from _rest(record.blind, invalid, unready, detail)

    return _fitting(head, body)


def _rest(
    blind: Mapping[str, str], invalid: tuple[Problem, ...], unready: Sequence[Condition], detail: Detail
) -> Iterator[str]:
    yield from _blind(blind, detail)
    yield from _invalid(invalid, detail)
    yield from _not_ready(unready, detail)


def code(text: str) -> str:
    """A code span that holds this text whatever it is; clipped, one line, its fence longer than its ticks."""
    content = words.clipped(text, _CLIP) or " "
    ticks = max((len(run) for run in re.findall("`+", content)), default=0)
    fence = "`" * (ticks + 1)
    gap = " " if ticks else ""
    return f"{fence}{gap}{content}{gap}{fence}"


def escaped(text: str) -> str:
    """Text inside `<code>` of a `<summary>`: one line, no markup of any sort."""
    return f"<code>{html.escape(words.clipped(text, _CLIP)).replace('`', '&#96;')}</code>"


def _fitting(head: list[str], body: Callable[[Detail], Iterator[str]]) -> str:
    """The most detailed level that stays under the limit, and a line that says what was left out."""
    for level, detail in enumerate(_LEVELS):
        cut = (
            "\n_Shortened to stay under 60 kB; all of it:_ `reconciler plan --format json`\n" if level else ""
        )
        room = LIMIT - sum(len(line.encode()) + 1 for line in head) - len(cut.encode())
        text = _bounded(body(detail), room)
        if text is not None:
            return "\n".join(head) + "\n" + text + cut
    return "\n".join(head) + "\n" + cut


def _bounded(lines: Iterable[str], room: int) -> str | None:
    """The lines as one text, or None as soon as they need more bytes than there is room."""
    kept: list[str] = []
    for line in lines:
        room -= len(line.encode()) + 1
        if room < 0:
            return None
        kept.append(line)
    return "".join(f"{line}\n" for line in kept)


def _fold(summary: str, lines: Iterable[str], *, opened: bool = False) -> Iterator[str]:
    """One fold around a code block. `summary` is already safe HTML."""
    attribute = " open" if opened else ""
    yield f"\n<details{attribute}><summary>{summary}</summary>\n\n```diff"
    yield from lines
    yield "```\n\n</details>"


def _held(groups: Sequence[HoldGroup], detail: Detail) -> Iterator[str]:
    if not groups:
        return
    yield f"\n#### Held for a person: {sum(len(changes) for _hold, _digest, changes in groups):,}"
    for hold, digest, changes in groups[: detail.groups]:
        summary = f"{escaped(hold_title(hold))}: {words.counted(len(changes), 'change')}"
        verb = "To release" if digest else "To do"
        yield f"\n{code(hold.message)}\n\n{verb}: {code(release(hold, digest))}"
        yield from _listed(summary, changes, detail, opened=len(groups) == 1 and len(changes) <= _few(detail))
    yield from _and_more(len(groups) - detail.groups, "hold group")


def _few(detail: Detail) -> int:
    return min(detail.changes, 20)


def _by_target(changes: tuple[Change, ...], detail: Detail, prefix: str = "") -> Iterator[str]:
    """A fold per target: what happens there."""
    grouped: dict[str, list[Change]] = {}
    for change in changes:
        grouped.setdefault(change.target, []).append(change)
    for target in sorted(grouped)[: detail.groups]:
        counts = words.summary(words.tally(grouped[target]))
        yield from _listed(f"{escaped(target)}: {prefix}{counts}", grouped[target], detail)
    yield from _and_more(len(grouped) - detail.groups, "target")


def _listed(
    summary: str, changes: Sequence[Change], detail: Detail, *, opened: bool = False
) -> Iterator[str]:
    """A fold with these changes; without room for any, their kinds and how many."""
    if not detail.changes:
        counts = Counter((change.ref.kind, str(change.action)) for change in changes)
        few = [f"{action} {_line(kind)}: {counts[kind, action]:,}" for kind, action in sorted(counts)[:10]]
        yield from _fold(summary, [f"# {entry}" for entry in few])
        return
    yield from _fold(summary, _diff_lines(changes, detail), opened=opened)


def _diff_lines(changes: Sequence[Change], detail: Detail) -> Iterator[str]:
    """Lines of a `diff` block: each begins with a symbol of ours, so none can end the block."""
    for change in changes[: detail.changes]:
        where = f", {change.source}" if change.source.path else ""
        note = ", mark taken off, the thing stays" if change.release else ""
        symbol = words.SYMBOLS[change.action]
        what = f"{symbol} {_line(str(change.ref))}  {_line(change.target)}"
        yield f"{what} ({_line(change.reason + where)}{note})"
        if change.action is not Action.DELETE:
            yield from _fields(change.fields, detail.fields)
    if len(changes) > detail.changes:
        yield f"# … and {words.number(len(changes) - detail.changes)} more"


def _fields(fields: Sequence[FieldChange], shown: int) -> Iterator[str]:
    for entry in fields[:shown]:
        have, want = words.both(entry.have, entry.want)
        if entry.have is not ABSENT:
            yield f"-     {_line(entry.path)}: {words.shorten(have, _CLIP)}"
        if entry.want is not ABSENT:
            yield f"+     {_line(entry.path)}: {words.shorten(want, _CLIP)}"
    if shown and len(fields) > shown:
        yield f"#     … and {words.counted(len(fields) - shown, 'more field')}"


def _line(text: str) -> str:
    return words.clipped(text, _CLIP)


def _and_more(count: int, noun: str) -> Iterator[str]:
    if count > 0:
        yield f"\n_… and {words.number(count)} more {noun if count == 1 else noun + 's'}._"


def _outcomes(record: Record, result: Result, detail: Detail) -> Iterator[str]:
    found = [outcome for outcome in record.outcomes if outcome.result is result]
    if not found:
        return
    lines = [
        f"! {_line(str(outcome.change.ref))}  {_line(outcome.change.target)}"
        f"  {_why(outcome.reason, outcome.message)}"
        for outcome in found[: detail.changes]
    ]
    yield from _fold(f"{result}: {len(found):,}", _cut(lines, len(found)), opened=len(found) <= _few(detail))


def _why(reason: str, message: str) -> str:
    return words.shorten(words.why(_line(reason), _line(message)), _CLIP)


def _cut(lines: list[str], total: int) -> list[str]:
    return lines + ([f"# … and {words.number(total - len(lines))} more"] if total > len(lines) else [])


def _blind(blind: Mapping[str, str], detail: Detail) -> Iterator[str]:
    if not blind:
        return
    shown = sorted(blind)[: max(detail.changes, detail.groups)]
    lines = [f"? {_line(target)}: {_line(blind[target])}" for target in shown]
    yield from _fold(f"Could not be read: {len(blind):,}", _cut(lines, len(blind)))


def _invalid(invalid: tuple[Problem, ...], detail: Detail) -> Iterator[str]:
    if not invalid:
        return
    lines = [
        f"! {_line(f'{problem.path}:{problem.line}:{problem.column}')}: {_line(problem.message)}"
        for problem in invalid[: detail.changes]
    ]
    yield from _fold(f"Not valid: {words.counted(len(invalid), 'problem')}", _cut(lines, len(invalid)))


def _not_ready(unready: Sequence[Condition], detail: Detail) -> Iterator[str]:
    if not unready:
        return
    lines = [
        f"! {entry.word} {_line(str(entry.ref))}  {_why(entry.reason, entry.message)}"
        for entry in unready[: detail.changes]
    ]
    yield from _fold(f"Not ready: {len(unready):,}", _cut(lines, len(unready)))


def _worst_first(conditions: Iterable[Condition]) -> list[Condition]:
    unready = [entry for entry in conditions if entry.word is not Word.READY]
    return sorted(unready, key=lambda entry: (words.ORDER.index(entry.word), entry.ref))
