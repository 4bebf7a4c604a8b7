"""How text looks on this output: how wide it is, and whether it may be coloured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_CODES: Final = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}


@dataclass(frozen=True, slots=True)
class Style:
    """`width` in columns. Without colour, painting changes nothing."""

    width: int = 120
    colour: bool = False

    def paint(self, text: str, *looks: str) -> str:
        """The text in these looks (bold, dim, red, …)."""
        if not self.colour or not text:
            return text
        return f"\x1b[{';'.join(_CODES[look] for look in looks)}m{text}\x1b[0m"

    def bold(self, text: str) -> str:
        """What the eye should find first."""
        return self.paint(text, "bold")

    def dim(self, text: str) -> str:
        """What may be overlooked."""
        return self.paint(text, "dim")


PLAIN: Final = Style()
