r"""Which storage elements an RSE expression selects. Pure; used by `check` and by the placement of copies.

The grammar is Rucio's (rucio/rucio, lib/rucio/core/rse_expression_parser.py, and "RSE Expressions" in its
documentation): a primitive is the name of an element or of an attribute that is true, `attribute=value`,
`attribute<number`, `attribute>number`, or `*` for all. `|` is union, `&` intersection, `\` complement (left
without right). The three bind equally and work from left to right, as "filters are processed from left to
right" there; parentheses group. Two things differ: white space between the pieces is ignored, and comparing
with something that is not a number is an error, where Rucio silently selects nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from reconciler.model import Json

LONGEST: Final = 65536
_MOST_TESTS = 10  # of how many different primitives a truth table is made
_NAME = r"[A-Za-z0-9]+(?:[_-]+[A-Za-z0-9]+)*"
_TOKEN = re.compile(
    rf"\s*(?:(?P<sign>[()|&\\])|(?P<test>[A-Za-z0-9._-]+[=<>][A-Za-z0-9_-]+|{_NAME}|\*)"
    r"(?![A-Za-z0-9._*=<>-]))"
)
_SPACE = re.compile(r"\s*")
_HINT = r"write like country=IT&(tier<2|quality=disk)\old-disk"


class ExpressionError(ValueError):
    """A text that is no expression: at which column, what is wrong, and what to write."""


@dataclass(frozen=True, slots=True)
class Test:
    """One primitive: `name` alone (`sign` empty), `*`, or name, one of = < >, and a value."""

    name: str
    sign: str = ""
    value: str = ""

    def holds(self, element: str, attributes: Mapping[str, Json]) -> bool:
        """Does an element of this name with these attributes pass?"""
        if self.name == "*":
            return True
        have = attributes.get(self.name)
        if not self.sign:
            return element == self.name or have is True or have in ("true", "True")
        if have is None:
            return False
        if self.sign == "=":
            return _text(have) == _text(self.value)
        number = _number(have)
        if math.isnan(number):
            return False
        return number < float(self.value) if self.sign == "<" else number > float(self.value)

    def __str__(self) -> str:
        return f"{self.name}{self.sign}{self.value}"


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression. `program` is in postfix order: tests, and the signs of the operators.

    `str` gives it without white space, as Rucio takes it.
    """

    text: str
    program: tuple[Test | str, ...] = field(repr=False)

    def __str__(self) -> str:
        return _SPACE.sub("", self.text)

    def select(self, elements: Mapping[str, Mapping[str, Json]]) -> frozenset[str]:
        """The names of the elements (name → attributes) that it selects; may be none."""
        stack: list[frozenset[str]] = []
        known: dict[Test, frozenset[str]] = {}
        for step in self.program:
            if isinstance(step, Test):
                if step not in known:
                    known[step] = frozenset(name for name in elements if step.holds(name, elements[name]))
                stack.append(known[step])
            else:
                right, left = stack.pop(), stack.pop()
                stack.append(left | right if step == "|" else left & right if step == "&" else left - right)
        return stack[0]

    @property
    def tests(self) -> frozenset[Test]:
        """All that it compares."""
        return frozenset(step for step in self.program if isinstance(step, Test))

    @property
    def meaning(self) -> tuple[object, ...]:
        """Equal for expressions that select the same whatever the elements: `a|b`, `b | a`, `(b)|(a|b)`.

        A truth table over the primitives. With more than ten different ones the text itself stands in.
        """
        tests = sorted({str(step) for step in self.program if isinstance(step, Test) and step.name != "*"})
        if len(tests) > _MOST_TESTS:
            return (str(self),)
        return (*tests, self._truth(tests))

    def _truth(self, tests: list[str]) -> int:
        """Bit n: is an element selected for which exactly the tests of the bits of n hold?"""
        rows = range(1 << len(tests))
        table = {test: sum(1 << row for row in rows if row >> bit & 1) for bit, test in enumerate(tests)}
        table["*"] = (1 << len(rows)) - 1
        stack: list[int] = []
        for step in self.program:
            if isinstance(step, Test):
                stack.append(table[str(step)])
            else:
                right, left = stack.pop(), stack.pop()
                stack.append(left | right if step == "|" else left & right if step == "&" else left & ~right)
        return stack[0]


def _text(value: Json) -> str:
    """Attributes as Rucio keeps them: text. Booleans are compared without regard to their first letter."""
    text = str(value)
    return text.lower() if text in ("True", "False") else text


