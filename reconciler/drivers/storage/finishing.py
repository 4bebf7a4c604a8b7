"""When all files of a replica are there: what is too much goes, and all is brought to the disk. WRITES.

A receipt is written after that, and the place of the replica is given last: what can be seen is on the disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from reconciler.drivers.storage import folders
from reconciler.drivers.storage.layout import OURS, Names
from reconciler.drivers.storage.manifest import Entry, Manifest
from reconciler.drivers.storage.writing import Writing
from reconciler.errors import Rejected

_AT_ONCE: Final = 4  # files that wait for the disk together; more gains little


def remove_others(writing: Writing, folder: int, manifest: Manifest) -> None:
    """Files that the manifest does not know."""
    wanted = {entry.path for entry in manifest.entries}
    for found in list(folders.walk(folder, skip=OURS)):
        if found.path not in wanted:
            *way, name = found.path.split("/")
            with folders.below(folder, way) as parent:
                writing.remove(parent, name)


def refuse_clashes(folder: int, manifest: Manifest) -> None:
    """On file systems that do not tell upper from lower case two files would be one. Raises Rejected."""
    folded: dict[str, str] = {}
    for entry in manifest.entries:
        other = folded.setdefault(entry.path.casefold(), entry.path)
        if other != entry.path and _inode(folder, other) == _inode(folder, entry.path):
            raise Rejected(f"{other} and {entry.path} are one file on this file system; rename one")


def _inode(folder: int, path: str) -> int:
    with folders.opened_file(folder, path) as file:
        return os.fstat(file).st_ino


def bring_to_disk(folder: int, manifest: Manifest) -> None:
    """Have all files and directories on the disk; after all were written, which is faster.

    Several wait at a time: file systems with a journal serve them together.
    """
    entries = manifest.entries
    shares = [entries[number::_AT_ONCE] for number in range(min(_AT_ONCE, len(entries)))]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        list(threads.map(partial(_sync_files, folder), shares))
    for names in sorted(_ways(entries), reverse=True):
        with folders.below(folder, names) as inner:
            os.fsync(inner)


def _sync_files(folder: int, entries: Iterable[Entry]) -> None:
    for entry in entries:
        with folders.opened_file(folder, entry.path) as file:
            os.fsync(file)


def _ways(entries: Iterable[Entry]) -> set[Names]:
    """All directories that lead to files, the top among them."""
    ways: set[Names] = {()}
    for entry in entries:
        *way, _ = entry.path.split("/")
        ways.update(tuple(way[:depth]) for depth in range(1, len(way) + 1))
    return ways
