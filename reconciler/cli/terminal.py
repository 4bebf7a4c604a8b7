"""Printing: data to stdout and files, words for people to stderr, progress only where somebody looks."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Final, TextIO

from reconciler.errors import ReconcilerError, UsageError
from reconciler.report.style import Style
from reconciler.report.words import plain, shorten

Renderers = Mapping[str, Callable[[Style], str]]

_ENDINGS: Final[Mapping[str, tuple[str, ...]]] = {
    ".json": ("json", "gitlab"),
    ".md": ("markdown",),
    ".xml": ("junit",),
    ".txt": ("text",),
}
_PIPE: Final = 120  # columns where no terminal says how many
_PERIOD: Final = 0.1  # seconds between two looks of the progress line


def style_of(arguments: argparse.Namespace, stream: TextIO | None = None) -> Style:
    """How text may look on this stream: colours only on a terminal, and only if they are wanted."""
    stream = stream or sys.stdout
    if not stream.isatty():
        return Style(_PIPE)
    columns = shutil.get_terminal_size((100, 24)).columns
    dumb = os.environ.get("TERM") == "dumb" or bool(os.environ.get("NO_COLOR"))
    return Style(max(60, min(columns, 160)), colour=not (dumb or arguments.no_color))


def check_out(arguments: argparse.Namespace) -> None:
    """Refuse, before any work, an `--out` that can't be written. Raises UsageError."""
    for name in arguments.out:
        folder = Path(name).absolute().parent
        if Path(name).is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
            raise UsageError(f"--out {name}: can't be written", hint="name a file in a folder that exists")


def deliver(arguments: argparse.Namespace, renderers: Renderers) -> None:
    """Print the report as `--format` says; write it to every `--out` in the form of its ending."""
    chosen = arguments.format or next(iter(renderers))
    for name in getattr(arguments, "out", ()):
        write(Path(name), renderers[_form(name, arguments.format, renderers)](Style(_PIPE)))
    emit(renderers[chosen](style_of(arguments)))


def _form(name: str, given: str | None, renderers: Renderers) -> str:
    """The form of a file: what its ending says; where that leaves a choice, or nothing, `--format`."""
    possible = [form for form in _ENDINGS.get(Path(name).suffix.lower(), ()) if form in renderers]
    if given and (not possible or given in possible):
        return given
    return possible[0] if possible else next(iter(renderers))


def emit(text: str) -> None:
    """Print data. A reader that went away (`| head`) is no error, and changes no exit code."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure:
        reconfigure(errors="backslashreplace")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all. Raises ReconcilerError."""
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.absolute().parent)
        with open(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    except OSError as error:
        raise ReconcilerError(f"{path}: can't be written: {error.strerror}") from error


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def notice(arguments: argparse.Namespace, notices: Iterable[str]) -> None:
    """Say what people should know and machines need not; not with `-q`."""
    if arguments.quiet:
        return
    style = style_of(arguments, sys.stderr)
    for said in notices:
        sys.stderr.write(f"{style.paint('note:', 'cyan')} {plain(said)}\n")


@contextmanager
def progress(arguments: argparse.Namespace) -> Iterator[Callable[[str, Mapping[str, Any]], None]]:
    """A callback that shows how far we are: one line on a terminal, nothing in a pipe or with `-q`."""
    if arguments.quiet or arguments.verbose or not sys.stderr.isatty():
        yield _silent
        return
    line = ProgressLine(sys.stderr, shutil.get_terminal_size((80, 24)).columns)
    try:
        yield line.show
    finally:
        line.clear()


def _silent(_event: str, _facts: Mapping[str, Any]) -> None:
    return


class ProgressLine:
    """One line that is written over. Threads of any target may call it."""

    def __init__(self, stream: TextIO, width: int) -> None:
        self._stream, self._width = stream, width
        self._lock, self._last, self._event = Lock(), 0.0, ""

    def show(self, event: str, facts: Mapping[str, Any]) -> None:
        """Show the event; the same event at most ten times a second."""
        with self._lock:
            now = time.monotonic()
            if event == self._event and now - self._last < _PERIOD:
                return
            self._last, self._event = now, event
            text = shorten(progress_text(event, facts), self._width - 1)
            self._stream.write(f"\r\x1b[2K{text}")
            self._stream.flush()

    def clear(self) -> None:
        """Take the line away."""
        with self._lock:
            if self._event:
                self._stream.write("\r\x1b[2K")
                self._stream.flush()


def progress_text(event: str, facts: Mapping[str, Any]) -> str:
    """`observe 12/20 · waiting for cnaf, recas`: the facts that we know first."""
    done, total = facts.get("done"), facts.get("total")
    said = [plain(event) + (f" {done}/{total}" if total is not None else "")]
    waiting = [plain(str(entry)) for entry in facts.get("waiting", ())]
    if waiting:
        more = f" and {len(waiting) - 3} more" if len(waiting) > 3 else ""
        said.append(f"waiting for {', '.join(waiting[:3])}{more}")
    rest = sorted(facts.keys() - {"done", "total", "waiting"})
    said += [f"{plain(key)} {plain(str(facts[key]))}" for key in rest]
    return " · ".join(said)
