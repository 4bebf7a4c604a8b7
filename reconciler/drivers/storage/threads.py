"""The same work for many files, by a few threads: most of it the kernel does, while Python goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Final, TypeVar

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE: Final = 3  # more gain little on two cores, and hold more of a machine that others use
_MANY: Final = 64  # fewer are done one after the other


def in_threads(work: Callable[[int, T], R], things: Sequence[T]) -> list[R]:
    """`work(which thread, thing)` of all, in their order. Threads are numbered from 0, below AT_ONCE.

    What the first raises ends all: none begins another thing, and it is raised when all have stopped.
    """
    if len(things) < _MANY:
        return [work(0, thing) for thing in things]
    stopped = Event()

    def share(number: int) -> list[R]:
        try:
            return [work(number, thing) for thing in _until(stopped, things[number::AT_ONCE])]
        except BaseException:
            stopped.set()
            raise

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="lake") as threads:
        shares = list(threads.map(share, range(AT_ONCE)))
    return [shares[place % AT_ONCE][place // AT_ONCE] for place in range(len(things))]


def _until(stopped: Event, things: Iterable[T]) -> Iterable[T]:
    for thing in things:
        if stopped.is_set():
            return
        yield thing
