"""How long to wait before looking again at something that is being made."""

from __future__ import annotations

from typing import Final

SHORTEST: Final = 0.4  # seconds; machines that are made together are ready together, and go in one call
LONGEST: Final = 5.0  # seconds
_SHARE: Final = 1 / 3


def pause(waited: float) -> float:
    """Seconds until the next look, after so many seconds without news.

    A third of what it took so far: what is ready is seen soon, and what takes long is asked seldom.
    """
    return min(LONGEST, max(SHORTEST, waited * _SHARE))
