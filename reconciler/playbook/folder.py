"""The private folder of one run: inputs, sockets and events. Gone afterwards, in every case.

It is removed when the run ends. If this process dies first, the next run anywhere on the machine removes it,
and ends what still works in it. A lock on a file in it says whether the run lives: it goes with its holder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from reconciler.playbook.processes import end_processes

_PREFIX = "rcplay-"
_LOCK = "lock"
_LONGEST = 60  # bytes; the path of a socket has room for 107, and ssh adds 17 while it makes one
_UNLOCKED_SECONDS = 60.0  # between making the folder and locking it; older ones without a lock are dead


@contextmanager
def run_folder() -> Iterator[str]:
    """A new folder (0700) that only this run knows. Leftovers of dead runs are removed first."""
    base = _base()
    sweep(base)
    folder = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=base)
    lock = os.open(os.path.join(folder, _LOCK), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder
    finally:
        _remove(folder)
        os.close(lock)


def sweep(base: str) -> None:
    """End and remove what runs of ours left behind that were killed. Other users' folders are not ours."""
    with os.scandir(base) as entries:
        found = [entry for entry in entries if entry.name.startswith(_PREFIX)]
    for entry in found:
        try:
            ours = entry.is_dir(follow_symlinks=False) and entry.stat().st_uid == os.geteuid()
            if ours and _is_dead(entry.path):
                _remove(entry.path)
        except OSError:  # ended while we looked
            continue


def _is_dead(folder: str) -> bool:
    """Does nobody hold this folder any more?"""
    try:
        lock = os.open(os.path.join(folder, _LOCK), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return time.time() - os.stat(folder).st_mtime > _UNLOCKED_SECONDS
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


def _remove(folder: str) -> None:
    end_processes(folder)
    shutil.rmtree(folder, ignore_errors=True)


def _base() -> str:
    """The system's folder for temporary files, or /tmp where its path is too long for sockets."""
    usual = os.path.realpath(tempfile.gettempdir())
    return usual if len(os.fsencode(usual)) + len(_PREFIX) + 20 <= _LONGEST else "/tmp"  # noqa: S108  as said
