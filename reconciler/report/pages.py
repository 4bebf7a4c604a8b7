"""Conditions → the status pages: index.md, a page a group, status.json. Everybody can read them in git."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from reconciler.model import Condition, Json, Record, Ref, Word
from reconciler.report import json as as_json
from reconciler.report import words
from reconciler.report.history import PastRun
from reconciler.report.markdown import code
from reconciler.report.standing import who

HEADER: Final = "<!-- reconciler: status -->"
_EVERYONE: Final = "everyone"  # the page of global objects
_LISTED: Final = 500

Objects = Mapping[Ref, Sequence[Condition]]


def status_pages(record: Record, outputs: Mapping[Ref, Mapping[str, Json]]) -> dict[str, str]:
    """Path below the status folder → content. The same record gives the same pages."""
    stand = words.objects(record.conditions)
    groups: dict[str, dict[Ref, Sequence[Condition]]] = {}
    for ref, parts in stand.items():
        groups.setdefault(ref.group, {})[ref] = parts
    pages = {page(group): _group_page(group, groups[group], record, outputs) for group in sorted(groups)}
    pages["index.md"] = _index(groups, record)
    pages["status.json"] = as_json.text(as_json.standing_json(record.conditions, record, {}, outputs))
    return pages


def page(group: str) -> str:
    """The path of a group's page; a name that is no plain name becomes its hash, never a path."""
    name = group or _EVERYONE
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name) or group == _EVERYONE:
        name = "_" + hashlib.sha256(group.encode(errors="replace")).hexdigest()[:16]
    return f"groups/{name}.md"


def status_markdown(conditions: Mapping[Ref, Condition], last: PastRun | None) -> str:
    """`status --format markdown`: what the pages say, on one page."""
    stand = words.objects(conditions)
    lines = [HEADER, "# Status", "", *_head(stand, last), *_object_lines(stand, {})]
    return "\n".join(lines) + "\n"


def _head(stand: Objects, last: PastRun | None) -> Iterator[str]:
    counts = Counter(parts[0].word for parts in stand.values())
    said = " · ".join(f"{counts[word]:,} {word}" for word in words.ORDER if counts[word])
    yield f"**{words.counted(len(stand), 'object')}**" + (f": {said}" if said else "")
    if last and last.finished:
        yield f"\nAs of {words.moment(last.finished)}, revision {code(last.revision)}."
    for target in sorted(last.blind if last else ()):
        yield f"\nCould not be read: {code(target)}: {code(last.blind[target] if last else '')}"
    yield ""


def _index(groups: Mapping[str, Objects], record: Record) -> str:
    stand = {ref: parts for objects in groups.values() for ref, parts in objects.items()}
    shown = [word for word in words.ORDER if any(parts[0].word is word for parts in stand.values())]
    table = [
        "| group | " + " | ".join(shown) + " |",
        "|---|" + "---:|" * len(shown),
        *(_row(group, groups[group], shown) for group in sorted(groups)),
    ]
    return "\n".join([HEADER, "# Status", "", *_head(stand, record), *(table if shown else [])]) + "\n"


def _row(group: str, stand: Objects, shown: Sequence[Word]) -> str:
    counts = Counter(parts[0].word for parts in stand.values())
    cells = " | ".join(f"{counts[word]:,}" if counts[word] else "" for word in shown)
    return f"| [{code((group or _EVERYONE).replace('|', '¦'))}]({page(group)}) | {cells} |"


def _group_page(group: str, stand: Objects, record: Record, outputs: Mapping[Ref, Mapping[str, Json]]) -> str:
    title = f"# {code(group)}" if group else "# Everyone"
    return "\n".join([HEADER, title, "", *_head(stand, record), *_object_lines(stand, outputs)]) + "\n"


def _object_lines(stand: Objects, outputs: Mapping[Ref, Mapping[str, Json]]) -> Iterator[str]:
    """The objects by status word, the worst first; very long lists end in a number."""
    for word in words.ORDER:
        found = [ref for ref in sorted(stand) if stand[ref][0].word is word]
        if not found:
            continue
        yield f"## {word} ({len(found):,})\n"
        for ref in found[:_LISTED]:
            yield from _entry(stand[ref][0], outputs.get(ref, {}))
        if len(found) > _LISTED:
            yield f"- … and {words.number(len(found) - _LISTED)} more, in `status.json`"
        yield ""


def _entry(worst: Condition, outputs: Mapping[str, Json]) -> Iterator[str]:
    where = f" · {code(str(worst.source))}" if worst.source.path else ""
    yield f"- {code(str(worst.ref.object))}{where}"
    if worst.word is not Word.READY:
        yield from _reasons(worst)
    for name in sorted(outputs):
        yield f"  - {code(name)}: {code(words.value(outputs[name]))}"


def _reasons(worst: Condition) -> Iterator[str]:
    yield f"  - {code(words.why(worst.reason, worst.message))}"
    if worst.since:
        yield f"  - since {words.moment(worst.since)}"
    if worst.blocked_by:
        yield "  - waits for " + ", ".join(code(str(ref)) for ref in worst.blocked_by[:20])
    if who(worst):
        yield f"  - {who(worst) if worst.who in _PLAIN_WHO else code(worst.who)}"
    if worst.last_try:
        yield f"  - last try {words.moment(worst.last_try)}"
    if worst.next_try:
        yield f"  - next try {words.moment(worst.next_try)}"


_PLAIN_WHO: Final = frozenset({"time", "author", "operator", "operator of the target"})
