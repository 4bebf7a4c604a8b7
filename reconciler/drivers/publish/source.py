"""The directory of uploads: opening what lies in it and never what lies outside, and walking a directory.

Links inside the directory are followed (people keep `latest -> 6.32`), links out of it are refused. The real
path is opened piece by piece without following anything, so that nothing can be swapped in between.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from reconciler.drivers.publish.stream import PIECE, Limits, escaped, refused
from reconciler.drivers.publish.tar import Content, Member, Sort
from reconciler.errors import Rejected

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def open_source(uploads: str, source: str, target: str) -> Iterator[int]:
    """A descriptor of the file or directory `source` below `uploads`. Raises Rejected: missing, outside."""
    root = os.path.realpath(uploads)
    real = os.path.realpath(os.path.join(root, source))
    if os.path.commonpath([root, real]) != root or real == root:
        raise Rejected(
            f"the source {escaped(source)} lies outside the uploads of {target}",
            hint="`spec.source` is a path inside the uploads; links out of it are not followed",
        )
    try:
        descriptor = _open_beneath(root, os.path.relpath(real, root))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _missing(source, target) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _missing(source: str, target: str) -> Rejected:
    return Rejected(
        f"the source {escaped(source)} is not in the uploads of {target}",
        hint="upload it again; what is published and whole does not need its source any more",
    )


def _open_beneath(root: str, path: str) -> int:
    descriptor = os.open(root, _FLAGS | os.O_DIRECTORY)
    for piece in path.split("/"):
        try:
            following = os.open(piece, _FLAGS, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = following
    return descriptor


def is_folder(descriptor: int, source: str) -> bool:
    """Is the opened source a directory? Raises Rejected where it is neither that nor a regular file."""
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise refused(source, "is neither a file nor a directory")
    return stat.S_ISDIR(mode)


def folder_members(descriptor: int, limits: Limits) -> Iterator[tuple[Member, Content]]:
    """Every entry below an opened directory, sorted, as if it came from an archive."""
    return _members(descriptor, "", limits)


def _members(descriptor: int, prefix: str, limits: Limits) -> Iterator[tuple[Member, Content]]:
    if prefix.count("/") > limits.depth:
        raise refused(prefix, f"lies deeper than {limits.depth} folders")
    for name in sorted(os.listdir(descriptor)):
        facts = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        path = prefix + name
        if stat.S_ISLNK(facts.st_mode):
            yield Member(path, Sort.SYMLINK, link=os.readlink(name, dir_fd=descriptor)), iter(())
        elif stat.S_ISDIR(facts.st_mode):
            yield Member(path, Sort.FOLDER), iter(())
            yield from _below(descriptor, name, path + "/", limits)
        elif stat.S_ISREG(facts.st_mode):
            yield from _file(descriptor, name, path)
        else:
            raise refused(path, "is neither a file, a directory nor a link")


def _below(descriptor: int, name: str, prefix: str, limits: Limits) -> Iterator[tuple[Member, Content]]:
    following = os.open(name, _FLAGS | os.O_DIRECTORY, dir_fd=descriptor)
    try:
        yield from _members(following, prefix, limits)
    finally:
        os.close(following)


def _file(descriptor: int, name: str, path: str) -> Iterator[tuple[Member, Content]]:
    opened = os.open(name, _FLAGS, dir_fd=descriptor)
    try:
        facts = os.fstat(opened)
        executable = bool(facts.st_mode & stat.S_IXUSR)
        yield (
            Member(path, Sort.FILE, facts.st_size, executable, facts.st_mtime_ns),
            _content(opened, path, facts.st_size),
        )
    finally:
        os.close(opened)


def _content(descriptor: int, path: str, size: int) -> Iterator[bytes]:
    """Exactly `size` bytes: a file that grows or shrinks while it is read is refused."""
    while piece := os.read(descriptor, PIECE):
        size -= len(piece)
        if size < 0:
            break
        yield piece
    if size:
        raise refused(path, "changed while it was read")
