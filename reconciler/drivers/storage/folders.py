"""Reading directories without ever following a symbolic link below the one we started from.

Everything is opened step by step with O_NOFOLLOW, so that nobody who may write into a directory can lead us
out of it, not even between a check and a use. Nothing here writes.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe must not block us
DEEPEST: Final = 64
_PIECE: Final = 65536  # bytes in one call: receipts fit
_MOST: Final = 16384  # such pieces: 1 GiB is more than any manifest


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that is not a directory, by its path below where the walk began."""

    path: str
    status: os.stat_result

    @property
    def is_file(self) -> bool:
        """Is it a plain file, no link, device, socket or pipe?"""
        return stat.S_ISREG(self.status.st_mode)


@contextmanager
def opened(path: str | Path) -> Iterator[int]:
    """A directory that the operator named: links on the way to it are theirs."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield folder
    finally:
        os.close(folder)


@contextmanager
def below(folder: int, names: Sequence[str]) -> Iterator[int]:
    """A directory below an open one. Raises OSError when a step is absent, a link or no directory."""
    current = os.open(".", FOLDER, dir_fd=folder)
    try:
        for name in names:
            following = os.open(name, FOLDER, dir_fd=current)
            os.close(current)
            current = following
        yield current
    finally:
        os.close(current)


def is_there(folder: int, name: str) -> bool:
    """Is there anything of that name, a dangling link included?"""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def names_in(folder: int) -> list[str]:
    """The names of all entries, sorted."""
    return sorted(os.listdir(folder))


def folders_in(folder: int) -> list[str]:
    """The names of the real directories that are not hidden, sorted."""
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.name[0] != "." and e.is_dir(follow_symlinks=False))


def read(folder: int, name: str) -> bytes:
    """A small plain file. Raises OSError, FileNotFoundError among them."""
    file = os.open(name, FILE, dir_fd=folder)
    try:
        content = os.read(file, _PIECE)
        if len(content) < _PIECE:
            return content
        pieces = [content]
        while content and len(pieces) < _MOST:
            content = os.read(file, _PIECE)
            pieces.append(content)
        return b"".join(pieces)
    finally:
        os.close(file)


def walk(folder: int, *, skip: str = "") -> Iterator[Found]:
    """Everything that is not a directory, by sorted names; `skip` is left out at the top only.

    Raises RecursionError below 64 directories.
    """
    yield from _walk(folder, "", skip, 0)


def _walk(folder: int, prefix: str, skip: str, depth: int) -> Iterator[Found]:
    if depth > DEEPEST:
        raise RecursionError(f"{prefix[:80]}… lies more than {DEEPEST} directories deep")
    for name in names_in(folder):
        if name == skip and not prefix:
            continue
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode):
            yield Found(prefix + name, status)
            continue
        inner = os.open(name, FOLDER, dir_fd=folder)
        try:
            yield from _walk(inner, f"{prefix}{name}/", skip, depth + 1)
        finally:
            os.close(inner)


@contextmanager
def opened_file(folder: int, path: str) -> Iterator[int]:
    """A plain file below an open directory, for reading. Raises OSError for anything else."""
    *way, name = path.split("/")
    if way:
        with below(folder, way) as parent:
            file = os.open(name, FILE, dir_fd=parent)
    else:
        file = os.open(name, FILE, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(f"{path} is not a plain file")
        yield file
    finally:
        os.close(file)


def is_locked(folder: int) -> bool:
    """Is somebody at work in this directory right now? See `Writing.lock`."""
    try:
        fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(folder, fcntl.LOCK_UN)
    return False
