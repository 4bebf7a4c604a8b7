"""First stage: a commit (or a working tree) → the documents that are ours, each with path:line.

Reads blobs through git, never a checkout: no symlink is followed, no filter or hook acts. A file is ours
when it holds an object of ours; what cannot be read could have been, so the snapshot says `unreadable`, and
nothing is removed in that pass.
"""

from __future__ import annotations

import gc
import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from reconciler.errors import InvalidRepository, Problem
from reconciler.source.blob_cache import BlobCache, open_cache
from reconciler.source.files import hashed, read_file, read_files, walk
from reconciler.source.git import Repository, open_work_tree
from reconciler.source.parse import (
    LIMIT,
    SETTINGS,
    is_candidate,
    is_of_library,
    key_of,
    parse,
    problem_in,
    symlink_problem,
)
from reconciler.source.snapshot import Document, Snapshot

MAX_FILES: Final = 200_000
_SYMLINK: Final = "120000"
_SUBMODULE: Final = "160000"


def load(repository: Repository, revision: str, cache_dir: Path | None, *, trusted: bool = False) -> Snapshot:
    """What is ours in a commit. `revision` is one that `repository.resolve` gave.

    The trusted ref has a cache of its own, which no other ref is ever written into. Raises
    InvalidRepository when git can't read the commit.
    """
    cache_path = _cache_path(cache_dir, repository.directory, "trusted" if trusted else "head")
    blobs, library, problems = _listed(repository, revision)
    with without_collection():
        cache = open_cache(cache_path)
        keys = {key_of(path, blob): blob for path, blob in blobs.items()}
        cache.use(keys)
        missing = sorted(key for key in keys if key not in cache.entries)
        contents = repository.read([keys[key] for key in missing], LIMIT)
        for key, (_, data) in zip(missing, contents, strict=True):
            cache.add(key, parse(data, key, cache.used))

    def read(paths: Sequence[str]) -> Iterator[bytes]:
        ids = [blobs.get(path) or library[path] for path in paths]
        return (data for _, data in repository.read(ids, LIMIT))

    return _snapshot(revision, repository.commit_time(revision), blobs, library, problems, cache, read)


def _listed(repository: Repository, revision: str) -> tuple[dict[str, str], dict[str, str], list[Problem]]:
    """Path → blob id of all candidates in a commit, the same of the library, and what is no plain file."""
    blobs: dict[str, str] = {}
    library: dict[str, str] = {}
    problems: list[Problem] = []
    for entry in repository.tree(revision):
        candidate = is_candidate(entry.path)
        if entry.mode == _SUBMODULE or not (candidate or is_of_library(entry.path)):
            continue
        if entry.mode == _SYMLINK:
            problems.append(symlink_problem(entry.path))
        else:
            (blobs if candidate else library)[entry.path] = entry.blob
    _check_count(blobs)
    return blobs, library, problems


def _cache_path(cache_dir: Path | None, directory: Path, purpose: str) -> Path | None:
    if cache_dir is None:
        return None
    name = hashlib.sha256(os.fsencode(directory.resolve())).hexdigest()[:16]
    return cache_dir / f"blobs-{purpose}-{name}.json"


def load_worktree(directory: Path, cache_dir: Path | None = None) -> Snapshot:
    """What is ours in the files of a directory, tracked by git or not (but not ignored), or without any git.

    Raises InvalidRepository when the directory can't be read.
    """
    if not directory.is_dir():
        raise InvalidRepository(
            f"there is no directory '{directory}'", hint="give the folder of a repository"
        )
    repository = open_work_tree(directory)
    files = repository.work_tree() if repository else sorted(walk(directory))
    candidates = [path for path in files if is_candidate(path)]
    _check_count(candidates)
    with without_collection():
        cache = open_cache(_cache_path(cache_dir, directory, "files"))
        blobs, problems = read_files(directory, candidates, cache)
        cache.use({key_of(path, blob) for path, blob in blobs.items()})
    library, more = hashed(directory, [path for path in files if is_of_library(path)])

    def read(paths: Sequence[str]) -> Iterator[bytes]:
        return (read_file(f"{directory}/{path}") for path in paths)

    problems += more
    return _snapshot("", datetime.fromtimestamp(0, UTC), blobs, library, problems, cache, read)


def _check_count(found: Collection[object]) -> None:
    if len(found) > MAX_FILES:
        message = f"{len(found):,} YAML files; the limit is {MAX_FILES:,}"
        raise InvalidRepository(message, hint="split the repository")


@contextmanager
def without_collection() -> Iterator[None]:
    """Tens of thousands of small objects are made and none is garbage: don't look for cycles meanwhile."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _snapshot(
    revision: str,
    committed: datetime,
    blobs: Mapping[str, str],
    library: Mapping[str, str],
    problems: list[Problem],
    cache: BlobCache,
    read: Callable[[Sequence[str]], Iterator[bytes]],
) -> Snapshot:
    """Put the entries of all blobs together, in the order of the paths."""
    documents: list[Document] = []
    for path in sorted(blobs):
        blob = blobs[path]
        entry = cache.entries[key_of(path, blob)]
        if entry.problems:
            problems.extend(problem_in(path, *problem) for problem in entry.problems)
        found = [Document(path, line, index, blob, value) for index, line, value in entry.documents]
        if found and not path.isprintable():
            problems.append(_bad_name(path, found[0].line))
            continue
        documents.extend(found)
    settings = [document for document in documents if document.path == SETTINGS]
    if settings:
        documents = [document for document in documents if document.path != SETTINGS]
    problems.extend(problem_in(SETTINGS, extra.line, 1, "Settings", _ONE, "") for extra in settings[1:])
    return Snapshot(
        revision=revision,
        committed=committed,
        documents=tuple(documents),
        settings=settings[0].value if settings else None,
        problems=tuple(sorted(problems)),
        blobs=blobs,
        library=library,
        unreadable=any(problem.path != SETTINGS and not is_of_library(problem.path) for problem in problems),
        read=read,
        cache=cache,
    )


_ONE: Final = "reconciler.yaml holds more than one document"


def _bad_name(path: str, line: int) -> Problem:
    message = "the name of this file holds characters that can't be printed"
    return problem_in(path, line, 1, "FileName", message, "rename it")
