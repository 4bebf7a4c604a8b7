"""Durations and sizes as authors write them: `90s`, `7d`, `500MB`, `10GiB`.

Used by kinds and settings; stands on the lowest floor.
"""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Final

DURATION_PATTERN: Final = r"^[0-9]+[smhdw]$"
SIZE_PATTERN: Final = r"^[0-9]+(\.[0-9]+)?([KkMGTP]i?)?B$"

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_BYTES: Final = {
    "": 1,
    **{letter: 1000**power for power, letter in enumerate("kMGTP", 1)},
    **{f"{letter}i": 1024**power for power, letter in enumerate("kMGTP", 1)},
    "Ki": 1024,
    "K": 1000,
}
_DURATION = re.compile(r"([0-9]{1,12})([smhdw])")
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)((?:[KkMGTP]i?)?)B")


@lru_cache(maxsize=1024)
def duration(text: str) -> timedelta:
    """Read `90s`, `15m`, `6h`, `7d` or `2w`. Raises ValueError with the expected form."""
    match = _DURATION.fullmatch(text)
    if not match:
        raise ValueError(f"'{text}' is not a duration: expected a number and s, m, h, d or w, like 90s or 7d")
    try:
        return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
    except OverflowError as error:
        raise ValueError(f"'{text}' is too long for a duration: the limit is 2,700,000 years") from error


def size(text: str) -> int:
    """Read `512B`, `500MB` (powers of 1000) or `10GiB` (powers of 1024): bytes.

    Raises ValueError with the expected form, also when the size is not a whole number of bytes.
    """
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError(f"'{text}' is not a size: expected a number and a unit, like 500MB or 10GiB")
    count = Decimal(match[1]) * _BYTES[match[2]]
    if count != int(count):
        raise ValueError(f"'{text}' is not a whole number of bytes")
    return int(count)
