"""The store as one SQLite file, read with the standard library alone: starting SQLAlchemy costs more
than a quiet pass may.

Beside `<file>` lie SQLite's own `-wal` and `-shm`, the lock, and older stores as `<file>.old-<n>`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from reconciler.errors import Transient, UsageError
from reconciler.store.lease import FileLease
from reconciler.store.places import SCHEMA, Found, judged

if TYPE_CHECKING:
    from sqlalchemy import Engine

_PATIENCE: Final = 30.0  # seconds to wait for another process's transaction
_OF_THE_FILE: Final = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_OF_THE_DISK: Final = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_BUSY", "SQLITE_CANTOPEN", "SQLITE_READONLY")
_BESIDE: Final = ("-wal", "-shm", "-journal")


class SqlitePlace:
    """Where the store of one owner is: a file in a private folder."""

    def __init__(self, path: Path, owner: str, warn: Callable[[str], None]) -> None:
        self.path = path.absolute()
        self.owner = owner
        self._warn = warn
        self._warned = False

    def __str__(self) -> str:
        return str(self.path)

    def rows(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """The rows of a select; none where there is no store of ours to read. Creates nothing."""
        if not self.path.exists():
            return []
        with _explained(self.path):
            try:
                return self._select(statement, parameters)
            except sqlite3.DatabaseError as error:
                if not _broken(error):
                    raise
                self._say_unreadable(str(error))
                return []

    def _select(self, statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        connection = _reading(self.path)
        try:
            found = _examined(connection, self.owner)
            if found is Found.OTHER_SCHEMA:
                self._say_unreadable(f"it is not of schema {SCHEMA}")
            if found is not Found.OURS:
                return []
            rows: list[tuple[Any, ...]] = connection.execute(statement, parameters).fetchall()
            return rows
        finally:
            connection.close()

    def _say_unreadable(self, why: str) -> None:
        if not self._warned:
            self._warn(f"store {self.path}: {why}; read as empty; `apply` sets it aside")
        self._warned = True

    def is_ours(self) -> bool:
        """Is there a store that this version can write to?"""
        return bool(self.rows("SELECT key FROM meta"))

    def lease(self) -> FileLease:
        """Take the one lock of this owner. Raises Locked."""
        with _explained(self.path):
            _make_private(self.path.parent)
            return FileLease(self.path, self.owner)

    def prepare(self) -> None:
        """Make sure, under the lease, that a sound file of ours can be opened: set aside what is none."""
        with _explained(self.path):
            _make_private(self.path.parent)
            found, why = _checked(self.path, self.owner)
            if found in (Found.OTHER_SCHEMA, Found.CORRUPT):
                aside = self._set_aside()
                self._warn(f"store {self.path}: {why}; set aside as {aside.name}, starting an empty one")
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))

    def _set_aside(self) -> Path:
        number = 1
        while _aside(self.path, number).exists():
            number += 1
        aside = _aside(self.path, number)
        # The write-ahead log goes first: it belongs to this file and must never meet a new one.
        for suffix in (*_BESIDE, ""):
            source = Path(f"{self.path}{suffix}")
            if source.exists():
                source.rename(f"{aside}{suffix}")
        return aside

    def engines(self) -> tuple[Engine, Engine]:
        """(ordinary, durable): the second one's commits are on the disk when they return."""
        return _engine(self.path, "NORMAL"), _engine(self.path, "FULL")

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Database errors as ours, with what to do."""
        from sqlalchemy.exc import DBAPIError  # noqa: PLC0415  loaded on first write

        with _explained(self.path):
            try:
                yield
            except DBAPIError as error:
                if isinstance(error.orig, Exception):
                    raise error.orig from None
                raise


def _aside(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.old-{number}")


def _make_private(folder: Path) -> None:
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)


def _reading(path: Path) -> sqlite3.Connection:
    """A connection that refuses to write. Not `mode=ro`: that one leaves -wal and -shm behind."""
    uri = f"file:{quote(str(path))}"
    try:
        connection = sqlite3.connect(f"{uri}?mode=rw", uri=True, timeout=_PATIENCE)
        connection.execute("PRAGMA query_only=ON")
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        if not _cannot_write(error) or Path(f"{path}-wal").exists():
            raise
        return sqlite3.connect(f"{uri}?immutable=1", uri=True)  # a read-only folder, and nobody writes
    return connection


def _cannot_write(error: sqlite3.Error) -> bool:
    return error.sqlite_errorname.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN"))


def _examined(connection: sqlite3.Connection, owner: str) -> Found:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    facts = dict(connection.execute("SELECT key, value FROM meta")) if "meta" in tables else {}
    return judged(tables, facts, owner)


def _checked(path: Path, owner: str) -> tuple[Found, str]:
    """What is at this path, and why it can't be used. Reads all of it once: a run rests on it."""
    if not path.exists() or not path.stat().st_size:
        return Found.NOTHING, ""
    try:
        connection = _reading(path)
        try:
            found = _examined(connection, owner)
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        if not _broken(error):
            raise
        return Found.CORRUPT, str(error)
    if verdict != "ok":
        return Found.CORRUPT, "the file is damaged"
    if found in (Found.FOREIGN, Found.OTHER_OWNER):
        raise UsageError(
            f"{path} is not the store of owner '{owner}'",
            hint="name another file in `store:`",
        )
    return found, f"it is not of schema {SCHEMA}"


def _broken(error: sqlite3.Error) -> bool:
    """Is the file itself bad, and not just busy, full, or out of reach?"""
    name = getattr(error, "sqlite_errorname", "")
    return name.startswith((*_OF_THE_FILE, "SQLITE_ERROR"))  # SQLITE_ERROR: a table is not there


def _engine(path: Path, synchronous: str) -> Engine:
    from sqlalchemy import create_engine, event  # noqa: PLC0415  loaded on first write
    from sqlalchemy.pool import QueuePool  # noqa: PLC0415  loaded on first write

    def connect() -> sqlite3.Connection:
        uri = f"file:{quote(str(path))}?mode=rw"
        connection = sqlite3.connect(
            uri, uri=True, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={synchronous}")
        return connection

    engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool, pool_size=1)
    # The sqlite3 module begins transactions late and never for CREATE TABLE; ours begin at once.
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """What a file system or SQLite says, as an error that says who must act."""
    try:
        yield
    except PermissionError as error:
        raise UsageError(f"store {path}: {error.strerror}", hint="give this user the folder") from error
    except OSError as error:
        raise Transient(f"store {path}: {error.strerror}", hint=_FREE) from error
    except sqlite3.DatabaseError as error:
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith(_OF_THE_DISK):
            raise Transient(f"store {path}: {error}", hint=_FREE) from error
        if name.startswith(_OF_THE_FILE):
            raise Transient(f"store {path}: {error}", hint="run again: it is set aside then") from error
        raise  # a statement of ours is wrong


_FREE: Final = "free space in its folder, see that it can be written, then run again: nothing is lost"
