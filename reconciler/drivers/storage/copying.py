"""Filling and repairing a replica: every byte is hashed while it is written. WRITES, through `Writing`."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from reconciler.drivers.storage import folders
from reconciler.drivers.storage.finishing import bring_to_disk, refuse_clashes, remove_others
from reconciler.drivers.storage.layout import OURS
from reconciler.drivers.storage.manifest import (
    CHUNK,
    Entry,
    Manifest,
    check_path,
    checksum,
    differences,
    free_bytes,
    path_of,
    sha256_of,
)
from reconciler.drivers.storage.sources import Source, Sources
from reconciler.drivers.storage.threads import AT_ONCE, in_threads
from reconciler.drivers.storage.writing import Writing
from reconciler.errors import Conflict, Rejected, Transient

_PARTS: Final = tuple(f"file-{number}.part" for number in range(AT_ONCE))
_AHEAD: Final = 16 * CHUNK  # bytes that may wait in memory before the disk gets to work


class Unreadable(Exception):
    """A source can't give this file; the next one is asked."""


def fill(writing: Writing, folder: int, sources: Sources) -> Manifest:
    """Copy all files into a half-made replica; what an interrupted attempt left and is right stays.

    Raises Rejected when no place has a file, Transient when there is no room, Conflict when an upload
    changes while it is read.
    """
    manifest = sources.manifest()
    with _workplace(writing, folder) as place:
        if manifest is None:
            manifest = _ingest(place, sources)
        else:
            _refuse_without_room(folder, manifest.size)
            in_threads(partial(_had, place, sources), manifest.entries)
    remove_others(writing, folder, manifest)
    refuse_clashes(folder, manifest)
    bring_to_disk(folder, manifest)
    return manifest


def repair(writing: Writing, folder: int, manifest: Manifest, how: str, sources: Sources) -> None:
    """Replace the files that are not what the manifest says, each whole; remove those it does not know."""
    wanted = {entry.path: entry for entry in manifest.entries}
    bad = [path_of(field) for field in differences(folder, manifest, how)]
    for path in bad:
        if path not in wanted:
            *way, name = path.split("/")
            with folders.below(folder, way) as parent:
                writing.remove(parent, name)
    with _workplace(writing, folder) as place:
        for path in bad:
            if path in wanted and not _only_the_time(writing, folder, wanted[path]):
                _fetch_to_place(place, wanted[path], sources)
    bring_to_disk(folder, manifest)


# -- one file --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Place:
    """An open replica, and our own part of it, where a file is called `part` until it is whole."""

    writing: Writing
    folder: int
    ours: int
    part: str = _PARTS[0]

    def of(self, thread: int) -> _Place:
        """The same for one of several threads."""
        return replace(self, part=_PARTS[thread])


@contextmanager
def _workplace(writing: Writing, folder: int) -> Iterator[_Place]:
    """Without what a killed run left of files."""
    with folders.below(folder, (OURS,)) as ours:
        for part in _PARTS:
            writing.remove(ours, part)
        yield _Place(writing, folder, ours)


def _had(place: _Place, sources: Sources, thread: int, entry: Entry) -> None:
    if not _has(place.folder, entry):
        _fetch_to_place(place.of(thread), entry, sources)


def _fetch_to_place(place: _Place, entry: Entry, sources: Sources) -> None:
    """The right bytes, from the first source that has them; whole at its place by one rename."""
    for source in sources.all:
        with suppress(Unreadable):
            found = _copy(place, source, entry.path, entry.changed)
            if found.sha256 == entry.sha256:
                _to_place(place, entry.path)
                return
        place.writing.remove(place.ours, place.part)
    hint = "bring the upload back, or remove the rule"
    raise Rejected(f"no place has {entry.path} with the right content; tried: {sources.tried()}", hint=hint)


def _to_place(place: _Place, path: str) -> None:
    *way, name = path.split("/")
    with place.writing.folder(place.folder, way) as parent:
        if _is_folder(parent, name):
            place.writing.remove(parent, name)
        place.writing.rename(place.ours, place.part, parent, name)


def _is_folder(folder: int, name: str) -> bool:
    with suppress(FileNotFoundError):
        return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    return False


def _copy(place: _Place, source: Source, path: str, changed: int | None = None) -> Entry:
    """Copy one file to its temporary place, and say what it was. OSErrors are those of the writing.

    `changed` is the time of change that the copy gets, else that of the source.
    """
    with ExitStack() as stack:
        file = _open_source(stack, source, path)
        out = stack.enter_context(place.writing.new_file(place.ours, place.part))
        before = os.fstat(file)
        size, sha256 = _stream(place.writing, file, out, source.label)
        after = os.fstat(file)
        if (before.st_size, before.st_mtime_ns) != (size, after.st_mtime_ns) or after.st_size != size:
            raise Conflict(f"{path} of {source.label} changed while it was read")
        place.writing.set_time(out, before.st_mtime_ns if changed is None else changed)
        return Entry(path, size, sha256, before.st_mtime_ns)


