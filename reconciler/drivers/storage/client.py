"""The connection to a lake: its directory, opened. A reader has nothing that could write.

Also says what the operating system's errors mean: who must act.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from reconciler.drivers.storage import folders
from reconciler.drivers.storage.writing import Writing
from reconciler.errors import BackendError, Denied, ReadOnly, Rejected, Transient
from reconciler.kind import DataFolder
from reconciler.model import Json, Target

_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_IMPOSSIBLE = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EINVAL, errno.EILSEQ)


class Reader:
    """A lake that is only read. `path` is its directory, `uploads` where new data comes from (may be absent).

    A relative directory lies in our own data folder and is made by the first write; an absolute one belongs
    to the operator, and when it is absent (not mounted) the target can't be read.
    """

    def __init__(self, target: Target, places: DataFolder) -> None:
        self.target = target.name
        self.data = Path(places.data)
        self._setting = str(target.settings["path"])
        self.path = self.data / self._setting
        uploads = target.settings.get("uploads")
        self.uploads = str(uploads) if uploads else ""

    def close(self) -> None:
        """Nothing is kept open between calls."""

    @property
    def writing(self) -> Writing:
        """Raises ReadOnly: this client has no way to write."""
        raise ReadOnly(f"a client that only reads {self.target} was asked to write")

    def own_lake(self) -> AbstractContextManager[int]:
        """Raises ReadOnly: making the lake is writing."""
        raise ReadOnly(f"a client that only reads {self.target} was asked to write")

    @contextmanager
    def lake(self) -> Iterator[int | None]:
        """The lake, open; None where nobody has written yet. Errors are translated."""
        with translated(f"lake {self._setting} of target {self.target}"):
            if not self.path.is_dir() and self._may_be_absent():
                yield None
                return
            with folders.opened(self.path) as folder:
                yield folder

    def _may_be_absent(self) -> bool:
        if self.path.exists():
            raise Denied(f"{self._setting} of target {self.target} is not a directory")
        if Path(self._setting).is_absolute():
            hint = "make the directory, or mount what belongs there"
            raise Denied(f"the directory {self._setting} of target {self.target} is not there", hint=hint)
        return True


class Writer(Reader):
    """A lake that is also written to."""

    def __init__(self, target: Target, places: DataFolder) -> None:
        super().__init__(target, places)
        self._writing = Writing()

    @property
    def writing(self) -> Writing:
        """All that changes the lake."""
        return self._writing

    @contextmanager
    def own_lake(self) -> Iterator[int]:
        """The lake, open, made where it may be absent."""
        with translated(f"lake {self._setting} of target {self.target}"):
            if not self.path.is_dir() and self._may_be_absent():
                self.path.mkdir(parents=True, exist_ok=True)
            with folders.opened(self.path) as folder:
                yield folder


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Errors of the operating system as ours: who must act. Ours go through as they are."""
    try:
        yield
    except OSError as error:
        raise _ours(error, where) from error


def _ours(error: OSError, where: str) -> BackendError:
    what = f"{where}: {error.strerror or error}"
    if isinstance(error.filename, str):
        what += f" ({error.filename})"
    if error.errno in _DENIED:
        return Denied(what, hint="the reconciler's user needs access to it")
    if error.errno in _FULL:
        return Transient(what, hint="make room there, or lower the number of copies")
    if error.errno in _IMPOSSIBLE:
        return Rejected(what)
    return Transient(what)


def facts(client: Reader) -> Mapping[str, Json]:
    """`capacity`, `free` (for us) and `used` of the file system that the lake lies on, in bytes."""
    there = client.path
    while not there.exists():
        there = there.parent
    with translated(f"lake of target {client.target}"):
        status = os.statvfs(there)
    block = status.f_frsize
    used = (status.f_blocks - status.f_bfree) * block
    return {"capacity": status.f_blocks * block, "free": status.f_bavail * block, "used": used}
