"""What was probably meant: a suggestion for a misspelt word, for every message that refuses one."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

_MANY = 500


def closest(word: str, among: Iterable[str]) -> str:
    """The known word that is nearest to this one, empty when none is near."""
    known = sorted(set(among))
    folded = word.casefold()
    for candidate in known:
        if candidate.casefold() == folded:
            return candidate
    return _nearest(word, _plausible(word, known))


def did_you_mean(word: str, among: Iterable[str]) -> str:
    """`did you mean 'plan'?`, or nothing."""
    candidate = closest(word, among)
    return f"did you mean '{candidate}'?" if candidate else ""


def _plausible(word: str, known: list[str]) -> list[str]:
    """Comparing is slow: of very many words, only those that share most of their beginning and end."""
    if len(known) <= _MANY:
        return known
    return heapq.nlargest(
        _MANY, known, key=lambda entry: _shared(word, entry) + _shared(word[::-1], entry[::-1])
    )


def _shared(one: str, other: str) -> int:
    pairs = zip(one, other, strict=False)
    return next(
        (index for index, (left, right) in enumerate(pairs) if left != right), min(len(one), len(other))
    )


def _nearest(word: str, known: list[str]) -> str:
    import difflib  # noqa: PLC0415  only a mistake needs it

    return next(iter(difflib.get_close_matches(word, known, n=1, cutoff=0.6)), "")
