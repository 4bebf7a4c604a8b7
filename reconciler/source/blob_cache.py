"""What was found in each blob, kept from one run to the next so that an unchanged file costs nothing.

Stands under `load` and `validate`. One compact JSON file per repository and purpose, keyed by blob id, never
pickle; written atomically and only when something changed. It is no authority: with another version of ours,
a checksum that does not fit, or anything that can't be read, it is ignored and written anew. It holds the
blobs of the last three trees, so that planning another branch in between costs nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import zlib
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from reconciler.model import Json
from reconciler.resources import schemas_folder

_FORMAT: Final = 1
_TREES: Final = 3
_ANSWERS: Final = 5_000
_PACKAGE: Final = Path(__file__).parents[1]
_JUDGES: Final = ("", "checks", "kinds", "source", "strict_yaml", "stages", "tosca", "playbook")


@dataclass(slots=True)
class Entry:
    """One blob: its objects of ours as (index, line, value), why it can't be read as (line, column, code,
    message, hint), what `validate` found out about each object, and in which tree it was last used.
    """

    used: int
    documents: list[tuple[int, int, Json]]
    problems: list[tuple[int, int, str, str, str]]
    verdicts: dict[str, Json] = field(default_factory=dict)  # by index


@dataclass(slots=True)
class BlobCache:
    """The entries of one repository. `path` None: nothing is kept.

    `judge` says by which kinds the verdicts were given. `answers` are to questions that depend on more than
    one blob, by a digest of the whole question.
    """

    path: Path | None = None
    entries: dict[str, Entry] = field(default_factory=dict)
    trees: list[str] = field(default_factory=list)
    used: int = 0
    judge: str = ""
    answers: dict[str, Json] = field(default_factory=dict)
    changed: bool = False

    def use(self, blobs: Collection[str]) -> None:
        """Say which blobs the present tree has. One of the last trees changes nothing."""
        tree = f"{zlib.crc32(''.join(sorted(blobs)).encode()):08x}.{len(blobs)}"
        if tree in self.trees:
            return
        self.trees = [*self.trees[1 - _TREES :], tree]
        self.used += 1
        self.changed = True
        for blob in blobs:
            if blob in self.entries:
                self.entries[blob].used = self.used

    def add(self, blob: str, entry: Entry) -> None:
        self.entries[blob] = entry
        self.changed = True

    def judged_by(self, judge: str) -> None:
        """Forget the verdicts when others judge now."""
        if self.judge != judge:
            self.judge, self.changed = judge, True
            for entry in self.entries.values():
                entry.verdicts.clear()

    def save(self) -> None:
        """Write the file if anything changed. A cache that can't be written is no error."""
        if self.path is None or not self.changed:
            return
        oldest = self.used - _TREES
        entries = {
            blob: (entry.used, entry.documents, entry.problems, entry.verdicts)
            for blob, entry in self.entries.items()
            if entry.used > oldest
        }
        answers = self.answers if len(self.answers) < _ANSWERS else {}
        whole = {
            "trees": self.trees,
            "used": self.used,
            "judge": self.judge,
            "answers": answers,
            "entries": entries,
        }
        body = json.dumps(whole, separators=(",", ":"), ensure_ascii=True, check_circular=False).encode()
        with contextlib.suppress(OSError):
            _write(self.path, f"{version()} {zlib.crc32(body):08x}\n".encode() + body)
        self.changed = False


def open_cache(path: Path | None) -> BlobCache:
    """The cache in this file; an empty one where there is none that is ours."""
    if path is None:
        return BlobCache()
    try:
        head, _, body = path.read_bytes().partition(b"\n")
        if head != f"{version()} {zlib.crc32(body):08x}".encode():
            return BlobCache(path)
        whole: dict[str, Any] = json.loads(body)
        entries = {blob: Entry(*entry) for blob, entry in whole["entries"].items()}
        return BlobCache(path, entries, whole["trees"], whole["used"], whole["judge"], whole["answers"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return BlobCache(path)


@lru_cache(maxsize=1)
def version() -> str:
    """A word that changes with our schemas and with our code, so that no verdict outlives what gave it."""
    files = [*schemas_folder().glob("*.json")]
    files += [file for folder in _JUDGES for file in (_PACKAGE / folder).glob("*.py")]
    stats = ((str(path), path.stat()) for path in sorted(files))
    known = repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])
    return f"reconciler-blobs-{_FORMAT}-{zlib.crc32(known.encode()):08x}"


def _write(path: Path, content: bytes) -> None:
    """Replace the file in one step."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
