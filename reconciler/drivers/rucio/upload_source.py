"""The folder of an upload: opened without following links, walked, and read with checksums. Reads only.

Everything below `uploads` is opened step by step with O_NOFOLLOW, so that nobody who may write there can lead
us out of it, not even between a check and a use.
"""

from __future__ import annotations

import os
import re
import stat
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from hashlib import md5
from pathlib import Path
from typing import Any, Final

from reconciler.errors import Rejected
from reconciler.model import Resource
from reconciler.printable import shown

FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe must not block us
PIECE: Final = 1 << 20  # bytes
_DEEPEST: Final = 64
_LONGEST: Final = 2000  # letters of where a source was looked for
KNOWN_BY: Final = ("bytes", "adler32", "md5")
# Names of DIDs in Rucio's generic schema (lib/rucio/common/schema/generic.py): at most 250 of these.
_NAME: Final = re.compile(r"[/A-Za-z0-9][/A-Za-z0-9._-]{0,249}")
_LETTERS: Final = "letters, digits, dots, - and _, with the name of the data set at most 250"


@dataclass(slots=True)
class Sums:
    """What Rucio knows a file by. adler32 and md5 as it writes them: 8 and 32 small hex digits."""

    size: int = 0
    _adler: int = 1
    _md5: Any = field(default_factory=lambda: md5(usedforsecurity=False))

    def add(self, piece: bytes) -> None:
        self.size += len(piece)
        self._adler = zlib.adler32(piece, self._adler)
        self._md5.update(piece)

    def told(self) -> dict[str, Any]:
        """{"bytes", "adler32", "md5"}."""
        return {"bytes": self.size, "adler32": f"{self._adler:08x}", "md5": self._md5.hexdigest()}


@dataclass(frozen=True, slots=True)
class UploadFile:
    """One plain file: its path below the source, and the name that it has in the data set's scope."""

    path: str
    name: str


def open_source(stack: ExitStack, resource: Resource, data: Path) -> int:
    """The source's folder, open until the stack closes. Raises Rejected where it is not there."""
    source, tried = str(resource.spec["source"]), []
    for uploads in dict.fromkeys(resource.facts.get("uploads", ())):
        try:
            return _open_below(stack, data / uploads, source)
        except (OSError, ValueError) as error:
            tried.append(f"{data / uploads}/{source}: {_short(error)}")
    where = "; ".join(tried) or "its target has no `uploads`"
    hint = "put the folder there, or correct `source`"
    raise Rejected(f"no upload {shown(source)} ({shown(where, _LONGEST)})", hint=hint)


def _open_below(stack: ExitStack, base: Path, source: str) -> int:
    names = source.split("/")
    if "\0" in source or any(name in ("", ".", "..") for name in names):
        raise ValueError("the path leads out of the uploads")
    # links on the way to `uploads` are the operator's own
    folder = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    stack.callback(os.close, folder)
    return stack.enter_context(below(folder, names))


@contextmanager
def below(folder: int, names: Sequence[str]) -> Iterator[int]:
    """A directory below an open one. Raises OSError where a step is absent, a link or no directory."""
    current = os.open(".", FOLDER, dir_fd=folder)
    try:
        for name in names:
            following = os.open(name, FOLDER, dir_fd=current)
            os.close(current)
            current = following
        yield current
    finally:
        os.close(current)


@contextmanager
def opened_file(folder: int, path: str) -> Iterator[int]:
    """A plain file below an open directory, for reading. Raises OSError for anything else."""
    *way, name = path.split("/")
    with below(folder, way) as parent:
        file = os.open(name, FILE, dir_fd=parent)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(f"{path} is not a plain file")
        yield file
    finally:
        os.close(file)


def files_of(folder: int, dataset: str) -> list[UploadFile]:
    """All files of a source. A file `a/b` of `scope:set` is `scope:set/a/b`: scopes are flat.

    Raises Rejected for links and special files, for names that Rucio does not take, and for an empty folder.
    """
    prefix = dataset.partition(":")[2]
    files = [UploadFile(path, f"{prefix}/{path}") for path in _walk(folder, "", 0)]
    if not files:
        raise Rejected("the upload holds no files", hint="a data set is made of what lies in `source`")
    for file in files:
        if not _NAME.fullmatch(file.name):
            message = f"{shown(file.path, 200)} can't be the name of a file in Rucio ({_LETTERS})"
            raise Rejected(message, hint="rename the file")
    return files


def _walk(folder: int, prefix: str, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        raise Rejected(f"{shown(prefix, 80)} lies more than {_DEEPEST} folders deep")
    for name in sorted(os.listdir(folder)):
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        if stat.S_ISREG(mode):
            yield f"{prefix}{name}"
        elif stat.S_ISDIR(mode):
            with below(folder, (name,)) as inner:
                yield from _walk(inner, f"{prefix}{name}/", depth + 1)
        else:
            raise Rejected(
                f"{shown(prefix + name, 200)} is a link or special file: a data set holds plain files only"
            )


def read(file: int, take: Callable[[bytes], object] = lambda _piece: None) -> dict[str, Any]:
    """Read an open file once, from its beginning: its sums. `take` gets every piece."""
    sums = Sums()
    os.lseek(file, 0, os.SEEK_SET)
    while piece := os.read(file, PIECE):
        sums.add(piece)
        take(piece)
    return sums.told()


def same_sums(sums: Mapping[str, Any] | None, known: Mapping[str, Any]) -> bool:
    """Is it that file, by all that Rucio knows of it?"""
    if sums is None:
        return False
    return all(sums[key] == known[key] for key in KNOWN_BY if known[key] is not None)


def _short(error: Exception) -> str:
    return error.strerror or "unreadable" if isinstance(error, OSError) else str(error)
