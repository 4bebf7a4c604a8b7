"""Files onto a storage element of Rucio that is a folder of this machine (scheme `file`). WRITES.

A file appears whole or not at all: it is written beside its place, compared with what Rucio knows, brought to
the disk and renamed. Where a file lies is what Rucio says (GET /rses/<rse>/lfns2pfns): below the prefix of
the element, which must be there already, else we would fill an empty mount point, or another machine.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from errno import EDQUOT, ENOSPC
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from reconciler.drivers.rucio.client import Reader
from reconciler.drivers.rucio.upload_source import FOLDER, opened_file, read, same_sums
from reconciler.errors import BackendError, Conflict, Rejected, Transient
from reconciler.model import Resource
from reconciler.printable import shown

_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_IMPLEMENTATION: Final = "rucio.rse.protocols.posix.Default"
_LONGEST_QUERY: Final = 3000  # characters; gunicorn takes lines of 4094


class Misplaced(Rejected):
    """The operator of the target must act: files of an element lie where we can't or must not write."""

    who = "operator of the target"


@dataclass(frozen=True, slots=True)
class Element:
    """A storage element whose files we can write: `prefix` is its folder on this machine."""

    name: str
    host: str
    prefix: Path
    folder: int

    def way(self, pfn: str) -> list[str]:
        """The steps from the element's folder to a file. Raises Misplaced for what leads out of it."""
        scheme, _, rest = (
            pfn.partition("://") if pfn.isprintable() else ("", "", "")
        )  # no NUL, no half letter
        path = rest[rest.find("/") :]
        prefix = str(self.prefix) + "/"
        steps = [step for step in path.removeprefix(prefix).split("/") if step]
        if scheme != "file" or not path.startswith(prefix) or not steps or {".", ".."} & {*steps}:
            said = f"{shown(pfn, 300)} does not lie on element {self.name}, in {self.prefix}"
            raise Misplaced(said, hint=_PLACES)
        return steps


