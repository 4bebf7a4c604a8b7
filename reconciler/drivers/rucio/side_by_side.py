"""Questions about many things, asked by a few connections at the same time.

Rucio lists neither the attributes of its elements nor those of its accounts: each thing takes some short
questions, and most of their time is the way to the server and back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue
from threading import Event
from typing import Final, TypeVar

from reconciler.drivers.rucio.client import Reader
from reconciler.errors import Transient
from reconciler.lanes import Answer, Lane, next_answer

T = TypeVar("T")
R = TypeVar("R")

_ENOUGH: Final = 8  # things for which a connection is worth opening


def each(client: Reader, read: Callable[[Reader, T], R], things: Sequence[T]) -> list[R]:
    """What `read` says of each thing, in their order, by half of the connections that the target allows.

    The other half is for its other lists, which are read meanwhile. Raises what `read` raises; Transient
    where nothing is answered within the target's time-out.
    """
    size = min(client.concurrency // 2, len(things) // _ENOUGH)
    if size < 2:
        return [read(client, thing) for thing in things]
    answers: SimpleQueue[Answer] = SimpleQueue()
    stopped = Event()
    lane = Lane(f"read-{client.target}-beside", size, client.beside, answers)
    for place, thing in enumerate(things):
        lane.submit(place, partial(_unless, stopped, read, thing))
    lane.end()
    try:
        return _collected(client, answers, len(things))
    finally:
        stopped.set()


def _unless(stopped: Event, read: Callable[[Reader, T], R], thing: T, client: Reader) -> R | None:
    """Nobody waits any more: what is left is not asked."""
    return None if stopped.is_set() else read(client, thing)


def _collected(client: Reader, answers: SimpleQueue[Answer], number: int) -> list[R]:
    found: dict[int, R] = {}
    while len(found) < number:
        answer = next_answer(answers, client.server.timeout)
        if answer is None:
            raise Transient(f"{client.server.url} of target {client.target} took too long to answer")
        if answer.error is not None:
            raise answer.error
        found[answer.key] = answer.value
    return [found[place] for place in range(number)]
