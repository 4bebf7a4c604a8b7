"""Files that hold secrets: read whole, regular files only, bounded."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import Final

from reconciler.printable import printable
from reconciler.secret.errors import NoSecret

LIMIT: Final = 64 * 1024  # bytes of one file
_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe that nobody writes to must not hold us up


def content(path: str, said: str, *, private: bool = False) -> bytes:
    """The bytes of a file. `said` is what messages call it. Links are followed: secrets are mounted so.

    `private`: nobody but its user may be able to open it. Raises NoSecret.
    """
    handle, trouble = _opened(path)
    if handle < 0:
        raise NoSecret(f"{said}: {printable(path)} can't be read: {trouble}")
    try:
        _check(os.fstat(handle), path, said, private=private)
        data = _bytes(handle)
    finally:
        os.close(handle)
    if not 0 < len(data) <= LIMIT:
        what = "is empty or can't be read" if not data else f"is larger than {LIMIT // 1024} KiB"
        raise NoSecret(f"{said}: {printable(path)} {what}")
    return data


def text(data: bytes, said: str) -> str:
    """The same as text. Raises NoSecret."""
    with suppress(UnicodeDecodeError):
        return data.decode()
    raise NoSecret(f"{said}: what it holds is no UTF-8 text", hint="write binary secrets in base64")


def _opened(path: str) -> tuple[int, str]:
    """A file handle, or -1 and why there is none."""
    try:
        return os.open(path, _FLAGS), ""
    except OSError as error:
        return -1, error.strerror or "the system does not say why"


def _bytes(handle: int) -> bytes:
    """What the file holds, up to one byte more than we take; nothing where it can't be read to its end."""
    with suppress(OSError), open(handle, "rb", closefd=False) as file:
        return file.read(LIMIT + 1)
    return b""


def _check(found: os.stat_result, path: str, said: str, *, private: bool) -> None:
    shown, mode = printable(path), stat.S_IMODE(found.st_mode)
    if not stat.S_ISREG(found.st_mode):
        raise NoSecret(f"{said}: {shown} is not a regular file")
    if private and mode & 0o077:
        hint = f"chmod 600 {shown}; if others could read it for long, make a new one"
        raise NoSecret(f"{said}: other users can open {shown} (mode {mode:04o}, expected 0600)", hint=hint)
