"""The words that all reports share: symbols, values, times, reasons, and what to type next.

`plain` makes any text harmless on a terminal: nothing from a file can move the cursor, hide, turn
round or begin a line.
"""

from __future__ import annotations

import json
import re
import shlex
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from reconciler.model import ABSENT, Action, Change, Condition, Json, Ref, Word

SYMBOLS: Final[Mapping[str, str]] = {
    Action.CREATE: "+",
    Action.UPDATE: "~",
    Action.REPLACE: "±",
    Action.DELETE: "-",
}

# The shape of a condition, worst first: what people must see before the rest.
ORDER: Final = (
    Word.FAILED,
    Word.HELD,
    Word.BLIND,
    Word.WAITING,
    Word.PROGRESSING,
    Word.SUSPENDED,
    Word.READY,
)

_REASONS: Final[Mapping[str, str]] = {
    "NotFound": "does not exist yet",
    "Drifted": "was changed behind our back",
    "Differs": "is not as its file says",
    "Renamed": "has another name in git now; the thing stays",
    "SpecChanged": "the file changed",
    "ImmutableField": "can't be changed in place",
    "Orphaned": "no file declares it any more",
    "Expired": "its time is over",
    "Superseded": "its successor replaces it",
    "Duplicate": "there are two of it",
    "Adopted": "taken over, it was not ours",
    "Adopt": "taken over, it was not ours",
    "Partial": "was left half-made",
    "Released": "its file is gone: our mark is taken off, the thing stays",
    "Moved": "its target in the file is another one now",
    "Corrupt": "its content is not what it was",
    "Surplus": "its file does not want it any more",
}

_BECAUSE: Final = 500  # letters
_SIMPLE: Final = re.compile(r"[A-Za-z0-9_./:@+-][A-Za-z0-9_./:@+= -]*\Z")
_NOT_WORDS: Final = frozenset({"true", "false", "null", "absent", "none"})


def plain(text: str) -> str:
    r"""The text with everything invisible or misleading written as an escape (`\x1b`, `\u202e`)."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    """Control, format (bidi, zero width), private and unassigned characters, and odd spaces, as escapes."""
    category = unicodedata.category(character)
    if character == " " or category[0] not in "CZ":
        return character
    number = ord(character)
    named = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(character)
    return named or (f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}")


def shorten(text: str, width: int) -> str:
    """At most `width` characters: what is too long loses its middle."""
    if len(text) <= width:
        return text
    room = max(width - 1, 2)
    return f"{text[: (room + 1) // 2]}…{text[len(text) - room // 2 :]}"


def clipped(text: str, width: int) -> str:
    """The text made harmless, at most `width` characters; quick for very long texts, too."""
    return shorten(plain(shorten(text, width)), width)


def value(content: Json) -> str:
    """One value of a field, in words: secrets and late values are named, never shown."""
    if content is ABSENT:
        return "absent"
    if isinstance(content, Mapping) and content.keys() & _NAMED:
        return _named(content)
    content = _with_names(content)
    if isinstance(content, str) and _SIMPLE.match(content) and not _mistakable(content):
        return content
    return plain(json.dumps(content, ensure_ascii=False, sort_keys=True, default=dict))


_NAMED: Final = frozenset({"$secret", "$after", "$join"})


def _named(content: Mapping[str, Json]) -> str:
    """What a secret or a late value is called where its value stands later."""
    if "$secret" in content:
        return f"secret {plain(str(content['$secret']))}"
    if "$after" in content:
        return f"known after apply ({plain(str(content['$after']))})"
    return f"known after apply ({plain(_joined(content['$join']))})"


def _joined(pieces: Iterable[Json]) -> str:
    return "".join(
        f"<{next(iter(piece.values()))}>" if isinstance(piece, Mapping) else str(piece) for piece in pieces
    )


def _with_names(content: Json) -> Json:
    """The same with the names of secrets and late values that lie inside."""
    if isinstance(content, Mapping):
        if content.keys() & _NAMED:
            return _named(content)
        return {key: _with_names(entry) for key, entry in content.items()}
    return [_with_names(entry) for entry in content] if isinstance(content, (list, tuple)) else content


def _mistakable(text: str) -> bool:
    """Would this string without quotes look like another type, or like two values?"""
    return text.lower() in _NOT_WORDS or text.endswith(" ") or bool(re.fullmatch(r"[-+]?[0-9.]+", text))


def both(have: Json, want: Json) -> tuple[str, str]:
    """Two sides of a field; a secret that only changed its value says so."""
    before, after = value(have), value(want)
    if before == after:
        return before, f"{after} (its value changed)"
    return before, after


def reason(word: str) -> str:
    """`Orphaned: no file declares it any more`; a reason that we have no prose for stays as it is."""
    prose = _REASONS.get(word)
    return f"{plain(word)}: {prose}" if prose else plain(word)


def because(change: Change) -> str:
    """Why there is a change: in our words, or, where a thing is broken, in those of its back-end."""
    have = change.have
    if have is None or have.reason != change.reason or change.reason in _REASONS:
        return reason(change.reason)
    return shorten(why(change.reason, have.message), _BECAUSE)


def why(reason: str, message: str) -> str:
    """`Rejected: the archive is empty`; a message that begins with its reason says it for both."""
    if not message or not reason:
        return plain(message or reason)
    if message.casefold().startswith(reason.casefold()):
        return plain(message)
    return f"{plain(reason)}: {plain(message)}"


def number(count: int) -> str:
    """`10,000`."""
    return f"{count:,}"


def counted(count: int, noun: str) -> str:
    """`1 object`, `10,000 objects`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def tally(changes: Iterable[Change]) -> Counter[str]:
    """How many changes of each action there are; those that are held count under `held` as well."""
    counts: Counter[str] = Counter()
    for change in changes:
        counts[str(change.action)] += 1
        counts["held"] += change.hold is not None
    return counts


