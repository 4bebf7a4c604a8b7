"""The connection to a simulated world: every request is counted, takes its time, and may fail.

A reader opens the file so that it can't write. Every request leaves a line in `<world>.calls`, the
world's own access log, from which also comes how often the same was asked before.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from reconciler.drivers.simulated import rows
from reconciler.drivers.simulated.weather import Request, Weather, fate, refusal, weather_of
from reconciler.errors import Denied, ReadOnly, Transient
from reconciler.kind import DataFolder
from reconciler.model import Json, Target

Result = TypeVar("Result")
Work = Callable[[sqlite3.Connection], Result]
_TAIL = 65536
_DONE_FIRST = ("LostAnswer", "Partial")


def world_path(target: Target, places: DataFolder) -> Path:
    """Where the world of a target lies: its setting `world`, relative to the data folder."""
    name: str = target.settings.get("world", f"{target.name}.world.sqlite")
    return Path(places.data) / name


def calls_path(world: Path) -> Path:
    """The access log of a world: a line per request, `time operation kind ref`; refused ones with `!`."""
    return world.with_name(world.name + ".calls")


def count_calls(world: Path) -> dict[str, int]:
    """How many requests a world has had, by `operation kind`, sorted."""
    log = calls_path(world)
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    counted = Counter(" ".join(line.split(" ", 3)[1:3]) for line in lines)
    return {request: counted[request] for request in sorted(counted)}


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """What SQLite says, in our words: who must act."""
    try:
        yield
    except sqlite3.Error as error:
        message = f"the simulated world {path.name} can't be used: {error}"
        if "readonly" in str(error):
            raise Denied(message, hint="the file and its folder must be writable") from error
        raise Transient(message) from error


class Reader:
    """An open connection to one simulated world, used by one thread. It can't write."""

    def __init__(self, target: Target, places: DataFolder) -> None:
        self.target = target.name
        self.path = world_path(target, places)
        self._settings = target.settings
        self._timeout = target.timeout
        self._connection: sqlite3.Connection | None = None
        self._log: int | None = None
        self._weather = ("", weather_of(target.settings))

    def close(self) -> None:
        """End the connection. Closed already is success."""
        if self._connection is not None:
            self._connection.close()
        if self._log is not None:
            os.close(self._log)
        self._connection = self._log = None

    def ask(self, request: Request, work: Work[Result]) -> Result:
        """Make one request that reads. Raises a BackendError."""
        with translated(self.path), self._opened() as connection:
            self._endure(connection, request)
            return work(connection)

    def tell(self, request: Request, work: Work[int]) -> None:
        """Make one request that writes; only a Writer can."""
        raise ReadOnly(f"{request.operation} {request.ref} on {self.target}: this client only reads")

    def weather(self, connection: sqlite3.Connection) -> tuple[Weather, int]:
        """The weather now, and where in the access log it began."""
        told, since = connection.execute("SELECT weather, weather_since FROM world").fetchone()
        if told != self._weather[0]:
            self._weather = (told, weather_of({**self._settings, **json.loads(told)}))
        return self._weather[1], since

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        if self._connection is None and not self.path.exists():
            yield from self._nowhere()
            return
        self._recover()
        if self._connection is None:
            self._connection = rows.connect(self.path, "ro", self._timeout)
        yield self._connection

    def _recover(self) -> None:
        """Have SQLite roll back what a killed writer left, as a database server does when it starts.

        With a connection of its own, closed at once: ours can't write.
        """
        if self.path.with_name(self.path.name + "-journal").exists():
            rows.connect(self.path, "rw", self._timeout).close()

    def _nowhere(self) -> Iterator[sqlite3.Connection]:
        """A world that nobody has written to has no file: it is empty."""
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            rows.fill_empty(connection, self.path.name)
            connection.execute("PRAGMA query_only = ON")
            yield connection

    def _endure(self, connection: sqlite3.Connection, request: Request) -> str:
        """Let the request be counted and take its time. Raises when it fails before doing anything."""
        weather, since = self.weather(connection)
        line = f" {request.operation} {request.kind} {request.ref}\n".encode()
        number = self._asked_before(line, since) if weather.counts else 0
        if weather.rate_limit and self._too_fast(weather.rate_limit):
            self._count(b"!%.3f" % time.time() + line)
            raise Transient(f"429: more than {weather.rate_limit} requests a second at {self.target}")
        self._count(b"%.3f" % time.time() + line)
        ending = fate(weather, request, number)
        self._take_time(weather, ending, request)
        refused = refusal(ending)
        if refused is not None:
            raise refused
        return ending

    def _take_time(self, weather: Weather, ending: str, request: Request) -> None:
        wanted = weather.hang_seconds if ending.startswith("hang") else weather.latency
        limit = wanted if ending == "hang-hard" else self._timeout
        if wanted > 0:
            time.sleep(min(wanted, limit))
        if ending.startswith("hang") or wanted > limit:
            raise Transient(f"{request.operation} {request.ref} at {self.target}: no answer in time")

    def _count(self, line: bytes) -> None:
        """One line in the access log; a world that can't be written to is read all the same."""
        if self._log is None:
            with suppress(OSError):
                self._log = os.open(calls_path(self.path), os.O_WRONLY | os.O_APPEND)
        if self._log is not None:
            os.write(self._log, line)

    def _asked_before(self, line: bytes, since: int) -> int:
        """How often the same was asked since the weather began."""
        with suppress(OSError), calls_path(self.path).open("rb") as log:
            log.seek(since)
            return log.read().count(line)
        return 0

    def _too_fast(self, limit: int) -> bool:
        """Were there `limit` requests already in the last second, by whomever?"""
        with suppress(OSError), calls_path(self.path).open("rb") as log:
            start = max(0, log.seek(0, os.SEEK_END) - _TAIL)
            log.seek(start)
            lines = log.read().splitlines()[1 if start else 0 :]
            accepted = [float(line.split(b" ", 1)[0]) for line in lines if not line.startswith(b"!")]
            return sum(1 for entry in accepted if entry > time.time() - 1) >= limit
        return False


class Writer(Reader):
    """A connection that also writes: one transaction per request."""

    def tell(self, request: Request, work: Work[int]) -> None:
        """Make one request that writes. `work` returns the number of the thing it wrote, or 0."""
        with translated(self.path), self._opened() as connection:
            ending = self._endure(connection, request)
            with rows.transaction(connection):
                seq = work(connection)
                if ending == "Partial":
                    connection.execute("UPDATE things SET partial = 1 WHERE seq = ?", (seq,))
        if ending in _DONE_FIRST:
            raise Transient(f"{request.operation} {request.ref} at {self.target}: the connection was lost")

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        if self._connection is None:
            rows.make_file(self.path)
            calls_path(self.path).touch()
            self._connection = rows.connect(self.path, "rw", self._timeout)
        yield self._connection


def facts(client: Reader) -> Mapping[str, Json]:
    """The capacities of the target, as its settings say."""
    return client.ask(Request("facts"), lambda connection: client.weather(connection)[0].facts)
