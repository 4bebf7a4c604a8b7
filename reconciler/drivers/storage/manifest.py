"""What the files of a replica are, and how real files differ from it. Reads only.

A manifest is JSON: a list of [path, size in bytes, sha256 in hex, time of change in nanoseconds], sorted by
path. Its digest is over path, size and sha256 only, so copies of one content have one digest.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from reconciler.drivers.storage import folders
from reconciler.drivers.storage.layout import MANIFEST, OURS
from reconciler.model import ABSENT, FieldChange

CHUNK: Final = 1024 * 1024
SHOWN: Final = 20
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One file: where, how long, what, and when it was changed."""

    path: str
    size: int
    sha256: str
    changed: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """All files of a replica, sorted by path."""

    entries: tuple[Entry, ...]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(entry.size for entry in self.entries)

    @property
    def digest(self) -> str:
        """`sha256:` and 64 hex digits over what the files hold."""
        content = [[entry.path, entry.size, entry.sha256] for entry in self.entries]
        return "sha256:" + hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def dump(self) -> bytes:
        """The file's bytes."""
        lines = [[entry.path, entry.size, entry.sha256, entry.changed] for entry in self.entries]
        return json.dumps(lines, separators=(",", ":")).replace("],[", "],\n[").encode() + b"\n"


def read_manifest(content: bytes) -> Manifest:
    """Raises ValueError when it is none, or names a path that leads out of the replica."""
    try:
        lines = json.loads(content)
        entries = tuple(Entry(*_checked(line)) for line in lines[:])  # of a list only
    except (TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"not a manifest: {error}") from error
    return Manifest(tuple(sorted(entries)))


def _checked(line: Any) -> tuple[str, int, str, int]:
    path, size, sha256, changed = line
    if not all(isinstance(number, int) for number in (size, changed)) or not _SHA256.fullmatch(sha256):
        raise ValueError("not a manifest: a line is not [path, size, sha256, time]")
    check_path(path)
    return path, size, sha256, changed


def manifest_in(folder: int, digest: str) -> Manifest | None:
    """The manifest of a replica, if it is there and is what the receipt says."""
    with suppress(OSError, ValueError), folders.below(folder, (OURS,)) as ours:
        manifest = read_manifest(folders.read(ours, MANIFEST))
        return manifest if manifest.digest == digest else None
    return None


def check_path(path: str) -> None:
    """Raises ValueError for a path that leads out of a replica, hides in our part of it, or is not UTF-8."""
    pieces = path.split("/")
    if any(piece in ("", ".", "..") or "\0" in piece for piece in pieces) or pieces[0] == OURS:
        raise ValueError(f"{path!r} can't be the path of a file in a data set")
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{path!r} is not UTF-8") from error


def sha256_of(file: int) -> str:
    """The sha256 of an open file from where it stands, in hex."""
    with open(file, "rb", buffering=0, closefd=False) as stream:
        return hashlib.file_digest(stream, _sha256).hexdigest()


def _sha256() -> Any:
    return hashlib.sha256(usedforsecurity=False)


def differences(folder: int, manifest: Manifest, how: str) -> Iterator[FieldChange]:
    """How the files of a replica differ from its manifest, by path; `how` is `checksum` or `size`."""
    wanted = {entry.path: entry for entry in manifest.entries}
    for found in folders.walk(folder, skip=OURS):
        entry = wanted.pop(found.path, None)
        if entry is None or not found.is_file:
            yield _field(found.path, _shape(found), entry.sha256 if entry else ABSENT)
        else:
            yield from _difference(folder, found, entry, how)
    for path in sorted(wanted):
        yield _field(path, ABSENT, f"{wanted[path].size} bytes")


def _difference(folder: int, found: folders.Found, entry: Entry, how: str) -> Iterator[FieldChange]:
    status = found.status
    if status.st_size != entry.size:
        yield _field(entry.path, f"{status.st_size} bytes", f"{entry.size} bytes")
    elif how == "size":
        if status.st_mtime_ns != entry.changed:
            yield _field(entry.path, f"changed at {status.st_mtime_ns} ns", f"{entry.changed} ns")
    else:
        have = checksum(folder, entry.path)
        if have != entry.sha256:
            yield _field(entry.path, f"sha256:{have}", f"sha256:{entry.sha256}")


def checksum(folder: int, path: str) -> str:
    """The sha256 of one file below an open directory."""
    with folders.opened_file(folder, path) as file:
        return sha256_of(file)


def _field(path: str, have: Any, want: Any) -> FieldChange:
    return FieldChange(f"files.{path}", have, want)


def _shape(found: folders.Found) -> str:
    return f"{found.status.st_size} bytes" if found.is_file else "a link or special file"


def path_of(field: FieldChange) -> str:
    """The file that a difference is about."""
    return field.path.removeprefix("files.")


def shown(fields: Iterable[FieldChange]) -> tuple[FieldChange, ...]:
    """The first twenty, and how many more there are."""
    every = sorted(fields, key=lambda field: field.path)
    rest = len(every) - SHOWN
    more = (FieldChange("files", f"{rest} more differ", "as in the manifest"),) if rest > 0 else ()
    return (*every[:SHOWN], *more)


def free_bytes(folder: int) -> int:
    """How much may still be written to the file system of an open directory."""
    status = os.fstatvfs(folder)
    return status.f_bavail * status.f_frsize