def summary(counts: Mapping[str, int]) -> str:
    """`3 to create, 1 to update, 1 of them held`; `no changes`."""
    said = [f"{counts[action]:,} to {action}" for action in map(str, Action) if counts.get(action)]
    if not said:
        return "no changes"
    held = counts.get("held", 0)
    if not held:
        return ", ".join(said)
    everything = sum(counts.get(action, 0) for action in map(str, Action))
    return ", ".join(said) + (", all held" if held == everything else f", {held:,} of them held")


def moment(when: datetime) -> str:
    """`2026-11-21 03:10 UTC`."""
    return when.strftime("%Y-%m-%d %H:%M UTC")


def ago(when: datetime, now: datetime) -> str:
    """`2 hours ago (2026-11-21 01:10 UTC)`, `in 5 minutes (…)`."""
    distance = now - when
    if abs(distance) < timedelta(seconds=5):
        return f"just now ({moment(when)})"
    said = span(abs(distance))
    return f"{said} ago ({moment(when)})" if distance > timedelta() else f"in {said} ({moment(when)})"


def span(length: timedelta) -> str:
    """A length of time in its largest whole unit: `3 days`, `1 hour`."""
    seconds = int(length.total_seconds())
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            return counted(seconds // size, unit)
    return counted(seconds, "second")


def typed(ref: Ref) -> str:
    """A Ref as it is typed in a shell."""
    return shlex.quote(plain(str(ref)))


def next_command(condition: Condition) -> str:
    """What to type next about one condition; empty where nothing is to be done."""
    ref = typed(condition.ref.object)
    if condition.blocked_by and condition.word is Word.WAITING:
        return f"reconciler explain {typed(condition.blocked_by[0].object)}"
    if condition.word is Word.FAILED:
        return _after_failure(condition, ref)
    return {
        Word.HELD: f"reconciler plan --only {ref}",
        Word.WAITING: f"reconciler plan --only {ref}",
        Word.BLIND: f"reconciler plan --only {ref}",
        Word.PROGRESSING: f"reconciler apply --only {ref} --wait 1h",
    }.get(condition.word, "")


def _after_failure(condition: Condition, ref: str) -> str:
    """Valid files that can't be followed are looked at in a plan; what was tried is tried again."""
    if condition.reason == "Invalid":
        return "reconciler validate"
    tried = condition.who != "author" or condition.attempts
    return f"reconciler apply --only {ref} --retry" if tried else f"reconciler plan --only {ref}"


def objects(conditions: Mapping[Ref, Condition]) -> dict[Ref, tuple[Condition, ...]]:
    """Object → its own condition and those of its parts, the worst first."""
    found: dict[Ref, list[Condition]] = {}
    for ref in sorted(conditions):
        found.setdefault(ref.object, []).append(conditions[ref])
    return {ref: tuple(sorted(found[ref], key=_worst_first)) for ref in found}


def _worst_first(condition: Condition) -> tuple[int, bool, Ref]:
    return ORDER.index(condition.word), bool(condition.ref.part), condition.ref