def _open_source(stack: ExitStack, source: Source, path: str) -> int:
    try:
        return stack.enter_context(folders.opened_file(source.folder, path))
    except OSError as error:
        raise Unreadable(f"{path} of {source.label}: {error}") from error


def _stream(writing: Writing, file: int, out: int, label: str) -> tuple[int, str]:
    digest, size, begun = hashlib.sha256(usedforsecurity=False), 0, 0
    buffer = memoryview(bytearray(CHUNK))
    while piece := _piece(file, buffer, label):
        digest.update(piece)
        writing.write(out, piece)
        size += len(piece)
        if size - begun >= _AHEAD:
            writing.hasten(out, begun, size)
            begun = size
    writing.hasten(out, begun, size)
    return size, digest.hexdigest()


def _piece(file: int, buffer: memoryview, label: str) -> memoryview:
    try:
        return buffer[: os.readv(file, [buffer])]
    except OSError as error:
        raise Unreadable(f"{label}: {error}") from error


def _has(folder: int, entry: Entry) -> bool:
    """Is this file here already, whole? Its time is set last, so what is not whole is seen cheaply."""
    with suppress(OSError), folders.opened_file(folder, entry.path) as file:
        status = os.fstat(file)
        if (status.st_size, status.st_mtime_ns) != (entry.size, entry.changed):
            return False
        return checksum(folder, entry.path) == entry.sha256
    return False


def _only_the_time(writing: Writing, folder: int, entry: Entry) -> bool:
    """Is the content right, so that setting the time of change is all that is needed? Then it is set."""
    with suppress(OSError):
        if checksum(folder, entry.path) != entry.sha256:
            return False
        *way, name = entry.path.split("/")
        with folders.below(folder, way) as parent, folders.opened_file(parent, name) as file:
            writing.set_time(file, entry.changed)
        return True
    return False


# -- the first copy --------------------------------------------------------------------------


def _ingest(place: _Place, sources: Sources) -> Manifest:
    """Make a replica, and its manifest, from the first upload that is there."""
    if not sources.uploads:
        hint = "put the data below the target's `uploads`, or correct spec.source"
        raise Rejected(f"there is no copy and no upload; tried: {sources.tried()}", hint=hint)
    upload = sources.uploads[0]
    listed = _listed(upload)
    _refuse_without_room(place.folder, sum(found.status.st_size for found in listed))
    entries = in_threads(partial(_taken, place, upload), listed)
    return Manifest(tuple(sorted(entries)))


def _listed(upload: Source) -> list[folders.Found]:
    try:
        listed = list(folders.walk(upload.folder))
        for found in listed:
            check_path(found.path)
    except (RecursionError, ValueError) as error:
        raise Rejected(f"{upload.label}: {error}") from error
    odd = [found.path for found in listed if not found.is_file]
    if odd:
        hint = "a data set holds plain files only; copy what the links point to"
        raise Rejected(f"{upload.label} has links or special files: {', '.join(odd[:3])}", hint=hint)
    if not listed:
        raise Rejected(f"{upload.label} holds no files")
    return listed


def _taken(place: _Place, upload: Source, thread: int, found: folders.Found) -> Entry:
    here = _left(place.folder, found)
    if here is not None and here.sha256 == _sum_of(upload, found.path):
        return here
    try:
        entry = _copy(place.of(thread), upload, found.path)
    except Unreadable as error:
        raise Conflict(f"the upload changed while it was read: {error}") from error
    _to_place(place.of(thread), found.path)
    return entry


def _left(folder: int, found: folders.Found) -> Entry | None:
    """What an interrupted attempt left of this file, when size and time say that it may be whole."""
    with suppress(OSError), folders.opened_file(folder, found.path) as file:
        here = os.fstat(file)
        if (here.st_size, here.st_mtime_ns) == (found.status.st_size, found.status.st_mtime_ns):
            return Entry(found.path, here.st_size, sha256_of(file), here.st_mtime_ns)
    return None


def _sum_of(upload: Source, path: str) -> str:
    """What the upload holds, read anew: after a power cut a file of the right size may hold anything."""
    with suppress(OSError):
        return checksum(upload.folder, path)
    return ""


# -- the whole -------------------------------------------------------------------------------


def _refuse_without_room(folder: int, size: int) -> None:
    here = sum(found.status.st_size for found in folders.walk(folder, skip=OURS))
    free = free_bytes(folder)
    if size - here > free:
        raise no_room(size - here, free)


def no_room(needed: int, free: int) -> Transient:
    """The disk is full: how much is needed."""
    return Transient(f"no room: {needed} bytes are needed, {max(free, 0)} are free", hint="make room there")
