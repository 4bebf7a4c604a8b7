"""Plan → text for a terminal: what changes first, then what is held, then what can't go on, then one line.

Made to be read late at night: the symbol says what happens, the line below why and where it was
written; the last line counts it all and names the digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeAlias

from reconciler.errors import Problem
from reconciler.model import ABSENT, Action, Change, Condition, FieldChange, Hold, Plan, Ref, Word
from reconciler.report import words
from reconciler.report.style import PLAIN, Style

_COLOURS: Final[Mapping[str, str]] = {
    Action.CREATE: "green",
    Action.UPDATE: "yellow",
    Action.REPLACE: "magenta",
    Action.DELETE: "red",
}
WORD_COLOURS: Final[Mapping[str, str]] = {
    Word.FAILED: "red",
    Word.HELD: "magenta",
    Word.BLIND: "yellow",
    Word.WAITING: "yellow",
    Word.PROGRESSING: "cyan",
    Word.SUSPENDED: "blue",
    Word.READY: "green",
}
_SHOWN: Final = 20  # of a list that `status` shows whole

# why, the digest that `--approve` takes, which changes
HoldGroup: TypeAlias = tuple[Hold, str, tuple[Change, ...]]

# Holds that no approval releases: what to do instead. The same reasons as `judge.NEVER_APPROVED`.
REMEDIES: Final[Mapping[str, str]] = {
    "BlindBucket": "plan again when the target can be read",
    "InUse": "remove what still uses it first",
    "LastCopy": "see above: wait for enough other good copies, or say `lastCopy: delete` in the file first",
    "Locked": "take `metadata.locked` off in one commit, apply, and remove it in the next",
    "ProviderInUse": "bring the file back with `spec.status: removed`, apply, then remove the file",
}


def plan_text(
    plan: Plan,
    conditions: Mapping[Ref, Condition],
    objects: int,
    *,
    invalid: tuple[Problem, ...] = (),
    style: Style = PLAIN,
) -> str:
    """The whole plan as text; quiet is one line. `conditions` may leave out what is Ready."""
    others = [entry for entry in unplanned(plan, conditions) if not (invalid and entry.reason == "Invalid")]
    sections = [
        *_changes("Changes", plan.open, style),
        *held_lines(plan, style),
        *blind_lines(plan.blind, style),
        *invalid_lines(invalid, style),
        *unready_lines(others, style),
    ]
    if plan.changes:
        last = total_line(words.summary(words.tally(plan.changes)), plan.digest, style)
    elif plan.blind or invalid or not all(map(is_calm, others)):
        looked = words.counted(objects, "object")
        last = f"{style.bold('Nothing to change now.')} {looked} looked at; see above for what is not Ready."
    else:
        last = quiet_line(objects, sum(entry.word is Word.SUSPENDED for entry in others), style)
    return "\n".join([*sections, last]) + "\n"


def is_calm(condition: Condition) -> bool:
    """Is this no news: Ready, or left alone because its author says so?"""
    return condition.word in (Word.READY, Word.SUSPENDED)


def quiet_line(objects: int, suspended: int, style: Style) -> str:
    """`Nothing to do: 10,000 objects are as declared, 2 suspended.`"""
    verb = "is" if objects == 1 else "are"
    alone = f", {suspended:,} suspended" if suspended else ""
    return (
        style.paint("Nothing to do:", "green")
        + f" {words.counted(objects, 'object')} {verb} as declared{alone}."
    )


def total_line(said: str, digest: str, style: Style) -> str:
    """The last line: counts and digest; the digest goes to a line of its own where both have no room."""
    if len(said) + len(digest) + len(" · digest ") > style.width:
        return f"{style.bold(said)}\ndigest {digest}"
    return f"{style.bold(said)} · digest {digest}"


def _changes(title: str, changes: tuple[Change, ...], style: Style) -> Iterator[str]:
    if not changes:
        return
    yield style.bold(f"{title} ({words.number(len(changes))})")
    column = ref_column(changes, style)
    for change in changes:
        yield from change_lines(change, column, style)
    yield ""


def ref_column(changes: Iterable[Change], style: Style) -> int:
    """How wide Refs are in a list, so that the targets behind them line up."""
    longest = max((len(words.plain(str(change.ref))) for change in changes), default=0)
    return min(longest, style.width * 2 // 3)


def change_lines(change: Change, column: int, style: Style, indent: str = "  ") -> Iterator[str]:
    """One change: symbol, Ref and target; why and where from; then its fields."""
    yield _headline(change, column, style, indent)
    where = f" · {words.plain(str(change.source))}" if change.source.path else ""
    yield indent + "    " + style.dim(words.because(change) + _order(change) + where)
    yield from _field_lines(change, style, indent + "    ")


def _headline(change: Change, column: int, style: Style, indent: str) -> str:
    colour = _COLOURS[change.action]
    ref = words.plain(str(change.ref))
    symbol = style.paint(words.SYMBOLS[change.action], colour, "bold")
    gap = " " * (max(column - len(ref), 0) + 2)
    return f"{indent}{symbol} {style.paint(ref, colour)}{gap}{words.plain(change.target)}"


def _order(change: Change) -> str:
    return f", {change.order.replace('-', ' ')}" if change.order else ""


def _field_lines(change: Change, style: Style, indent: str) -> Iterator[str]:
    """`path: have → want`; a create has only what is wanted, a delete shows no fields."""
    if change.action is Action.DELETE:
        return
    for entry in change.fields:
        yield indent + field_text(entry, style.width - len(indent), creates=change.action is Action.CREATE)


def field_text(entry: FieldChange, width: int, *, creates: bool) -> str:
    """One field on one line of at most about `width` columns; long values lose their middle."""
    path = words.shorten(words.plain(entry.path), max(width // 2, 20))
    room = max(width - len(path) - 2, 20)
    if creates and entry.have is ABSENT:
        return f"{path}: {words.shorten(words.value(entry.want), room)}"
    have, want = words.both(entry.have, entry.want)
    half = (room - 3) // 2
    left = max(half, room - 3 - len(want))
    return f"{path}: {words.shorten(have, left)} → {words.shorten(want, max(half, room - 3 - len(have)))}"


def held_lines(plan: Plan, style: Style) -> Iterator[str]:
    """One paragraph per hold group: why, what, and the exact command that releases it."""
    groups = hold_groups(plan)
    if not groups:
        return
    yield style.bold(f"Held for a person ({words.number(len(plan.held))})")
    for hold, digest, changes in groups:
        yield f"  {style.paint(words.plain(hold_title(hold)), 'magenta', 'bold')}"
        yield f"    {words.plain(hold.message)}"
        yield from _held_changes(changes, style)
        verb = "release" if digest else "to do"
        yield f"    {verb}: {style.bold(release(hold, digest))}"
        yield ""


def _held_changes(changes: tuple[Change, ...], style: Style) -> Iterator[str]:
    """Deletes that share one reason say it once: lists of removals are long when it matters most."""
    column = ref_column(changes, style)
    reasons = {(change.action, change.reason, change.release) for change in changes}
    if reasons == {(Action.DELETE, changes[0].reason, False)}:
        yield f"    {style.dim(words.reason(changes[0].reason))}"
        yield from (_headline(change, column, style, "    ") for change in changes)
        return
    for change in changes:
        yield from change_lines(change, column, style, "    ")


def hold_title(hold: Hold) -> str:
    """`RemovalBudget group cms`: a bucket that begins with its reason is not said twice."""
    if not hold.bucket or hold.bucket.startswith(hold.reason):
        return hold.bucket or hold.reason
    return f"{hold.reason}, {hold.bucket}"


def hold_groups(plan: Plan) -> list[HoldGroup]:
    """The held changes as they are released; without a digest where no approval releases them."""
    buckets = plan.buckets()
    grouped: dict[tuple[str, str, str], list[Change]] = {}
    for change in plan.held:
        if change.hold:
            grouped.setdefault(_hold_key(change, change.hold), []).append(change)
    return [
        (hold, _hold_digest(hold, buckets, changes), tuple(changes))
        for _key, changes in sorted(grouped.items())
        for hold in [changes[0].hold]
        if hold
    ]


def _hold_key(change: Change, hold: Hold) -> tuple[str, str, str]:
    """What is shown together: a bucket, what needs the same remedy for the same reason, or one change."""
    if hold.reason in REMEDIES:
        return hold.reason, "", hold.message
    return hold.reason, hold.bucket, "" if hold.bucket else change.digest


def _hold_digest(hold: Hold, buckets: Mapping[str, str], changes: list[Change]) -> str:
    if hold.reason in REMEDIES:
        return ""
    return buckets[hold.bucket] if hold.bucket else changes[0].digest


def release(hold: Hold, digest: str) -> str:
    """What releases a hold: a command, or what must be done where approval is not enough."""
    return REMEDIES.get(hold.reason, f"reconciler apply --approve {digest}")


def blind_lines(blind: Mapping[str, str], style: Style) -> Iterator[str]:
    """The targets that could not be read; nothing of theirs changes."""
    if not blind:
        return
    yield style.bold(f"Could not be read ({len(blind)}); nothing there is touched")
    for target in sorted(blind):
        yield f"  {style.paint('?', 'yellow', 'bold')} {words.plain(target)}: {words.plain(blind[target])}"
    yield ""


def invalid_lines(invalid: tuple[Problem, ...], style: Style) -> Iterator[str]:
    """What is wrong in the repository; those objects are left alone."""
    if not invalid:
        return
    yield style.bold(f"Not valid ({words.number(len(invalid))}); these objects are left alone")
    for problem in invalid[:_SHOWN]:
        where = words.plain(f"{problem.path}:{problem.line}:{problem.column}")
        yield f"  {style.paint('!', 'red', 'bold')} {where}: {words.plain(problem.message)}"
    yield from _more(len(invalid), "reconciler validate", style)
    yield ""


def unplanned(plan: Plan, conditions: Mapping[Ref, Condition]) -> list[Condition]:
    """The conditions that no change of the plan speaks about already, by Ref."""
    planned = {change.ref for change in plan.changes} | {change.ref.object for change in plan.changes}
    return [conditions[ref] for ref in sorted(conditions.keys() - planned)]


def unready_lines(conditions: Iterable[Condition], style: Style) -> Iterator[str]:
    """What is not Ready and why, the worst first; long lists are cut, and say so."""
    unready = [entry for entry in conditions if entry.word is not Word.READY]
    if not unready:
        return
    unready.sort(key=lambda entry: (words.ORDER.index(entry.word), entry.ref))
    yield style.bold(f"Not ready ({words.number(len(unready))})")
    for entry in unready[:_SHOWN]:
        yield from condition_lines(entry, style)
    yield from _more(len(unready), "reconciler status", style)
    yield ""


def condition_lines(condition: Condition, style: Style) -> Iterator[str]:
    """Two lines: word and Ref, then reason, message and what it waits for."""
    where = f" · {words.plain(str(condition.source))}" if condition.source.path else ""
    word = style.paint(f"{condition.word:<11}", WORD_COLOURS[condition.word])
    yield f"  {word} {words.plain(str(condition.ref))}{style.dim(where)}"
    blocked = ", ".join(words.plain(str(ref)) for ref in condition.blocked_by[:5])
    waits = f" (waits for {blocked})" if blocked else ""
    yield f"{'':14}{words.why(condition.reason, condition.message)}{waits}"


def _more(count: int, command: str, style: Style) -> Iterator[str]:
    if count > _SHOWN:
        yield style.dim(f"  … and {words.number(count - _SHOWN)} more: {command}")
