"""All that changes a lake: the only code of this driver that writes, held by the writing client alone.

Every method is one system call that changes something, or a fixed order of such methods. `before` is called
ahead of each, so that a test can end the process there.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from errno import ENOTEMPTY
from typing import Final

from reconciler.drivers.storage import folders
from reconciler.errors import Transient

_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def _go_on(_operation: str) -> None:
    """What happens before every change, outside tests: nothing."""


class Writing:
    """The changes we can make. Directories are open descriptors, names single pieces."""

    def __init__(self, before: Callable[[str], None] = _go_on) -> None:
        self._before = before

    # -- one change each ---------------------------------------------------------------------

    def make_folder(self, folder: int, name: str) -> None:
        """Raises FileExistsError when something is there."""
        self._before("mkdir")
        os.mkdir(name, 0o755, dir_fd=folder)

    def write(self, file: int, data: bytes | memoryview) -> None:
        """All of it."""
        view = memoryview(data)
        while view:
            self._before("write")
            view = view[os.write(file, view) :]

    def hasten(self, file: int, start: int, end: int) -> None:
        """Have the kernel begin to bring these bytes to the disk: a later fsync has little to wait for.

        That is what Linux does on POSIX_FADV_DONTNEED with bytes that are not on the disk yet; it does not
        drop them. Nothing is promised.
        """
        os.posix_fadvise(file, start, end - start, os.POSIX_FADV_DONTNEED)

    def set_time(self, file: int, nanoseconds: int) -> None:
        """The time of the last change; set when a file is whole."""
        self._before("utime")
        os.utime(file, ns=(nanoseconds, nanoseconds))

    def rename(self, folder: int, name: str, into: int, new_name: str) -> None:
        """Within one file system; files are replaced, directories only when empty."""
        self._before("rename")
        os.rename(name, new_name, src_dir_fd=folder, dst_dir_fd=into)

    def unlink(self, folder: int, name: str) -> None:
        """Gone already is success."""
        self._before("unlink")
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)

    def remove_empty(self, folder: int, name: str) -> bool:
        """Did the directory go? False while something is in it; gone already is success."""
        self._before("rmdir")
        try:
            os.rmdir(name, dir_fd=folder)
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno == ENOTEMPTY:
                return False
            raise
        return True

    @contextmanager
    def new_file(self, folder: int, name: str) -> Iterator[int]:
        """A file that was not there, open for writing."""
        self._before("open")
        file = os.open(name, _NEW_FILE, 0o644, dir_fd=folder)
        try:
            yield file
        finally:
            os.close(file)

    # -- in a fixed order --------------------------------------------------------------------

    def put(self, folder: int, name: str, content: bytes) -> None:
        """A small file, whole or not at all, and on the disk when this returns."""
        temporary = f"{name}.part"
        self.unlink(folder, temporary)
        with self.new_file(folder, temporary) as file:
            self.write(file, content)
            os.fsync(file)
        self.rename(folder, temporary, folder, name)
        os.fsync(folder)

    @contextmanager
    def folder(self, folder: int, names: Sequence[str]) -> Iterator[int]:
        """A directory below an open one, made where it is absent."""
        current = os.open(".", folders.FOLDER, dir_fd=folder)
        try:
            for name in names:
                following = self._made(current, name)
                os.close(current)
                current = following
            yield current
        finally:
            os.close(current)

    def _made(self, folder: int, name: str) -> int:
        with suppress(FileNotFoundError):
            return os.open(name, folders.FOLDER, dir_fd=folder)
        with suppress(FileExistsError):  # somebody else was faster
            self.make_folder(folder, name)
            os.fsync(folder)
        return os.open(name, folders.FOLDER, dir_fd=folder)

    def remove(self, folder: int, name: str) -> None:
        """Whatever it is, with all that is in it; links are removed, never followed. Gone is success."""
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(status.st_mode):
            self.unlink(folder, name)
            return
        with folders.below(folder, (name,)) as inner:
            for entry in folders.names_in(inner):
                self.remove(inner, entry)
        self.remove_empty(folder, name)

    def move(self, folder: int, name: str, into: int, new_name: str) -> None:
        """Rename a directory, and have it on the disk when this returns."""
        self.rename(folder, name, into, new_name)
        os.fsync(into)
        os.fsync(folder)

    @contextmanager
    def lock(self, folder: int) -> Iterator[None]:
        """Nobody else works in this directory meanwhile. Raises Transient when somebody does."""
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Transient("somebody is still at work on it", hint="the next run looks again") from error
        try:
            yield
        finally:
            fcntl.flock(folder, fcntl.LOCK_UN)
