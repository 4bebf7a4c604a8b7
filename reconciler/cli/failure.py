"""What went wrong → one clear message for people, an exit code, and no secrets.

An error of ours says itself. Anything else is a defect of ours: the traceback goes to a private file,
because it is for whoever repairs it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from reconciler.errors import ExitCode, InvalidRepository, ReconcilerError

_CREDENTIALS: Final = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/@]+@", re.IGNORECASE)
_ASSIGNED: Final = re.compile(
    r"((?:password|passwd|secret|token|api[-_]?key|private[-_]?key|authorization|x-auth-token)"
    r"[\"']?\s*[:=]\s*(?:bearer\s+|basic\s+)?[\"']?)[^\s\"',;}]+",
    re.IGNORECASE,
)
_SECRET_NAME: Final = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|_KEY\b|CREDENTIAL", re.IGNORECASE)
_SHOWN: Final = 50
_ISSUES: Final = "the project's issue tracker"


def report(error: BaseException, words: Sequence[str]) -> ExitCode:
    """Say on stderr what went wrong and what to do; return the exit code that it means."""
    if isinstance(error, ReconcilerError) and error.exit_code is not ExitCode.DEFECT:
        _say(_message(error))
        return error.exit_code
    if isinstance(error, BrokenPipeError):  # whoever read stderr or a pipe went away
        return ExitCode.DEFECT
    if isinstance(error, OSError) and error.filename is not None:
        _say(f"error: {error.strerror}: {os.fsdecode(error.filename)}\n")
        return ExitCode.DEFECT
    _say(_defect(error, words))
    return ExitCode.DEFECT


def _message(error: ReconcilerError) -> str:
    lines = [f"error: {error}"]
    if isinstance(error, InvalidRepository):
        lines += [str(problem) for problem in error.problems[:_SHOWN]]
        rest = len(error.problems) - _SHOWN
        lines += [f"… and {rest} more: reconciler validate"] if rest > 0 else []
    said = isinstance(error, InvalidRepository) and any(one.hint == error.hint for one in error.problems)
    lines += [f"hint: {error.hint}"] if error.hint and not said else []
    return "\n".join(lines) + "\n"


def _defect(error: BaseException, words: Sequence[str]) -> str:
    """A message for the person, and a file for whoever repairs it."""
    import traceback  # noqa: PLC0415  only a defect needs it

    trace = "".join(traceback.format_exception(error))
    verbose = any(re.fullmatch(r"-v+|--verbose", word) for word in words)
    where = "" if verbose else _written(redacted(trace))
    told = f"The details are in {where}" if where else redacted(trace)
    return (
        f"error: {type(error).__name__}: {error}\n"
        "This is a defect of ours, not a mistake of yours. It is safe to run again.\n"
        f"Please report it on {_ISSUES}, with the command you typed and the details.\n{told}\n"
    )


def _written(text: str) -> str:
    """The path of a private file in the cache folder that holds the text; empty where none can be made."""
    import tempfile  # noqa: PLC0415  only a defect needs it

    from reconciler import __version__  # noqa: PLC0415  ditto

    cache = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    folder = Path(cache) / "reconciler" / "defects"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, path = tempfile.mkstemp(prefix="defect-", suffix=".txt", dir=folder)
        with open(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"reconciler {__version__}, Python {sys.version}\n\n{text}")
    except OSError:
        return ""
    return path


def redacted(text: str) -> str:
    """The text without what looks like a secret: credentials in URLs, assigned passwords, our environment."""
    text = _CREDENTIALS.sub(r"\1***@", text)
    text = _ASSIGNED.sub(r"\1***", text)
    for name, content in os.environ.items():
        if _SECRET_NAME.search(name) and len(content) >= 6:
            text = text.replace(content, "***")
    return text


def _say(text: str) -> None:
    """Write to stderr, harmless for the terminal; a closed stderr is no reason to fail again."""
    from reconciler.report.words import plain  # noqa: PLC0415  only failures need it here

    safe = "\n".join(plain(line) for line in redacted(text).split("\n"))
    try:
        sys.stderr.write(safe)
        sys.stderr.flush()
    except OSError:
        return
