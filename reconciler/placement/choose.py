"""Which elements hold the copies of a rule, and why not the others. Pure and sticky.

Where copies lie they stay, as long as they may; even bad ones, which are repaired in place. What can't be
seen counts as a copy, so that none is made twice. New places are found by rendezvous hashing: every pair of
rule and element has a number of its own, so the load spreads, and neither the order of files nor an element
that comes or goes moves what lies elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from reconciler.model import Ref

# What an element holds of a rule, the best first.
GOOD, UNPROVEN, PROGRESSING, BAD, UNSEEN, NOTHING_THERE = (
    "good",
    "unproven",
    "progressing",
    "bad",
    "unseen",
    "",
)
_STAY = (GOOD, UNPROVEN, PROGRESSING, BAD, UNSEEN)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One element as a place for a copy.

    `holds` is one of the words above; UNSEEN: it can't be read and a copy could lie there. `barred` says why
    no copy may lie there at all, `closed` why no new one may come; both empty where it may. `room` is how
    many bytes fit, None where nobody knows.
    """

    element: str
    holds: str = NOTHING_THERE
    barred: str = ""
    closed: str = ""
    room: int | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The elements that are to hold a copy, sorted; those only assumed to; element → why it was refused."""

    chosen: tuple[str, ...]
    assumed: frozenset[str] = frozenset()
    refused: Mapping[str, str] = field(default_factory=dict)


def choose(rule: Ref, candidates: Collection[Candidate], copies: int, needed: int = 0) -> Choice:
    """Pick up to `copies` elements for a rule; `needed` is the size of one copy in bytes, 0 if unknown."""
    ranked = sorted(candidates, key=lambda candidate: _rank(rule, candidate.element))
    allowed = [candidate for candidate in ranked if not candidate.barred]
    staying = [entry for holds in _STAY for entry in allowed if entry.holds == holds][:copies]
    reasons = {entry.element: _against_new(entry, needed) for entry in ranked}
    fresh = [entry for entry in allowed if not entry.holds and not reasons[entry.element]]
    chosen = [*staying, *fresh[: copies - len(staying)]]
    names = {entry.element for entry in chosen}
    refused = {name: reasons[name] or "not needed" for name in sorted(reasons) if name not in names}
    assumed = frozenset(entry.element for entry in chosen if entry.holds == UNSEEN)
    return Choice(tuple(sorted(names)), assumed, refused)


def _rank(rule: Ref, element: str) -> bytes:
    return hashlib.sha256(f"{rule}\n{element}".encode()).digest()


def _against_new(candidate: Candidate, needed: int) -> str:
    """Why no new copy may come to an element; empty: it may."""
    if candidate.barred or candidate.closed:
        return candidate.barred or candidate.closed
    if candidate.room is not None and candidate.room < max(needed, 1):
        return f"no room: {max(candidate.room, 0)} bytes free, {needed or 'more'} needed"
    return ""
