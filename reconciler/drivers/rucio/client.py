"""The connection to a Rucio. A reader sends nothing that could write.

Also says what errors of Rucio and of the network mean: who must act.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from json import JSONDecodeError
from typing import Any

from reconciler.drivers.rucio.login import server_of
from reconciler.drivers.rucio.translating import is_distrust, ours, reason
from reconciler.errors import BackendError, Denied, Transient
from reconciler.kind import Places
from reconciler.model import Target


class Reader:
    """A Rucio that is only read, by one thread. Nothing is sent, and nothing loaded, before the first use."""

    def __init__(self, target: Target, places: Places) -> None:
        self.target = target.name
        self.settings = target.settings
        self.concurrency = target.concurrency
        self.server = server_of(target)
        self.places = places
        self._opened_for = target
        self._connection: Any = None

    def beside(self) -> Reader:
        """Another connection to the same target, for another thread. It only reads."""
        return Reader(self._opened_for, self.places)

    def close(self) -> None:
        """Close what is open; what is used afterwards is opened anew."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextmanager
    def rucio(self, what: str) -> Iterator[Any]:
        """Rucio's own client (rucio.client.Client), which logs in with its first request.

        Lists are complete when its methods return. Its errors, and those of the network, are raised as ours,
        with `what` in front: Missing and Exists (`translating`) where something is not there, or is already,
        Transient for half an answer. ReadOnly for what a reader may not do.
        """
        if self._connection is None:
            self._connection = self._connected()
        connection = self._connection
        connection.status = 0
        try:
            yield connection
        except connection.errors as error:
            raise ours(error, connection.status, f"{what}: target {self.target}") from error
        except (OSError, JSONDecodeError, UnicodeDecodeError, StopIteration) as error:
            raise self._broken(error, what) from error

    def _connected(self) -> Any:
        from reconciler.drivers.rucio.connection import ReadingConnection  # noqa: PLC0415  loads the library

        return ReadingConnection(self.server, self.places)

    def _broken(self, error: Exception, what: str) -> BackendError:
        """Errors of the network; all that `requests` raises is an OSError."""
        where = f"{what}: {self.server.url} of target {self.target}"
        if not isinstance(error, OSError):
            return Transient(f"{where} gave half an answer, or none that is JSON")
        if is_distrust(error):
            hint = "check `url` and `ca` in the target's settings, and the server's certificate"
            return Denied(f"{where} can't be trusted: {reason(error)}", hint=hint)
        if type(error) is OSError:  # what `requests` says of files that are not there
            hint = "check `ca`, `certificate` and `key` in the target's settings"
            return Denied(f"{where} can't be asked: {reason(error)}", hint=hint)
        return Transient(f"{where} can't be reached, or broke off: {reason(error)}")


class Writer(Reader):
    """A Rucio that is also written to."""

    def _connected(self) -> Any:
        from reconciler.drivers.rucio.connection import Connection  # noqa: PLC0415  loads the library

        return Connection(self.server, self.places)
