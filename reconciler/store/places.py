"""Where the store is: one SQLite file, or a schema in a PostgreSQL database."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from reconciler.errors import UsageError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from reconciler.store.lease import Lease

SCHEMA: Final = "1"
"""Raise it with any change of a table. There are no migrations: the old store is set aside."""

_HINT: Final = "expected a path, sqlite:///PATH, or postgresql://USER@HOST:PORT/DATABASE"


class Found(StrEnum):
    """What is at the place of the store."""

    NOTHING = "nothing"
    OURS = "ours"
    OTHER_SCHEMA = "other schema"
    OTHER_OWNER = "other owner"
    FOREIGN = "foreign"
    CORRUPT = "corrupt"


def judged(tables: Collection[str], facts: Mapping[str, str], owner: str) -> Found:
    """What these tables are, given what their table `meta` says."""
    if not tables:
        return Found.NOTHING
    if "schema" not in facts or "owner" not in facts:
        return Found.FOREIGN
    if facts["owner"] != owner:
        return Found.OTHER_OWNER
    return Found.OURS if facts["schema"] == SCHEMA else Found.OTHER_SCHEMA


class Place(Protocol):
    """What SQLite and PostgreSQL do differently."""

    owner: str

    def rows(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """The rows of a select; none where there is no store of ours to read. Creates nothing."""
        ...

    def is_ours(self) -> bool:
        """Is there a store that this version can write to?"""
        ...

    def lease(self) -> Lease:
        """Take the one lock of this owner. Raises Locked."""
        ...

    def prepare(self) -> None:
        """Make room, under the lease, for tables of ours: set aside what can't be used."""
        ...

    def engines(self) -> tuple[Engine, Engine]:
        """(ordinary, durable): the second one's commits are on the disk when they return."""
        ...

    def translated(self) -> AbstractContextManager[None]:
        """Database errors as ours, with what to do."""
        ...


def place_of(location: str | Path, owner: str, warn: Callable[[str], None]) -> Place:
    """The place that a path or an SQLAlchemy URL names. Raises UsageError."""
    text = str(location)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return _sqlite(Path(text), owner, warn)
    if scheme == "sqlite" and rest.startswith("/"):
        return _sqlite(Path(rest[1:]), owner, warn)
    if scheme in ("postgresql", "postgresql+psycopg", "postgres"):
        from reconciler.store.postgresql import PostgresPlace  # noqa: PLC0415  loads SQLAlchemy

        return PostgresPlace(f"postgresql+psycopg://{rest}", owner, warn)
    raise UsageError(f"'{scheme}://…' is no place for a store", hint=_HINT)


def _sqlite(path: Path, owner: str, warn: Callable[[str], None]) -> Place:
    from reconciler.store.sqlite import SqlitePlace  # noqa: PLC0415  only where it is used

    if not path.name:
        raise UsageError("the store names no file", hint=_HINT)
    return SqlitePlace(path, owner, warn)
