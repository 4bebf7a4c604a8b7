"""Filling and repairing a replica: every byte is hashed while it is written. WRITES, through `Writing`."""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import ExitStack, suppress

from reconciler.drivers.storage import folders
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
)
from reconciler.drivers.storage.sources import Source, Sources
from reconciler.drivers.storage.writing import Writing
from reconciler.errors import Conflict, Rejected, Transient

_PART = "file.part"


class Unreadable(Exception):
    """A source can't give this file; the next one is asked."""


def fill(writing: Writing, folder: int, sources: Sources) -> Manifest:
    """Copy all files into a half-made replica; what an interrupted attempt left and is right stays.

    Raises Rejected when no place has a file, Transient when there is no room, Conflict when an upload
    changes while it is read.
    """
    manifest = sources.manifest()
    if manifest is None:
        manifest = _ingest(writing, folder, sources)
    else:
        _refuse_without_room(folder, manifest.size)
        for entry in manifest.entries:
            if not _has(folder, entry):
                _fetch_to_place(writing, folder, entry, sources)
    _remove_others(writing, folder, manifest)
    _refuse_clashes(folder, manifest)
    _sync(folder, manifest)
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
    for path in bad:
        if path in wanted and not _only_the_time(writing, folder, wanted[path]):
            _fetch_to_place(writing, folder, wanted[path], sources)
    _sync(folder, manifest)


# -- one file --------------------------------------------------------------------------------


def _fetch_to_place(writing: Writing, folder: int, entry: Entry, sources: Sources) -> None:
    """The right bytes, from the first source that has them; whole at its place by one rename."""
    with folders.below(folder, (OURS,)) as ours:
        for source in sources.all:
            writing.remove(ours, _PART)
            try:
                found = _copy(writing, source, entry.path, ours)
            except Unreadable:
                continue
            if found.sha256 == entry.sha256:
                _place(writing, folder, ours, entry)
                return
        writing.remove(ours, _PART)
    hint = "bring the upload back, or remove the rule"
    raise Rejected(f"no place has {entry.path} with the right content; tried: {sources.tried()}", hint=hint)


def _place(writing: Writing, folder: int, ours: int, entry: Entry) -> None:
    *way, name = entry.path.split("/")
    with folders.opened_file(ours, _PART) as file:
        writing.set_time(file, entry.changed)
    with writing.folder(folder, way) as parent:
        if _is_folder(parent, name):
            writing.remove(parent, name)
        writing.rename(ours, _PART, parent, name)


def _is_folder(folder: int, name: str) -> bool:
    with suppress(FileNotFoundError):
        return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    return False


def _copy(writing: Writing, source: Source, path: str, ours: int) -> Entry:
    """Copy one file to its temporary place, and say what it was. OSErrors are those of the writing."""
    with ExitStack() as stack:
        file = _open_source(stack, source, path)
        out = stack.enter_context(writing.new_file(ours, _PART))
        before = os.fstat(file)
        size, sha256 = _stream(writing, file, out, source.label)
        after = os.fstat(file)
        if (before.st_size, before.st_mtime_ns) != (
            after.st_size,
            after.st_mtime_ns,
        ) or size != after.st_size:
            raise Conflict(f"{path} of {source.label} changed while it was read")
        return Entry(path, size, sha256, before.st_mtime_ns)


def _open_source(stack: ExitStack, source: Source, path: str) -> int:
    try:
        return stack.enter_context(folders.opened_file(source.folder, path))
    except OSError as error:
        raise Unreadable(f"{path} of {source.label}: {error}") from error


def _stream(writing: Writing, file: int, out: int, label: str) -> tuple[int, str]:
    digest, size = hashlib.sha256(usedforsecurity=False), 0
    buffer = memoryview(bytearray(CHUNK))
    while True:
        try:
            count = os.readv(file, [buffer])
        except OSError as error:
            raise Unreadable(f"{label}: {error}") from error
        if not count:
            return size, digest.hexdigest()
        digest.update(buffer[:count])
        writing.write(out, buffer[:count])
        size += count


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


def _ingest(writing: Writing, folder: int, sources: Sources) -> Manifest:
    """Make a replica, and its manifest, from the first upload that is there."""
    if not sources.uploads:
        hint = "put the data below the target's `uploads`, or correct spec.source"
        raise Rejected(f"there is no copy and no upload; tried: {sources.tried()}", hint=hint)
    upload = sources.uploads[0]
    listed = _listed(upload)
    _refuse_without_room(folder, sum(found.status.st_size for found in listed))
    entries = [_taken(writing, folder, upload, found) for found in listed]
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


def _taken(writing: Writing, folder: int, upload: Source, found: folders.Found) -> Entry:
    with suppress(OSError), folders.opened_file(folder, found.path) as file:
        here = os.fstat(file)
        if (here.st_size, here.st_mtime_ns) == (found.status.st_size, found.status.st_mtime_ns):
            return Entry(found.path, here.st_size, checksum(folder, found.path), here.st_mtime_ns)
    with folders.below(folder, (OURS,)) as ours:
        writing.remove(ours, _PART)
        try:
            entry = _copy(writing, upload, found.path, ours)
        except Unreadable as error:
            raise Conflict(f"the upload changed while it was read: {error}") from error
        _place(writing, folder, ours, entry)
    return entry


# -- the whole -------------------------------------------------------------------------------


def _refuse_without_room(folder: int, size: int) -> None:
    here = sum(found.status.st_size for found in folders.walk(folder, skip=OURS))
    free = free_bytes(folder)
    if size - here > free:
        raise no_room(size - here, free)


def no_room(needed: int, free: int) -> Transient:
    """The disk is full: how much is needed."""
    return Transient(f"no room: {needed} bytes are needed, {max(free, 0)} are free", hint="make room there")


def _remove_others(writing: Writing, folder: int, manifest: Manifest) -> None:
    wanted = {entry.path for entry in manifest.entries}
    for found in list(folders.walk(folder, skip=OURS)):
        if found.path not in wanted:
            *way, name = found.path.split("/")
            with folders.below(folder, way) as parent:
                writing.remove(parent, name)


def _refuse_clashes(folder: int, manifest: Manifest) -> None:
    """On file systems that do not tell upper from lower case two files would be one."""
    folded: dict[str, str] = {}
    for entry in manifest.entries:
        other = folded.setdefault(entry.path.casefold(), entry.path)
        if other != entry.path and _inode(folder, other) == _inode(folder, entry.path):
            raise Rejected(f"{other} and {entry.path} are one file on this file system; rename one")


def _inode(folder: int, path: str) -> int:
    with folders.opened_file(folder, path) as file:
        return os.fstat(file).st_ino


def _sync(folder: int, manifest: Manifest) -> None:
    """Have all files and directories on the disk; after all were written, which is faster."""
    ways: set[tuple[str, ...]] = {()}
    for entry in manifest.entries:
        *way, _ = entry.path.split("/")
        ways.update(tuple(way[:depth]) for depth in range(1, len(way) + 1))
        with folders.opened_file(folder, entry.path) as file:
            os.fsync(file)
    for names in sorted(ways, reverse=True):
        with folders.below(folder, names) as inner:
            os.fsync(inner)
