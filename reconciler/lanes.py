"""Threads that can be left behind: one lane per target, its own clients, never shared.

A call may block for ever and a thread can't be killed, so the threads are daemons and whoever waits
for an answer waits with a limit. A lane submits to no other lane.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

Work = Callable[[Any], Any]


class Answer(NamedTuple):
    """What came back from one piece of work: its key, and a value or an error."""

    key: Any  # hashable
    value: Any = None
    error: BaseException | None = None


class Lane:
    """The threads of one target. Each opens its client at its first piece of work and keeps it."""

    def __init__(
        self, name: str, size: int, connect: Callable[[], Any], answers: SimpleQueue[Answer]
    ) -> None:
        self._name, self._size, self._connect, self._answers = name, size, connect, answers
        self._work: SimpleQueue[tuple[Any, Work] | None] = SimpleQueue()
        self._started = 0

    def submit(self, key: Any, work: Work) -> None:
        """Have `work(client)` done; the answer arrives on the queue under `key`."""
        if self._started < self._size:
            self._started += 1
            threading.Thread(target=self._run, name=f"{self._name}-{self._started}", daemon=True).start()
        self._work.put((key, work))

    def end(self) -> None:
        """Let the threads go when they have done what is queued. Does not wait."""
        for _ in range(self._started):
            self._work.put(None)

    def _run(self) -> None:
        client = None
        while (entry := self._work.get()) is not None:
            key, work = entry
            try:
                client = self._connect() if client is None else client
                answer = Answer(key, work(client))
            except BaseException as error:  # noqa: BLE001  the boundary of a lane: it becomes an answer
                answer = Answer(key, error=error)
            self._answers.put(answer)
        if client is not None:
            with suppress(Exception):
                client.close()


def next_answer(answers: SimpleQueue[Answer], seconds: float) -> Answer | None:
    """The next answer, or None when none came in time."""
    try:
        return answers.get(timeout=max(seconds, 0.0))
    except Empty:
        return None
