"""The connection to a set of machines: their directory, and how they are made. A reader can't write.

Also says what the operating system's errors mean: who must act.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from reconciler.drivers.hosts.writing import Writing
from reconciler.errors import BackendError, Denied, ReadOnly, Rejected, Transient
from reconciler.kind import Places
from reconciler.model import Json, Target

_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_IMPOSSIBLE = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EINVAL)


class Reader:
    """Machines that are only looked at. `path` is their directory, `machines` local, nspawn or ssh.

    A relative directory lies in our own data folder and is made by the first write; an absolute one belongs
    to the operator: when it is absent, the target can't be read.
    """

    def __init__(self, target: Target, places: Places) -> None:
        self.target = target.name
        self.settings: Mapping[str, Json] = target.settings
        self.places = places
        self.machines = str(target.settings["machines"])
        self._setting = str(target.settings.get("path", f"machines/{target.name}"))
        self.path = os.path.join(os.path.abspath(places.data), self._setting)

    def close(self) -> None:
        """Nothing is kept open between calls."""

    @property
    def writing(self) -> Writing:
        """Raises ReadOnly: this client has no way to write."""
        raise ReadOnly(f"a client that only reads {self.target} was asked to write")

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Errors of the operating system as ours, while the directory is worked with."""
        where = f"{self._setting} of target {self.target}"
        if os.path.isabs(self._setting) and not os.path.isdir(self.path):
            hint = "make the directory, or mount what belongs there"
            raise Denied(f"the directory {where} is not there", hint=hint)
        try:
            yield
        except OSError as error:
            raise _ours(error, where) from error


class Writer(Reader):
    """Machines that are also made, changed and removed."""

    def __init__(self, target: Target, places: Places) -> None:
        super().__init__(target, places)
        self._writing = Writing()

    @property
    def writing(self) -> Writing:
        """All that changes the directory, which is made when it is not there."""
        if not os.path.isdir(self.path) and not os.path.isabs(self._setting):
            os.makedirs(self.path, 0o700, exist_ok=True)
        return self._writing


def _ours(error: OSError, where: str) -> BackendError:
    what = f"{where}: {error.strerror or error}"
    if isinstance(error.filename, str):
        what += f" ({error.filename})"
    if error.errno in _DENIED:
        return Denied(what, hint="the reconciler's user needs access to it")
    if error.errno in _IMPOSSIBLE:
        return Rejected(what)
    return Transient(what)