def _number(value: Json) -> float:
    """The number that an attribute is, also as text; NaN when it is none."""
    if isinstance(value, bool) or "_" in str(value):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


@lru_cache(maxsize=4096)
def parse(text: str) -> Expression:
    """Read an expression. Raises ExpressionError that says the column and what to write."""
    if len(text) > LONGEST:
        raise ExpressionError(f"the expression has {len(text)} characters: at most {LONGEST} are read")
    reading = _Reading()
    position = 0
    for match in _tokens(text):
        position = match.end()
        column = match.start(match.lastgroup or 0) + 1
        sign = match["sign"]
        if sign:
            reading.take_sign(sign, column)
        else:
            reading.take_test(_test(match["test"], column), column)
    return Expression(text, tuple(reading.finish(position + 1)))


def renamed(text: str, names: Mapping[str, str]) -> str:
    """The same expression without white space, with other names for elements (old name → new one).

    Only what stands alone is a name; attributes and values stay. Raises ExpressionError as `parse` does.
    """
    parse(text)
    pieces = (match["sign"] or match["test"] for match in _tokens(text))
    return "".join(names.get(piece, piece) for piece in pieces)


def _tokens(text: str) -> Iterable[re.Match[str]]:
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position, end)
        if match is None:
            raise _nothing_fits(text, position)
        yield match
        position = match.end()


def _nothing_fits(text: str, position: int) -> ExpressionError:
    space = _SPACE.match(text, position)
    start = space.end() if space else position
    word = re.split(r"[\s()|&\\]", text[start : start + 40], maxsplit=1)[0] or text[start]
    hint = _HINT
    if "*" in word and len(word) > 1:
        hint = "`*` stands alone and selects all elements; to select some, compare an attribute"
    elif word[-1] in "=<>":
        hint = "the value follows at once, of letters, digits, - and _"
    return _wrong(start + 1, f"'{word}' is neither an element, a comparison nor an operator", hint)


def _wrong(column: int, what: str, hint: str = _HINT) -> ExpressionError:
    return ExpressionError(f"column {column}: {what}; {hint}")


def _test(text: str, column: int) -> Test:
    name, sign, value = _parted(text)
    if sign in ("<", ">") and math.isnan(_number(value)):
        raise _wrong(column, f"'{text}' compares with '{value}', which is no number", "write like tier<2")
    return Test(name, sign, value)


def _parted(text: str) -> tuple[str, str, str]:
    for sign in "=<>":
        name, found, value = text.partition(sign)
        if found:
            return name, sign, value
    return text, "", ""


class _Reading:
    """The state of one parse: an operator goes out as soon as its right side is whole (equal binding)."""

    def __init__(self) -> None:
        self._program: list[Test | str] = []
        self._open: list[tuple[str, int]] = []  # operators and parentheses that wait, with their columns
        self._whole = False  # does a whole term stand to the left?

    def take_test(self, test: Test, column: int) -> None:
        if self._whole:
            raise _wrong(column, f"an operator is missing before '{test}'", r"join with |, & or \ ".strip())
        self._program.append(test)
        self._end_term()

    def take_sign(self, sign: str, column: int) -> None:
        if sign == ")":
            self._close(column)
        elif sign == "(":
            if self._whole:
                raise _wrong(column, "an operator is missing before '('", r"join with |, & or \ ".strip())
            self._open.append((sign, column))
        elif not self._whole:
            raise _wrong(column, f"'{sign}' has nothing to its left")
        else:
            self._open.append((sign, column))
            self._whole = False

    def finish(self, column: int) -> list[Test | str]:
        if self._whole and not self._open:
            return self._program
        unclosed = [opened for sign, opened in self._open if sign == "("]
        if self._whole and unclosed:
            raise _wrong(unclosed[-1], "'(' is never closed", "add the missing ')'")
        raise _wrong(column, "the expression ends where an element or a comparison is expected")

    def _close(self, column: int) -> None:
        if not self._whole:
            raise _wrong(column, "')' comes where an element or a comparison is expected")
        if not self._open:
            raise _wrong(column, "')' closes nothing", "take it out, or add the missing '('")
        self._open.pop()  # a parenthesis: operators go out as soon as their right side is whole
        self._end_term()

    def _end_term(self) -> None:
        self._whole = True
        if self._open and self._open[-1][0] != "(":
            self._program.append(self._open.pop()[0])
