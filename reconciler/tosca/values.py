"""Values of templates: floats that keep their text, sizes with units, text as TOSCA's `concat` writes it.

Sizes: TOSCA Simple Profile 1.2 §3.3.6.4: B, kB, MB, GB, TB are powers of 1000, KiB … TiB of 1024; the case of
letters does not matter, nor does space before the unit.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, Self

from reconciler.model import Json

_UNITS: Final = {
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", 1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", 1)},
}
_SIZE = re.compile(r"\s*([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([kmgt]?i?b)\s*", re.IGNORECASE)


class Float(float):
    """A number that keeps how it was written: 22.10 as a version is not 22.1."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Self:
        """From the digits of the file."""
        number = super().__new__(cls, text.replace("_", ""))
        number.text = text
        return number

    def __getnewargs__(self) -> tuple[Any, ...]:
        return (self.text,)


def text_of(value: Json) -> str:
    """A scalar as text: booleans in small letters, floats as they were written, null as nothing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.text if isinstance(value, Float) else str(value)


@lru_cache(maxsize=1024)
def size(text: str) -> int:
    """Read `4 GB`, `512 MiB`, `100 B`: bytes. Raises ValueError with the expected form."""
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError("expected a size with its unit, like 4 GB or 512 MiB")
    count = Decimal(match[1]) * _UNITS[match[2].lower()]
    if count != int(count):
        raise ValueError("expected a whole number of bytes")
    return int(count)


def plain(value: Json) -> Json:
    """The same value without floats that keep their text."""
    if isinstance(value, Float):
        return float(value)
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return value


def marker_in(value: Json) -> str:
    """A key that begins with `$` somewhere in the value, empty if none: those are ours (`$secret`)."""
    if isinstance(value, dict):
        own = next((key for key in value if isinstance(key, str) and key.startswith("$")), "")
        return own or next(filter(None, map(marker_in, value.values())), "")
    if isinstance(value, (list, tuple)):
        return next(filter(None, map(marker_in, value)), "")
    return ""