def open_element(stack: ExitStack, client: Reader, resource: Resource) -> Element:
    """The element of `facts["element"]`, open until the stack closes.

    Raises Rejected or Misplaced where we can't write.

    `facts["mounts"]`, where it is given, are the only folders of this machine in which elements may lie.
    """
    name = str(resource.facts["element"])
    with client.rucio(f"storage element {name}") as rucio:
        rse: Mapping[str, Any] = rucio.get_rse(name)
    protocol = _protocol(name, rse)
    if not str(protocol["prefix"]).isprintable():
        raise Misplaced(f"element {name} lies in {shown(protocol['prefix'], 300)}, no folder", hint=_PLACES)
    prefix = Path(os.path.normpath(f"/{protocol['prefix']}".replace("//", "/")))
    mounts = resource.facts.get("mounts")
    if mounts is not None and not any(prefix.is_relative_to(mount) for mount in mounts):
        said = f"element {name} lies in {prefix}, where this machine has no elements"
        raise Misplaced(said, hint=f"{_ELSEWHERE}; `mounts` of the target says where elements may lie")
    try:
        folder = os.open(prefix, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        said = f"element {name} lies in {prefix}, which this machine does not have: {error.strerror}"
        raise Misplaced(said, hint=_ELSEWHERE) from error
    stack.callback(os.close, folder)
    return Element(name, protocol["hostname"], prefix, folder)


_PLACES: Final = "the prefix of the element's protocol, or the way Rucio names its files, must be mended"
_ELSEWHERE: Final = "run where the element is mounted, or upload by Rucio's own client and leave `source` out"


def _protocol(name: str, rse: Mapping[str, Any]) -> Mapping[str, Any]:
    if not rse["deterministic"]:
        raise Rejected(
            f"element {name} is not deterministic: Rucio does not say where files go", hint=_ELSEWHERE
        )
    if not rse["availability_write"]:
        raise Transient(f"element {name} is closed for writing")
    for protocol in rse["protocols"]:
        writes = any(domain.get("write") for domain in protocol["domains"].values())
        if protocol["scheme"] == "file" and protocol["impl"] == _IMPLEMENTATION and writes:
            return dict(protocol)
    schemes = ", ".join(sorted({protocol["scheme"] for protocol in rse["protocols"]})) or "nothing"
    raise Rejected(f"element {name} is written by {schemes}; we write by file only", hint=_ELSEWHERE)


def places(client: Reader, element: Element, names: list[str]) -> dict[str, str]:
    """Where Rucio wants files (`scope:name` → PFN); as many calls as their names need. Raises Misplaced."""
    found: dict[str, str] = {}
    for some in _short_enough(names):
        with client.rucio(f"places on {element.name}") as rucio:
            answer = rucio.lfns2pfns(element.name, some, operation="write", scheme="file")
        found.update({name: _place(element, name, answer) for name in some})
    return found


def _place(element: Element, name: str, answer: Any) -> str:
    """What Rucio says of one file, if it can be a path at all."""
    pfn = answer.get(name) if isinstance(answer, Mapping) else None
    if isinstance(pfn, str):
        return pfn
    said = f"Rucio says no place where {name} could lie on element {element.name}: {shown(repr(pfn), 300)}"
    raise Misplaced(said, hint=_PLACES)


def _short_enough(names: list[str]) -> Iterator[list[str]]:
    some: list[str] = []
    for name in names:
        if some and sum(len(one) + 12 for one in [*some, name]) > _LONGEST_QUERY:
            yield some
            some = []
        some.append(name)
    if some:
        yield some


def sums_at(element: Element, pfn: str) -> dict[str, Any] | None:
    """What really lies there; None: no plain file."""
    with suppress(OSError), opened_file(element.folder, "/".join(element.way(pfn))) as file:
        return read(file)
    return None


def put(
    element: Element, pfn: str, source: int, path: str, known: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Copy a file of the open source to its place, whatever lies there: the sums of what was written.

    Raises Rejected where there is no room, Conflict where the file changes meanwhile, or is not the one that
    Rucio knows: then what lies there stays.
    """
    *way, name = element.way(pfn)
    try:
        with opened_file(source, path) as file, _made(element.folder, way) as folder:
            return _copied(file, folder, name, known)
    except OSError as error:
        if error.errno in (ENOSPC, EDQUOT):
            raise Rejected(f"no room for {path} on element {element.name}") from error
        said = f"{path} can't be copied to element {element.name}: {error.strerror or error}"
        raise BackendError(said) from error


def _copied(file: int, folder: int, name: str, known: Mapping[str, Any] | None) -> dict[str, Any]:
    with _half(folder, name) as (half, half_name):
        before = os.fstat(file)
        sums = read(file, lambda piece: _write(half, piece))
        after = os.fstat(file)
        quiet = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
        if not quiet or not (known is None or same_sums(sums, known)):
            raise Conflict(f"the upload of {name} changed while it was read")
        os.fsync(half)
        os.rename(half_name, name, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)
        return sums


@contextmanager
def _half(folder: int, name: str) -> Iterator[tuple[int, str]]:
    """The file beside its place, empty, for us alone. A run that was killed leaves it to the next one."""
    half_name = f".{sha256(name.encode()).hexdigest()[:32]}.upload"
    half = os.open(half_name, _NEW, 0o644, dir_fd=folder)
    try:
        try:
            fcntl.flock(half, fcntl.LOCK_EX | fcntl.LOCK_NB)
            same = os.path.samestat(os.fstat(half), os.stat(half_name, dir_fd=folder, follow_symlinks=False))
        except (BlockingIOError, FileNotFoundError):
            same = False
        if not same:  # somebody has it, or just renamed it
            raise Transient(f"{name} is being written by somebody else")
        os.ftruncate(half, 0)
        try:
            yield half, half_name
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(half_name, dir_fd=folder)
            raise
    finally:
        os.close(half)


def _write(file: int, piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[os.write(file, rest) :]


@contextmanager
def _made(folder: int, names: list[str]) -> Iterator[int]:
    """A directory below an open one, made where it is absent; links are not followed."""
    current = os.open(".", FOLDER, dir_fd=folder)
    try:
        for name in names:
            with suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=current)
                os.fsync(current)
            following = os.open(name, FOLDER, dir_fd=current)
            os.close(current)
            current = following
        yield current
    finally:
        os.close(current)
