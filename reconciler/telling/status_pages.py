"""Write the status pages into a folder: after the record of a run, for everybody who reads no logs.

`reconciler.report.pages` says what stands in them. Here: each file whole or not at all, only what changed,
and pages that nothing fills any more go. Files that we did not write are left alone.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from reconciler.errors import Transient, UsageError
from reconciler.model import Condition, Json, Record, Ref
from reconciler.report.pages import HEADER, status_pages

_DATA: Final = "status.json"
_UNFINISHED: Final = ".reconciler-page-"

# What differs between two passes that saw the same: a quiet pass rewrites nothing, the branch stays quiet.
_OF_THE_RUN: Final = re.compile(r'^As of [^,\n]*,|^ "(?:asOf|run)": .*$', re.MULTILINE)


def write_status(
    record: Record,
    conditions: Mapping[Ref, Condition],
    directory: Path,
    *,
    outputs: Mapping[Ref, Mapping[str, Json]] | None = None,
) -> tuple[str, ...]:
    """Write index.md, a page a group and status.json below `directory`; return the paths that changed.

    `conditions` are all that stand after the run (`Store.finish` returns them). Raises Transient when
    the disk is full, UsageError when the folder can't be written.
    """
    return write_pages(status_pages(replace(record, conditions=conditions), outputs or {}), directory)


def write_pages(pages: Mapping[str, str], directory: Path) -> tuple[str, ...]:
    """Make the folder hold exactly these pages, by path below it; return the paths that changed."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        changed = [name for name in sorted(pages) if _written(directory / name, pages[name])]
        gone = [name for name in our_pages(directory) if name not in pages]
        for name in gone:
            (directory / name).unlink()
        _tidy(directory)
    except (PermissionError, NotADirectoryError, FileExistsError, IsADirectoryError) as error:
        raise UsageError(
            f"status pages in {directory}: {error.strerror}", hint="name another folder"
        ) from error
    except OSError as error:
        hint = "free space there, then run again: they are written anew"
        raise Transient(f"status pages in {directory}: {error.strerror}", hint=hint) from error
    return tuple(sorted([*changed, *gone]))


def our_pages(directory: Path) -> tuple[str, ...]:
    """The paths of the pages in this folder that we wrote, sorted."""
    found = [*directory.glob("*.md"), *directory.glob("groups/*.md"), directory / _DATA]
    return tuple(sorted(path.relative_to(directory).as_posix() for path in found if _is_ours(path)))


def _is_ours(path: Path) -> bool:
    """A regular file that begins as our pages do; status.json is ours by its name."""
    if path.is_symlink() or not path.is_file():
        return False
    if path.name == _DATA:
        return True
    with path.open("rb") as file:
        return file.read(len(HEADER)) == HEADER.encode()


def _written(path: Path, content: str) -> bool:
    """Write one page, unless it says the same already."""
    if path.is_file() and not path.is_symlink() and _same(path.read_text(errors="replace"), content):
        return False
    path.parent.mkdir(exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=_UNFINISHED, dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    return True


def _same(before: str, after: str) -> bool:
    return before == after or _OF_THE_RUN.sub("", before) == _OF_THE_RUN.sub("", after)


def _tidy(directory: Path) -> None:
    """What a killed run left half-written."""
    for path in [*directory.glob(f"{_UNFINISHED}*"), *directory.glob(f"groups/{_UNFINISHED}*")]:
        path.unlink(missing_ok=True)
