"""One lock per owner, which dies with its holder: between planning and writing, held all the time.

Beside SQLite it is `flock` on a file that is never deleted; on PostgreSQL a session's advisory lock.
What the lock says of its holder is for people only.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self

from reconciler.errors import Locked

if TYPE_CHECKING:
    import psycopg

Identity = tuple[int, int]

_GRACE_TRIES: Final = 15
_GRACE_PAUSE: Final = 0.1
_WAIT: Final = "wait for it, or end that process: the lock is freed when it ends"


class Lease(Protocol):
    """The lock, as long as it is held. A context manager: leaving it frees the lock."""

    @property
    def released(self) -> bool:
        """Was it given back, by us?"""
        ...

    def held(self) -> bool:
        """Is it still ours? Cheap enough to ask before every write."""
        ...

    def require(self) -> None:
        """Raises Locked unless it is still ours."""
        ...

    def watch_store(self) -> None:
        """From now on, losing the store is losing the lock."""
        ...

    def release(self) -> None:
        """Free the lock. Freed already is success."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _Base:
    """What both locks have in common."""

    owner: str

    def held(self) -> bool:
        raise NotImplementedError

    def release(self) -> None:
        raise NotImplementedError

    def require(self) -> None:
        if not self.held():
            raise Locked(
                f"the lock of owner '{self.owner}' was lost while this run held it; it stopped writing",
                hint="the store or its lock was deleted, replaced or cut off: see by whom, then run again",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class FileLease(_Base):
    """`flock` on `<store>.lock`. The file stays when the lock is freed, or two runs could hold two."""

    def __init__(self, store: Path, owner: str) -> None:
        self.owner = owner
        self._store = store
        self._path = store.with_name(f"{store.name}.lock")
        self._descriptor: int | None = _locked(self._path, owner)
        self._watched: dict[Path, Identity] = {self._path: _identity(os.fstat(self._descriptor))}
        _describe(self._descriptor)

    @property
    def released(self) -> bool:
        """Was it given back, by us?"""
        return self._descriptor is None

    def held(self) -> bool:
        """Do the lock and the store that was opened still stand at their paths?"""
        if self._descriptor is None:
            return False
        try:
            return all(_identity(path.stat()) == known for path, known in self._watched.items())
        except OSError:
            return False

    def watch_store(self) -> None:
        """From now on, losing the file of the store is losing the lock."""
        self._watched[self._store] = _identity(self._store.stat())

    def release(self) -> None:
        """Free the lock. Freed already is success."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        os.close(descriptor)


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


def _locked(path: Path, owner: str) -> int:
    """A descriptor that holds the lock; children do not inherit it (PEP 446). Raises Locked."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            said = _described(descriptor)
            os.close(descriptor)
            raise Locked(f"another run of owner '{owner}' holds the lock{said}", hint=_WAIT) from None
        # Somebody may have replaced the file between opening and locking: then we hold the lock of nothing.
        try:
            if _identity(path.stat()) == _identity(os.fstat(descriptor)):
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)


def _describe(descriptor: int) -> None:
    since = datetime.now(UTC).isoformat(
        timespec="seconds"
    )  # for people: the true time, whatever `--now` says
    holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": since}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(holder).encode(), 0)


def _described(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 1000, 0))
        return f": {holder['host']}, process {holder['pid']}, since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        return ""  # its first moment: locked, not yet described


class SessionLease(_Base):
    """A PostgreSQL advisory lock, on a connection of its own. Needs a session: no transaction pooling."""

    def __init__(self, connection: psycopg.Connection[tuple[object, ...]], owner: str) -> None:
        self.owner = owner
        self._connection = connection
        self._released = False
        key = lock_key(owner)
        if not _taken(connection, key):
            said = _session_described(connection, key)
            connection.close()
            raise Locked(f"another run of owner '{owner}' holds the lock{said}", hint=_WAIT)

    @property
    def released(self) -> bool:
        """Was it given back, by us?"""
        return self._released

    def held(self) -> bool:
        """Does our session still live? One round trip; the lock lives exactly as long as the session."""
        import psycopg  # noqa: PLC0415  loaded already by whoever connected

        try:
            return self._connection.execute("SELECT 1").fetchone() is not None
        except psycopg.Error:
            return False

    def watch_store(self) -> None:
        """Nothing more to watch: lock and store are one server."""

    def release(self) -> None:
        """End the session, and with it the lock. Ended already is success."""
        self._released = True
        self._connection.close()


def _taken(connection: psycopg.Connection[tuple[object, ...]], key: int) -> bool:
    """Take the lock. A session that has just ended holds it for a moment longer: that much is waited."""
    for _ in range(_GRACE_TRIES):
        row = connection.execute("SELECT pg_try_advisory_lock(%s)", [key]).fetchone()
        if row and row[0]:
            return True
        time.sleep(_GRACE_PAUSE)
    return False


def lock_key(owner: str) -> int:
    """The advisory lock's number: 63 bits of the owner's hash."""
    return int.from_bytes(hashlib.sha256(f"reconciler lease {owner}".encode()).digest()[:8]) >> 1


_HOLDER: Final = """
    SELECT activity.application_name, activity.backend_start FROM pg_locks AS locks
    JOIN pg_stat_activity AS activity ON activity.pid = locks.pid
    WHERE locks.locktype = 'advisory' AND locks.granted AND locks.objsubid = 1
    AND locks.classid::bigint = %s AND locks.objid::bigint = %s
"""


def session_name() -> str:
    """How our session introduces itself (pg_stat_activity): at most 63 characters."""
    return f"reconciler {socket.gethostname()[:40]} process {os.getpid()}"[:63]


def _session_described(connection: psycopg.Connection[tuple[object, ...]], key: int) -> str:
    row = connection.execute(_HOLDER, [key >> 32, key & 0xFFFFFFFF]).fetchone()
    if row is None or not isinstance(row[1], datetime):
        return ""
    return f": {row[0]}, since {row[1].isoformat(timespec='seconds')}"
