"""From the quality that data need to the elements that have it. Pure.

The words are CDMI's (ISO/IEC 17826, data system metadata): latency is the longest time to the first byte,
redundancy how many copies of a file there are altogether, placement the countries where data may lie (two
letters of ISO 3166). A QualityClass says which elements of the federation give what.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from reconciler.model import Declared, Json
from reconciler.placement.expression import parse
from reconciler.units import duration

MOST_COPIES: Final = 100


@dataclass(frozen=True, slots=True)
class Translation:
    """What a wish for quality comes to: which elements, and how many copies on them."""

    expression: str
    copies: int


def latency(text: str) -> timedelta:
    """Read `20ms`, `10s` or what a duration may be. Raises ValueError with the expected form."""
    if text.endswith("ms") and text[:-2].isdecimal() and text.isascii() and len(text) <= 14:
        return timedelta(milliseconds=int(text[:-2]))
    try:
        return duration(text)
    except ValueError as error:
        raise ValueError(f"'{text}' is not a latency: expected a number and ms, s, m or h") from error


def fits(wish: Mapping[str, Json], spec: Mapping[str, Json]) -> bool:
    """Is a class quick enough, and does it keep data only in countries that are wished?"""
    most = wish.get("latency")
    if most and latency(spec["latency"]) > latency(most):
        return False
    countries = frozenset(wish.get("placement") or ())
    return not countries or frozenset(spec["placement"] or ("",)) <= countries


def translate(wish: Mapping[str, Json], classes: Collection[Declared]) -> Translation:
    """The elements of all classes that fit, and copies for the one that itself keeps fewest.

    Raises ValueError that says what there is when none fits, or when it would take too many copies.
    """
    fitting = sorted((entry for entry in classes if fits(wish, entry.spec)), key=lambda entry: entry.ref)
    if not fitting:
        there = "; ".join(_described(entry) for entry in sorted(classes, key=lambda entry: entry.ref))
        what = f"no quality class fits {_wished(wish)}; there are: {there or 'none'}"
        raise ValueError(f"{what}; declare a QualityClass, or write expression and copies")
    least = min(entry.spec["redundancy"] for entry in fitting)
    copies = -(-wish["redundancy"] // least)
    if copies > MOST_COPIES:
        raise ValueError(
            f"a redundancy of {wish['redundancy']} takes {copies} copies; the most are {MOST_COPIES}"
        )
    return Translation(_union([entry.spec["expression"] for entry in fitting]), copies)


def _union(expressions: list[str]) -> str:
    """One expression for all, each meaning once."""
    different: dict[tuple[object, ...], str] = {}
    for text in expressions:
        different.setdefault(parse(text).meaning, str(parse(text)))
    texts = list(different.values())
    return texts[0] if len(texts) == 1 else "|".join(f"({text})" for text in texts)


def _wished(wish: Mapping[str, Json]) -> str:
    latency = f"latency ≤ {wish['latency']}" if wish.get("latency") else "any latency"
    return latency + (f" in {', '.join(wish['placement'])}" if wish.get("placement") else "")


def _described(entry: Declared) -> str:
    spec = entry.spec
    where = "+".join(spec["placement"]) or "anywhere"
    return f"{entry.ref.name} (latency {spec['latency']}, redundancy {spec['redundancy']}, {where})"
