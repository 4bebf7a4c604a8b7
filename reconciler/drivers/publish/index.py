"""What people read: `index.json` (what is published, what was removed) and `removed.log` of a repository.

Both are written while the repository is locked, and neither is ever believed: the receipts are the truth, and
an index that is missing or damaged is made from them again. The index has one line for each publication, so
that changing one takes no reading of the others.
"""

from __future__ import annotations

import json
import os
from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import Any, Final

from reconciler.drivers.publish.layout import Label, Repository, write_file
from reconciler.drivers.publish.publication import Receipt, homes_in, publications_at

_REMOVALS: Final = 100  # how many the index shows; the log has all
_TAIL: Final = 1 << 16  # bytes of the log that are looked at for a line that is there already
_OPEN: Final = '"published": {'
_CLOSE: Final = "}}"


@dataclass(frozen=True, slots=True)
class _Index:
    """The index as lines: its head, what was removed, and one for each publication, sorted."""

    head: str
    removed: str
    entries: tuple[str, ...]

    def encoded(self) -> bytes:
        entries = [f"{entry}," for entry in self.entries[:-1]] + list(self.entries[-1:])
        return "\n".join([self.head, self.removed, _OPEN, *entries, _CLOSE, ""]).encode()

    def with_entry(self, path: str, entry: str) -> _Index:
        """With this line for the path, or without one where it is empty."""
        key = f"{json.dumps(path)}: "
        at = bisect_left(self.entries, key)
        there = at < len(self.entries) and self.entries[at].startswith(key)
        middle = (key + entry,) if entry else ()
        return replace(self, entries=(*self.entries[:at], *middle, *self.entries[at + there :]))


def show_published(repository: Repository, receipt: Receipt, previous: list[str]) -> None:
    """Put one publication into the index, or make the index anew."""
    index = _read(repository) or _derive(repository)
    path = str(receipt.spec["path"])
    _write(repository, index.with_entry(path, json.dumps(_entry(receipt, previous), sort_keys=True)))


def show_removed(repository: Repository, path: str) -> None:
    """Take one publication out of the index, and show what the log says last."""
    index = _read(repository) or _derive(repository)
    _write(repository, replace(index.with_entry(path, ""), removed=_removed_line(repository)))


def log_removal(repository: Repository, label: Label, line: dict[str, str]) -> None:
    """Note what goes, when, and by which Ref, before it goes; once, however often it is tried.

    `line` says `action`, `path`, `sha256`, `since` and `at`.
    """
    home = label.home
    said = {"version": str(label), "ref": str(home.ref), "owner": home.owner} | line
    if any(_same(entry, said) for entry in removals(repository)):
        return
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    descriptor = os.open(repository.inside("removed.log"), flags, 0o644)
    try:
        os.write(descriptor, json.dumps(said, sort_keys=True).encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _same(entry: dict[str, Any], said: dict[str, str]) -> bool:
    """The same removal, tried again? Numbers start anew when all versions are gone; times don't."""
    return all(entry.get(key) == said[key] for key in ("version", "since", "action"))


def removals(repository: Repository) -> list[dict[str, Any]]:
    """The latest lines of the log, oldest first; lines that were cut by a kill are left out."""
    try:
        with open(repository.inside("removed.log"), "rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - _TAIL))
            lines = stream.read().split(b"\n")
    except FileNotFoundError:
        return []
    return [entry for line in lines if (entry := _parse(line))]


def _parse(line: bytes) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _entry(receipt: Receipt, previous: list[str]) -> dict[str, Any]:
    return {
        "ref": str(receipt.mark.ref),
        "owner": receipt.mark.owner,
        "sha256": str(receipt.spec["sha256"]),
        "since": receipt.created,
        "size": receipt.size,
        "files": receipt.files,
        "previous": previous,
    }


def _read(repository: Repository) -> _Index | None:
    """The index, if it is as we write it; what its lines say is not looked at."""
    try:
        with open(repository.inside("index.json"), encoding="utf-8", newline="\n") as stream:
            lines = stream.read().split("\n")
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    if len(lines) < 5 or lines[0] != _head(repository) or [lines[2], *lines[-2:]] != [_OPEN, _CLOSE, ""]:
        return None
    entries = tuple(line.removesuffix(",") for line in lines[3:-2])
    return _Index(lines[0], lines[1], entries) if list(entries) == sorted(entries) else None


def _head(repository: Repository) -> str:
    return f'{{"schemaVersion": 1, "repository": {json.dumps(repository.name)},'


def _removed_line(repository: Repository) -> str:
    return f'"removed": {json.dumps(removals(repository)[-_REMOVALS:], sort_keys=True)},'


def _derive(repository: Repository) -> _Index:
    """The index as the receipts of all owners have it."""
    entries = []
    for home in homes_in(repository):
        for publication in publications_at(repository, home):
            shown = publication.current
            if shown and shown.receipt:
                said = _entry(shown.receipt, [version.sha256 for version in publication.kept])
                entries.append(f"{json.dumps(publication.path)}: {json.dumps(said, sort_keys=True)}")
    return _Index(_head(repository), _removed_line(repository), tuple(sorted(entries)))


def _write(repository: Repository, index: _Index) -> None:
    write_file(repository.inside("index.json"), index.encoded(), repository.temporary("index"))
