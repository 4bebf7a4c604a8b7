"""What Ctrl-C and SIGTERM mean while we write: finish what is under way, start nothing new, record it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType
from typing import Final

from reconciler.errors import ExitCode

GRACE: Final = 10  # seconds until what hangs is left alone
_CODES: Final = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}


@contextmanager
def ends(stop: Event) -> Iterator[Callable[[], ExitCode | None]]:
    """Within: the first signal sets `stop`; the second, or ten seconds, interrupts for good.

    Yields a function that gives the exit code of the signal that came, if one did.
    """
    came: list[ExitCode] = []

    def first(number: int, _frame: FrameType | None) -> None:
        came.append(_CODES[signal.Signals(number)])
        stop.set()
        sys.stderr.write("\nreconciler: ending cleanly; again to end at once\n")
        for other in _CODES:
            signal.signal(other, before[other])
        signal.signal(signal.SIGALRM, _give_up)
        signal.alarm(GRACE)

    try:
        before = {number: signal.signal(number, first) for number in _CODES}
    except ValueError:  # not the main thread: whoever embeds us minds the signals
        yield lambda: None
        return
    try:
        yield lambda: came[0] if came else None
    finally:
        signal.alarm(0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _give_up(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
