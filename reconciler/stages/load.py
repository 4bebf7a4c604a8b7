"""First stage: a commit (or a working tree) → the documents that are ours, each with path:line.

Reads blobs through git, never a checkout: no symlink is followed, no filter or hook acts. A file is ours
when it holds an object of ours; what cannot be read could have been, so the snapshot says `unreadable`, and
nothing is removed in that pass.
"""

from __future__ import annotations

import gc
import hashlib
import os
import re
import stat
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from reconciler.blob_cache import BlobCache, Entry, open_cache
from reconciler.errors import InvalidRepository, Problem
from reconciler.git import Repository, blob_id, open_work_tree
from reconciler.model import Json
from reconciler.printable import printable
from reconciler.resources import schema_names

SETTINGS: Final = "reconciler.yaml"
MAX_FILES: Final = 200_000
FILE_LIMIT: Final = 2**20
_NOT_OURS: Final = ("catalogue", "roles")
_OUR_VERSION = re.compile(r"reconciler(?![a-z])", re.IGNORECASE)
_SYMLINK: Final = "120000"
_SUBMODULE: Final = "160000"


@dataclass(frozen=True, slots=True)
class Document:
    """One object as it stands in a file: `index` counts the documents of the file from 0, `line` from 1."""

    path: str
    line: int
    index: int
    blob: str
    value: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything of ours in one commit. A working tree has no revision.

    `settings` is what reconciler.yaml holds, None where there is none. `unreadable`: a file could not be
    read, so what it held is not known. `read` gives the bytes of some of the `blobs` (path → id) again.
    """

    revision: str
    committed: datetime
    documents: tuple[Document, ...]
    settings: Json | None
    problems: tuple[Problem, ...]
    blobs: Mapping[str, str]
    unreadable: bool
    read: Callable[[Sequence[str]], Iterator[bytes]] = field(repr=False, compare=False)
    cache: BlobCache = field(default_factory=BlobCache, repr=False, compare=False)


def load(repository: Repository, revision: str, cache_dir: Path | None, *, trusted: bool = False) -> Snapshot:
    """What is ours in a commit. `revision` is one that `repository.resolve` gave.

    The trusted ref has a cache of its own, which no other ref is ever written into. Raises
    InvalidRepository when git can't read the commit.
    """
    cache_path = _cache_path(cache_dir, repository.directory, "trusted" if trusted else "head")
    blobs, problems = _listed(repository, revision)
    with without_collection():
        cache = open_cache(cache_path)
        keys = {_key(path, blob): blob for path, blob in blobs.items()}
        cache.use(keys)
        missing = sorted(key for key in keys if key not in cache.entries)
        contents = repository.read([keys[key] for key in missing], FILE_LIMIT)
        for key, (_, data) in zip(missing, contents, strict=True):
            cache.add(key, parse(data, key, cache.used))

    def read(paths: Sequence[str]) -> Iterator[bytes]:
        return (data for _, data in repository.read([blobs[path] for path in paths], FILE_LIMIT))

    return _snapshot(revision, repository.commit_time(revision), blobs, problems, cache, read)


def _listed(repository: Repository, revision: str) -> tuple[dict[str, str], list[Problem]]:
    """Path → blob id of all candidates in a commit, and those that are no plain files."""
    blobs: dict[str, str] = {}
    problems: list[Problem] = []
    for entry in repository.tree(revision):
        if is_candidate(entry.path) and entry.mode == _SYMLINK:
            problems.append(_symlink(entry.path))
        elif is_candidate(entry.path) and entry.mode != _SUBMODULE:
            blobs[entry.path] = entry.blob
    _check_count(blobs)
    return blobs, problems


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
    known = repository.work_tree() if repository else dict.fromkeys(_walk(directory), "")
    candidates = sorted((path, blob) for path, blob in known.items() if is_candidate(path))
    _check_count(candidates)
    with without_collection():
        cache = open_cache(_cache_path(cache_dir, directory, "files"))
        blobs, problems = _read_files(directory, candidates, cache)
        cache.use({_key(path, blob) for path, blob in blobs.items()})

    def read(paths: Sequence[str]) -> Iterator[bytes]:
        return (_read_file(f"{directory}/{path}") for path in paths)

    return _snapshot("", datetime.fromtimestamp(0, UTC), blobs, problems, cache, read)


def _read_files(
    directory: Path, candidates: Sequence[tuple[str, str]], cache: BlobCache
) -> tuple[dict[str, str], list[Problem]]:
    """Path → blob id, reading what the cache does not know; files that are gone are left out."""
    blobs: dict[str, str] = {}
    problems: list[Problem] = []
    plain: dict[str, bool] = {"": True}
    example = next((blob for _, blob in candidates if blob), "")
    for path, blob in candidates:
        if not _is_plain(directory, path.rpartition("/")[0], plain):
            continue  # behind a symlinked folder; git says that it is gone
        if blob and _key(path, blob) in cache.entries:
            blobs[path] = blob
            continue
        try:
            data = _read_file(f"{directory}/{path}")
        except FileNotFoundError:
            continue
        except OSError:
            problems.append(_symlink(path))
            continue
        blobs[path] = blob_id(data, example)
        key = _key(path, blobs[path])
        if key not in cache.entries:
            cache.add(key, parse(data, key, cache.used + 1))
    return blobs, problems


def _is_plain(directory: Path, folder: str, known: dict[str, bool]) -> bool:
    """Is no part of this folder's path a symlink?"""
    if folder not in known:
        above = _is_plain(directory, folder.rpartition("/")[0], known)
        known[folder] = above and not (directory / folder).is_symlink()
    return known[folder]


