"""Does a value match a pattern of a template? Its author may be anybody who can open a merge request.

Python's `re` tries all ways, and some patterns have more ways than there is time for. It can't be stopped. So
what could take long is tried in a process of its own, which can be.
"""

from __future__ import annotations

import re
import subprocess
import sys
from functools import lru_cache
from typing import Final

MAX_TEXT: Final = 1000  # characters of a value that a pattern is tried on
_SECONDS: Final = 1.0
_FEW: Final = 2  # repeats of single characters, with which 1000 characters take milliseconds
_PLAIN = re.compile(r"\\[^0-9]|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_REPEAT = re.compile(r"[*+]|\{[0-9]*,?[0-9]*\}")
_OF_GROUP = re.compile(r"\)(?:[*+]|\{[0-9]*,?[0-9]*\})|\\[0-9]|\(\?P=|\(\?\(")
_PROGRAM: Final = (
    "import re, sys, json; pattern, text = json.load(sys.stdin); "
    "print(int(bool(re.compile(pattern).fullmatch(text))))"
)


def matches(pattern: re.Pattern[str], text: str) -> bool:
    """Does the whole text match? What is too long, or takes too long, does not."""
    if len(text) > MAX_TEXT:
        return False
    if _is_quick(pattern.pattern):
        return pattern.fullmatch(text) is not None
    return _apart(pattern.pattern, text)


def _is_quick(pattern: str) -> bool:
    """Few repeats, and none of a group: then the time is at most the square of the length."""
    bare = _PLAIN.sub("x", pattern)
    return len(_REPEAT.findall(bare)) <= _FEW and not _OF_GROUP.search(bare)


@lru_cache(maxsize=4096)
def _apart(pattern: str, text: str) -> bool:
    import json  # noqa: PLC0415  few patterns need it

    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _PROGRAM],
            input=json.dumps([pattern, text]),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.stdout.strip() == "1"
