"""Part of `load`: the files of a working tree, read without following a symlink anywhere."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from reconciler.errors import Problem
from reconciler.source.blob_cache import BlobCache
from reconciler.source.git import blob_id
from reconciler.source.parse import LIMIT, key_of, parse, symlink_problem


def read_files(
    directory: Path, paths: Sequence[str], cache: BlobCache
) -> tuple[dict[str, str], list[Problem]]:
    """Path → blob id; what the cache does not know is parsed. Files that are gone are left out.

    All files are read: asking git which ones changed since they were staged can run their filters.
    """
    blobs: dict[str, str] = {}
    problems: list[Problem] = []
    plain: dict[str, bool] = {"": True}
    for path in paths:
        if not _is_plain(directory, path.rpartition("/")[0], plain):
            continue  # behind a symlinked folder; git says that it is gone
        try:
            data = read_file(f"{directory}/{path}")
        except FileNotFoundError:
            continue
        except OSError:
            problems.append(symlink_problem(path))
            continue
        blobs[path] = blob_id(data)
        key = key_of(path, blobs[path])
        if key not in cache.entries:
            cache.add(key, parse(data, key, cache.used + 1))
    return blobs, problems


def hashed(directory: Path, paths: Sequence[str]) -> tuple[dict[str, str], list[Problem]]:
    """Path → blob id of plain files; those that are no plain files are problems."""
    blobs: dict[str, str] = {}
    problems: list[Problem] = []
    plain: dict[str, bool] = {"": True}
    for path in paths:
        if not _is_plain(directory, path.rpartition("/")[0], plain):
            continue
        try:
            blobs[path] = blob_id(read_file(f"{directory}/{path}"))
        except FileNotFoundError:
            continue
        except OSError:
            problems.append(symlink_problem(path))
    return blobs, problems


def _is_plain(directory: Path, folder: str, known: dict[str, bool]) -> bool:
    """Is no part of this folder's path a symlink?"""
    if folder not in known:
        above = _is_plain(directory, folder.rpartition("/")[0], known)
        known[folder] = above and not (directory / folder).is_symlink()
    return known[folder]


def read_file(path: str) -> bytes:
    """At most the limit and one byte. Raises OSError for symlinks and what is no regular file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("not a regular file")
        content = os.read(descriptor, LIMIT + 1)
        while len(content) <= LIMIT and (more := os.read(descriptor, LIMIT + 1 - len(content))):
            content += more
        return content
    finally:
        os.close(descriptor)


def walk(directory: Path) -> Iterator[str]:
    """The files below a directory, symlinked folders not entered."""
    for folder, folders, files in os.walk(directory, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            yield os.path.relpath(Path(folder) / name, directory)