def _read_file(path: str) -> bytes:
    """At most the limit and one byte. Raises OSError for symlinks and what is no regular file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("not a regular file")
        chunks = []
        rest = FILE_LIMIT + 1
        while rest and (chunk := os.read(descriptor, rest)):
            chunks.append(chunk)
            rest -= len(chunk)
        return b"".join(chunks)
    finally:
        os.close(descriptor)


def _walk(directory: Path) -> Iterator[str]:
    """The files below a directory, symlinked folders not entered."""
    for folder, folders, files in os.walk(directory, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            yield os.path.relpath(Path(folder) / name, directory)


def is_candidate(path: str) -> bool:
    """Could this file hold objects of ours? Hidden files and the catalogue's and roles' own files can't."""
    if not path.lower().endswith((".yaml", ".yml")):
        return False
    if path[0] == "." or "/." in path:
        return False
    return path.partition("/")[0] not in _NOT_OURS or "/" not in path


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


def _key(path: str, blob: str) -> str:
    """Under which name the cache knows a file: reconciler.yaml is read in another way than the others."""
    return f"settings:{blob}" if path == SETTINGS else blob


def parse(data: bytes, key: str = "", used: int = 0) -> Entry:
    """The objects of ours in a file (all documents of reconciler.yaml), or why it can't be read."""
    from reconciler.strict_yaml import YamlError, read  # noqa: PLC0415  a warm run parses nothing

    try:
        documents = [(found.index, found.line, found.value) for found in read(data)]
    except YamlError as error:
        problem = (error.line, error.column, error.code, error.message, error.hint)
        return Entry(used, [], [problem])
    if key.startswith("settings:"):
        return Entry(used, documents, [])
    return Entry(used, [entry for entry in documents if is_ours(entry[2])], [])


def is_ours(value: Json) -> bool:
    """Is this an object of ours, or meant to be one (a wrong or missing apiVersion)?"""
    if not isinstance(value, dict):
        return False
    version = value.get("apiVersion")
    if isinstance(version, str):
        return _OUR_VERSION.match(version) is not None
    kind = value.get("kind")
    return isinstance(kind, str) and kind in _kinds() and ("metadata" in value or "spec" in value)


def _kinds() -> frozenset[str]:
    return frozenset(schema_names()) - {"Settings"}


def _snapshot(
    revision: str,
    committed: datetime,
    blobs: Mapping[str, str],
    problems: list[Problem],
    cache: BlobCache,
    read: Callable[[Sequence[str]], Iterator[bytes]],
) -> Snapshot:
    """Put the entries of all blobs together, in the order of the paths."""
    documents: list[Document] = []
    for path in sorted(blobs):
        blob = blobs[path]
        entry = cache.entries[_key(path, blob)]
        if entry.problems:
            problems.extend(_problem(path, *problem) for problem in entry.problems)
        found = [Document(path, line, index, blob, value) for index, line, value in entry.documents]
        if found and not path.isprintable():
            problems.append(_bad_name(path, found[0].line))
            continue
        documents.extend(found)
    settings = [document for document in documents if document.path == SETTINGS]
    if settings:
        documents = [document for document in documents if document.path != SETTINGS]
    problems.extend(_problem(SETTINGS, extra.line, 1, "Settings", _ONE, "") for extra in settings[1:])
    return Snapshot(
        revision=revision,
        committed=committed,
        documents=tuple(documents),
        settings=settings[0].value if settings else None,
        problems=tuple(sorted(problems)),
        blobs=blobs,
        unreadable=any(problem.path != SETTINGS for problem in problems),
        read=read,
        cache=cache,
    )


_ONE: Final = "reconciler.yaml holds more than one document"
_MOVE: Final = "a file that is none of ours may be in a folder whose name begins with a dot"


def _problem(path: str, line: int, column: int, code: str, message: str, hint: str) -> Problem:
    return Problem(printable(path), line, column, code, message, hint)


def _symlink(path: str) -> Problem:
    message = "a symbolic link, or no plain file; it is not followed"
    return _problem(path, 1, 1, "Symlink", message, f"put the file itself here; {_MOVE}")


def _bad_name(path: str, line: int) -> Problem:
    message = "the name of this file holds characters that can't be printed"
    return _problem(path, line, 1, "FileName", message, "rename it")
