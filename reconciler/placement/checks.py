"""What schemas can't say about rules on data. Pure and offline; shared by the kinds DataRule and Lifecycle.

All answers are (dotted path in the file, message, hint).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Final

from reconciler.model import Json
from reconciler.placement.expression import parse
from reconciler.placement.quality import latency
from reconciler.units import duration

Problem = tuple[str, str, str]

# Rucio's limits: scope 25, name 250 characters (lib/rucio/common/schema/generic.py).
_DATASET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,24}:[A-Za-z0-9][A-Za-z0-9._-]{0,249}")
_OFTENEST: Final = timedelta(hours=1)


def check_common(spec: Mapping[str, Json]) -> Iterator[Problem]:
    """Data set, folder, durations and the expression of sources."""
    if not _DATASET.fullmatch(spec["dataset"]):
        hint = "scope of at most 25 and name of at most 250 letters, digits, dots, - and _"
        yield "spec.dataset", f"'{spec['dataset']}' is not of the form scope:name", hint
    if spec.get("source") is not None:
        yield from _check_source(spec["source"])
    if spec.get("sources"):
        yield from check_expression("spec.sources", spec["sources"])
    yield from _check_spans(spec)


def check_where(path: str, wanted: Mapping[str, Json]) -> Iterator[Problem]:
    """Either an expression and copies, or a quality. `path` is where both stand in the file."""
    expression, quality = wanted.get("expression"), wanted.get("quality")
    if expression is None and quality is None:
        yield (
            path,
            "neither `expression` nor `quality` is there",
            "say where copies lie, or what quality they need",
        )
    elif expression is not None and quality is not None:
        yield f"{path}.quality", "`expression` and `quality` exclude each other", "keep one of them"
    elif quality is not None:
        yield from _check_quality(path, wanted)
    else:
        yield from check_expression(f"{path}.expression", expression)
    if wanted["copies"] < 1:
        message = f"{wanted['copies']} copies are none"
        yield f"{path}.copies", message, "at least 1; remove the file to have none"


def check_expression(path: str, text: str | None) -> Iterator[Problem]:
    """Can it be read?"""
    try:
        parse(text or "")
    except ValueError as error:
        what, _, hint = str(error).partition("; ")
        yield path, what, hint


def check_latency(path: str, text: str | None) -> Iterator[Problem]:
    """Can it be read?"""
    try:
        latency(text or "0s")
    except ValueError as error:
        yield path, str(error), "write like 20ms, 10s or 4h"


def _check_quality(path: str, wanted: Mapping[str, Json]) -> Iterator[Problem]:
    quality = wanted["quality"]
    if wanted["copies"] > 1:
        yield (
            f"{path}.copies",
            "`quality` says how many copies there are",
            "take `copies` out; use `redundancy`",
        )
    if quality["redundancy"] < 1:
        yield (
            f"{path}.quality.redundancy",
            f"a redundancy of {quality['redundancy']} is no copy",
            "at least 1",
        )
    yield from check_latency(f"{path}.quality.latency", quality.get("latency"))


def _check_source(source: str) -> Iterator[Problem]:
    hint = "a folder below `uploads`, like higgs-2026"
    pieces = source.split("/")
    if source.startswith("/") or not source.strip():
        yield "spec.source", f"'{source}' is not a relative path", hint
    elif any(piece in ("", ".", "..") for piece in pieces) or "\0" in source or "\\" in source:
        yield "spec.source", "a source has no '..', '.', '\\' or empty pieces", hint
    elif any(len(piece.encode()) > 255 for piece in pieces):
        yield "spec.source", "a piece of the source is longer than 255 bytes", hint


def _check_spans(spec: Mapping[str, Json]) -> Iterator[Problem]:
    spans = {"spec.lifetime": spec.get("lifetime"), "spec.verify.every": spec["verify"]["every"]}
    for path, text in spans.items():
        try:
            span = duration(text) if text else None
        except ValueError as error:
            yield path, str(error), "write like 6h, 7d or 2w"
            continue
        if span is not None and span < _OFTENEST:
            yield path, f"'{text}' is too short", "at least 1h"
