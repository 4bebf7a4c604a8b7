"""What a rule says of itself: whose it is, for which object of git, and what Rucio has no field for.

Two fields of a rule carry it. `comments` is `rc1.<owner>` and nothing else, because Rucio finds rules by the
whole text alone. `meta` is JSON: {"refs": {"<6 letters>": "<Ref with part>", …}, "target", "expression", and
where they are not the usual: "lock", "keep", "last", "begun", "repairs", "repaired", "asked", "named"}. The
letters are those of a hash of the data set, so that one bulk call can mark rules of many objects.

Any account of Rucio can write the same on a rule of its own. So a mark counts only on rules of accounts that
are ours (`rule_trust`), and only for objects that have rules.

Rucio's schema takes 3,999 characters of meta, which it encodes a second time before it keeps them in a column
of 4,000 (core/rule.py, db/sqla/models.py); what is updated as a mapping is encoded once.
"""

from __future__ import annotations

import json
from base64 import b32encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

from reconciler.model import Json, Mark, Ref, mark_id

_COLUMN: Final = 4000  # characters that the database keeps
_LETTERS: Final = 6
_TIMES: Final = 3  # encoded by us, by Rucio's client and by Rucio
_KINDS: Final = frozenset(("DataRule", "Lifecycle"))
_PART: Final = "main.rule"
_YEARS: Final = range(1990, 2201)
_MOST: Final = 10**6  # repairs


@dataclass(frozen=True, slots=True)
class RuleMark:
    """What stands in one rule's `meta`, for one data set.

    `expression` is as declared; Rucio's may stand in parentheses. `begun`, `asked`: ISO 8601 UTC, when the
    object's first copies were asked for, and when Rucio was last asked to try again, for the `repaired`th
    time. `named`: does the wish name the account?
    """

    ref: Ref
    target: str
    expression: str
    lock: bool = False
    keep: bool = False
    last: str = "keep"
    begun: str = ""
    repairs: int = 3
    repaired: int = 0
    asked: str = ""
    named: bool = False

    def mark(self, owner: str) -> Mark:
        return Mark(owner, mark_id(self.ref), self.ref, "", self.lock, self.keep)


def comment_of(owner: str) -> str:
    """What stands in `comments` of all rules of an owner."""
    return f"rc1.{owner}"


@lru_cache(maxsize=65536)
def letters_of(dataset: str) -> str:
    """By what `meta` knows a data set (scope:name)."""
    return b32encode(sha256(dataset.encode()).digest()[:4])[:_LETTERS].decode().lower()


def meta_of(marks: Mapping[str, RuleMark]) -> dict[str, Json]:
    """The `meta` of rules that are made by one call: data set → mark; they differ in nothing but the Ref."""
    first = next(iter(marks.values()))
    refs = {letters_of(dataset): str(mark.ref) for dataset, mark in marks.items()}
    meta: dict[str, Json] = {"refs": refs, "target": first.target, "expression": first.expression}
    usual = RuleMark(first.ref, first.target, first.expression)
    for key in ("lock", "keep", "last", "begun", "repairs", "repaired", "asked", "named"):
        if getattr(first, key) != getattr(usual, key):
            meta[key] = getattr(first, key)
    return meta


def text_of(meta: Mapping[str, Json]) -> str:
    """As it is sent, in a new rule."""
    return json.dumps(meta, separators=(",", ":"))


def fits(meta: Mapping[str, Json]) -> bool:
    """Has the column room for it, encoded as it will be?"""
    return len(json.dumps(text_of(meta))) <= _COLUMN


def parted(marks: Sequence[tuple[str, RuleMark]], most: int) -> Iterable[list[int]]:
    """The places of these (data set, mark) in as many calls as it takes: one `meta` holds all of a call.

    A call has at most so many, no two of one data set and no two with the same letters.
    """
    chunk: list[int] = []
    held: dict[str, RuleMark] = {}
    letters: set[str] = set()
    for place, (dataset, mark) in enumerate(marks):
        more = {**held, dataset: mark}
        crowded = len(chunk) >= most or not fits(meta_of(more))
        if chunk and (crowded or letters_of(dataset) in letters):
            yield chunk
            chunk, more, letters = [], {dataset: mark}, set()
        chunk, held = [*chunk, place], more
        letters.add(letters_of(dataset))
    if chunk:
        yield chunk


@dataclass(slots=True)
class Marks:
    """Reads marks of rules of these accounts, each text once: rules that were made together have the same."""

    accounts: frozenset[str]
    _known: dict[str, Mapping[str, Any] | None] = field(default_factory=dict)

    def of(self, rule: Mapping[str, Any], owner: str) -> RuleMark | None:
        """The mark of a rule as Rucio lists it; None: not this owner's, not to be believed, or unreadable."""
        if rule["comments"] != comment_of(owner) or rule["account"] not in self.accounts:
            return None
        meta = self._read(rule["meta"] or "")
        return None if meta is None else _mark_in(meta, f"{rule['scope']}:{rule['name']}")

    def _read(self, text: Any) -> Mapping[str, Any] | None:
        if not isinstance(text, str):
            return _decoded(text)
        if text not in self._known:
            self._known[text] = _decoded(text)
        return self._known[text]


def _decoded(text: Any) -> Mapping[str, Any] | None:
    """JSON, however often it was encoded; None: it is no mapping."""
    for _ in range(_TIMES):
        if not isinstance(text, str):
            break
        try:
            text = json.loads(text)
        except (ValueError, RecursionError):
            return None
    return text if isinstance(text, Mapping) else None


def _mark_in(meta: Mapping[str, Any], dataset: str) -> RuleMark | None:
    """Whoever writes to Rucio can write anything; what is not as we write it is no mark of ours."""
    try:
        ref = Ref.parse(meta["refs"][letters_of(dataset)])
        rest = {key: meta[key] for key in _SORTS if key in meta}
        if ref.kind not in _KINDS or ref.part != _PART:
            return None
        f"{ref} {rest.get('target')} {rest.get('expression')}".encode()  # no halves of letters
        if not all(_is_sound(key, value) for key, value in rest.items()):
            return None
        return RuleMark(ref, **rest | {key: utc_text(rest[key]) for key in ("begun", "asked") if key in rest})
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None


def _is_sound(key: str, value: Json) -> bool:
    if type(value) is not _SORTS[key]:
        return False
    return 0 <= value <= _MOST if isinstance(value, int) else True


def utc_text(said: str) -> str:
    """A moment as we write it, ISO 8601 UTC to the second; empty where we can't have meant it."""
    try:
        when = datetime.fromisoformat(said)
        if when.utcoffset() != timedelta(0) or when.year not in _YEARS:
            return ""
        return when.astimezone(UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError):
        return ""


_SORTS: Final[Mapping[str, type]] = {
    "target": str,
    "expression": str,
    "lock": bool,
    "keep": bool,
    "last": str,
    "begun": str,
    "repairs": int,
    "repaired": int,
    "asked": str,
    "named": bool,
}
