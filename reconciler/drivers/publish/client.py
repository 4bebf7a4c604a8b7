"""Connecting to a target of type `publish`: where its directories are, what it allows, how its errors read.

A reader has no way to write: the hand asks for a `Writer` before its first write. Everything is local, so a
client holds nothing open.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from reconciler.drivers.publish.stream import Limits
from reconciler.errors import BackendError, Denied, ReadOnly, Transient
from reconciler.kind import DataFolder
from reconciler.model import Json, Target

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


@dataclass(frozen=True, slots=True)
class Reader:
    """An opened target: the directories of repositories and of uploads, as absolute paths.

    `ours` says that the directory of repositories lies in our data folder, so that we may make it.
    """

    target: str
    path: str
    uploads: str
    limits: Limits
    ours: bool

    def close(self) -> None:
        """Nothing is held open between two calls."""


@dataclass(frozen=True, slots=True)
class Writer(Reader):
    """The same, for those who may write."""


def open_reader(target: Target, places: DataFolder) -> Reader:
    """Open a target for reading. Nothing is made, and nothing can be written with it."""
    return Reader(*_opened(target, places))


def open_writer(target: Target, places: DataFolder) -> Writer:
    """Open a target for writing."""
    return Writer(*_opened(target, places))


def _opened(target: Target, places: DataFolder) -> tuple[str, str, str, Limits, bool]:
    path = str(target.settings["path"])
    return (
        target.name,
        os.path.join(places.data, path),
        os.path.join(places.data, str(target.settings["uploads"])),
        _limits(target.settings),
        not os.path.isabs(path),
    )


def _limits(settings: Mapping[str, Any]) -> Limits:
    default = Limits()
    size = settings.get("maxBytes", default.bytes)
    return Limits(bytes=_bytes(size), members=int(settings.get("maxMembers", default.members)))


def _bytes(size: Json) -> int:
    if isinstance(size, int):
        return size
    from reconciler.units import size as parse  # noqa: PLC0415  only where the setting is text

    return int(parse(size))


def writing(client: Reader) -> Writer:
    """The client, if it may write. Raises ReadOnly: planning must never come here."""
    if not isinstance(client, Writer):
        raise ReadOnly(f"{client.target} was opened for reading and was asked to write")
    return client


def free_space(client: Reader) -> Mapping[str, Json]:
    """The capacity facts of the target: `free` and `total` bytes of the file system it lies on."""
    with translated(client):
        folder = client.path
        while not os.path.isdir(folder) and client.ours:
            folder = os.path.dirname(folder)
        usage = shutil.disk_usage(folder)
        return {"free": usage.free, "total": usage.total}


def check_there(client: Reader) -> bool:
    """Is there a directory of repositories? A missing one is empty only if it is ours to make.

    Raises Transient where it is another's: a file system that is not mounted must not look empty.
    """
    if os.path.isdir(client.path):
        return True
    if client.ours:
        return False
    raise Transient(
        f"the directory of repositories of {client.target} is not there",
        hint="mount it, or make it once by hand: an absolute path is never made by us",
    )


@contextmanager
def translated(client: Reader) -> Iterator[None]:
    """Say errors of the operating system in our words. File names in them are the operator's, so kept."""
    try:
        yield
    except OSError as error:
        raise _translate(client.target, error) from error


def _translate(target: str, error: OSError) -> BackendError:
    what = f"{target}: {error.strerror or error}" + (f": {error.filename}" if error.filename else "")
    if error.errno in _FULL:
        return BackendError(what, hint="make room on the file system of the target")
    if error.errno in _FORBIDDEN:
        return Denied(what, hint="let the account that runs the reconciler write there")
    return Transient(what)
