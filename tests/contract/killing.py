"""kill -9 at every point: run something in a child that dies just before its n-th system call.

The points are the audit events (https://docs.python.org/3/library/audit_events.html) of calls that
open or change files: the last moment before the kernel is asked.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any

DEADLY = frozenset(
    {
        "open",
        "os.chmod",
        "os.link",
        "os.mkdir",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.setxattr",
        "os.symlink",
        "os.truncate",
        "os.utime",
        "shutil.rmtree",
        "sqlite3.connect",
    }
)


def killed_at(point: int, act: Callable[[], object]) -> bool:
    """Do it in a child that is killed at this point, counted from 1. False when it ended before."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside the threads of pytest-xdist
        child = os.fork()
    if child == 0:
        _die_at(point, act)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    assert os.waitstatus_to_exitcode(status) == 0, "the child failed by itself"
    return False


def points_of(act: Callable[[], object]) -> int:
    """How many such points it has, done whole in a child of its own."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _count(writing, act)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        told = stream.read()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, "the child failed by itself"
    return int(told)


def _count(writing: int, act: Callable[[], object]) -> None:
    found = 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal found
        if event in DEADLY and not _is_source(arguments):
            found += 1

    code = 1
    try:
        sys.addaudithook(count)
        act()
        os.write(writing, str(found).encode())
        code = 0
    finally:
        os._exit(code)


def _die_at(point: int, act: Callable[[], object]) -> None:
    left = point

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event in DEADLY and not _is_source(arguments):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    code = 1
    try:
        sys.addaudithook(count)
        act()
        code = 0
    finally:
        os._exit(code)


def _is_source(arguments: tuple[Any, ...]) -> bool:
    """Python that is being imported changes no world."""
    return bool(arguments) and str(arguments[0]).endswith((".py", ".pyc", ".so"))
