"""All that changes the directory of machines: held by the writing client alone. Small files appear whole."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from reconciler.drivers.hosts.layout import GONE, NEW
from reconciler.errors import Transient

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
PATIENCE: Final = 900.0  # seconds that one piece of work waits for another one on the same machine
_PAUSE: Final = 0.05


class Writing:
    """The changes we can make. Paths are absolute; everything made is for our user only."""

    def make_folder(self, path: str) -> None:
        """There already is fine."""
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)

    def put(self, path: str, content: bytes) -> None:
        """A small file, whole or not at all, and on the disk when this returns."""
        temporary = f"{path}.part"
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        file = os.open(temporary, _NEW_FILE, 0o600)
        with os.fdopen(file, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(file)
        os.rename(temporary, path)
        _sync(os.path.dirname(path))

    def appear(self, parent: str, name: str, file: str, content: bytes) -> None:
        """A directory with one file in it, by one rename. Raises OSError when that name is taken."""
        made = os.path.join(parent, NEW + name)
        self.remove(made)
        self.make_folder(made)
        self.put(os.path.join(made, file), content)
        os.rename(made, os.path.join(parent, name))
        _sync(parent)

    def vanish(self, parent: str, name: str) -> None:
        """A directory goes by one rename, and is emptied then."""
        gone = os.path.join(parent, GONE + name)
        self.remove(gone)
        os.rename(os.path.join(parent, name), gone)
        _sync(parent)
        self.remove(gone)

    def sweep(self, parent: str, name: str) -> None:
        """What a killed run left of a directory of this name that is nothing yet or nothing any more."""
        for prefix in (NEW, GONE):
            self.remove(os.path.join(parent, prefix + name))

    def remove(self, path: str) -> None:
        """A directory with all that is in it; links are not followed. Gone is success."""
        if not os.path.lexists(path):
            return
        try:
            shutil.rmtree(path)
        except PermissionError:  # directories that were made read-only inside
            _open_up(path)
            shutil.rmtree(path)

    @contextmanager
    def lock(self, path: str) -> Iterator[None]:
        """Nobody else works in this directory meanwhile: no thread, no process. It dies with its holder.

        Raises FileNotFoundError when the directory goes, Transient when it is not free in time.
        """
        folder = os.open(path, _FOLDER)
        try:
            _wait(folder, path)
            if os.fstat(folder).st_ino != os.stat(path).st_ino:
                raise FileNotFoundError(path)
            yield
        finally:
            os.close(folder)


def is_locked(path: str) -> bool:
    """Is somebody at work in this directory right now? Writes nothing."""
    try:
        folder = os.open(path, _FOLDER)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(folder)
    return False


def _wait(folder: int, path: str) -> None:
    limit = time.monotonic() + PATIENCE
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        if time.monotonic() >= limit:
            name = os.path.basename(path)
            raise Transient(f"somebody is still at work on {name}", hint="the next run looks again")
        time.sleep(_PAUSE)


def _open_up(path: str) -> None:
    os.chmod(path, stat.S_IRWXU)
    for folder, names, _files in os.walk(path):
        for name in names:
            inner = os.path.join(folder, name)
            if not os.path.islink(inner):
                os.chmod(inner, stat.S_IRWXU)


def _sync(path: str) -> None:
    folder = os.open(path, _FOLDER)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
