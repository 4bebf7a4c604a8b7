"""What a rule says of itself: whose it is, for which object of git, and what Rucio has no field for.

Two fields of a rule carry it. `comments` is `rc1.<owner>` and nothing else, because Rucio finds rules by the
whole text alone. `meta` is JSON: {"refs": {"<6 letters>": "<Ref with part>", …}, "target", "expression", and
where they are not the usual: "lock", "keep", "last", "begun", "repairs", "repaired", "asked", "named"}. The
letters are those of a hash of the data set, so that one bulk call can mark rules of many objects.

Rucio's schema takes 3,999 characters of meta, which it encodes a second time before it keeps them in a column
of 4,000 (core/rule.py, db/sqla/models.py); what is updated as a mapping is encoded once.
"""

from __future__ import annotations

import json
from base64 import b32encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

from reconciler.model import Json, Mark, Ref, mark_id

_COLUMN: Final = 4000  # characters that the database keeps
_LETTERS: Final = 6
_TIMES: Final = 3  # encoded by us, by Rucio's client and by Rucio


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
    """Reads marks of rules, each text once: rules that were made together have the same."""

    _known: dict[str, Mapping[str, Any] | None] = field(default_factory=dict)

    def of(self, rule: Mapping[str, Any], owner: str) -> RuleMark | None:
        """The mark of a rule as Rucio lists it; None: it is not this owner's, or can't be read."""
        if rule["comments"] != comment_of(owner):
            return None
        text = rule["meta"] or ""
        if text not in self._known:
            self._known[text] = _decoded(text)
        meta = self._known[text]
        return None if meta is None else _mark_in(meta, f"{rule['scope']}:{rule['name']}")


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
        sound = all(type(value) is _SORTS[key] for key, value in rest.items())
        return RuleMark(ref, **rest) if sound else None
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


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
