"""Text of authors as it may stand in a message, a log or a page.

Nothing that moves a cursor, changes colours, turns the direction of writing or is not a character at all.
"""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with everything that can't be printed as its code point."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else f"\\u{ord(letter):04x}" for letter in text)


def shown(text: str, limit: int = 60) -> str:
    """The beginning of a text, printable, with … where it goes on."""
    return printable(text[:limit]) + ("…" if len(text) > limit else "")
