"""What was read of one commit: the documents of ours in it, each with its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from reconciler.errors import Problem
from reconciler.model import Json
from reconciler.source.blob_cache import BlobCache


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
    read, so what it held is not known. `library` are the files of the catalogue and of roles (path → id).
    `read` gives the bytes of some of the `blobs` (path → id) or of the library.
    """

    revision: str
    committed: datetime
    documents: tuple[Document, ...]
    settings: Json | None
    problems: tuple[Problem, ...]
    blobs: Mapping[str, str]
    library: Mapping[str, str]
    unreadable: bool
    read: Callable[[Sequence[str]], Iterator[bytes]] = field(repr=False, compare=False)
    cache: BlobCache = field(default_factory=BlobCache, repr=False, compare=False)
