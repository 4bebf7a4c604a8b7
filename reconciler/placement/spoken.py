"""What authors say about data in more than one kind, as dataclasses. Pure data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verify:
    """How the content of copies in the lake is proved, and how often.

    `checksum`: sha256 of every byte; `size`: size and time of change only.
    """

    how: str = "checksum"
    every: str = "7d"


@dataclass(frozen=True, slots=True)
class Quality:
    """What data need, in CDMI's words: the longest time to the first byte, fewest copies, countries."""

    latency: str | None = None
    redundancy: int = 1
    placement: tuple[str, ...] = ()
