"""What the import writes: objects with their files and comments, and what it leaves out. Pure.

Names are made from Rucio's own and from nothing else, so a second import calls everything the same.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b32encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from reconciler.drivers.rucio.import_yaml import document

VERSION: Final = "reconciler/v1"
_LONGEST: Final = 63  # characters of a DNS label
_SUFFIX: Final = 8


@dataclass(frozen=True, slots=True)
class Entry:
    """One object. `origin` says in Rucio's words what it is, `comments` stand above it in its file."""

    path: str
    kind: str
    metadata: Mapping[str, Any]
    spec: Mapping[str, Any]
    origin: str
    comments: Sequence[str] = ()

    def text(self) -> str:
        """The file. Raises TypeError where a value has no form in YAML."""
        top = {"apiVersion": VERSION, "kind": self.kind, "metadata": self.metadata, "spec": self.spec}
        return document(top, (f"In Rucio: {self.origin}.", *self.comments))


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What is in Rucio and in no file: what it is, and why."""

    origin: str
    why: str


@dataclass(slots=True)
class Draft:
    """The repository as it is put together; a path is given once."""

    entries: dict[str, Entry] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)

    def add(self, entry: Entry) -> None:
        """Take an object in; one at whose place there is another is left out."""
        other = self.entries.setdefault(entry.path, entry)
        if other is not entry:
            self.leave_out(entry.origin, f"it would have the file of {other.origin}")

    def leave_out(self, origin: str, why: str) -> None:
        """Say that something is in no file."""
        self.left_out.append(LeftOut(origin, why))


def label(name: str) -> str:
    """A DNS label for an account or a scope: its name, or where that is none, something with a suffix.

    Names that differ have labels that differ.
    """
    return name if name == _slug(name) and len(name) <= _LONGEST else tagged(name)


def element_label(name: str) -> str:
    """The same for an element, whose name is in capitals."""
    small = name.lower()
    return small if name == small.upper() and label(small) == small else tagged(name)


def tagged(name: str, key: str = "") -> str:
    """A DNS label with a suffix that depends on `key` (absent: the name) alone."""
    suffix = b32encode(hashlib.sha256((key or name).encode()).digest())[:_SUFFIX].decode().lower()
    stem = _slug(name)[: _LONGEST - _SUFFIX - 1].strip("-")
    return f"{stem}-{suffix}" if stem else f"x-{suffix}"


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
