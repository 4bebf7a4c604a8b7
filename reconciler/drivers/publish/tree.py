"""What a published tree consists of: its manifest, how it is compared with the disk, its digest, its end."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from reconciler.drivers.publish.stream import PIECE

FILE_MODE: Final = {False: 0o644, True: 0o755}
FOLDER_MODE: Final = 0o755


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One regular file: bytes, time of modification in nanoseconds, sha256 in hex, the owner's exec bit."""

    size: int
    modified: int
    sha256: str
    executable: bool


@dataclass(frozen=True, slots=True)
class Manifest:
    """Every file, symbolic link (to its target) and folder below the top, by relative path."""

    files: Mapping[str, FileFacts]
    links: Mapping[str, str]
    folders: frozenset[str]

    @property
    def size(self) -> int:
        return sum(facts.size for facts in self.files.values())

    def encoded(self) -> bytes:
        """The manifest as the JSON that lies beside the tree."""
        files = {
            path: [facts.size, facts.modified, facts.sha256, facts.executable]
            for path, facts in self.files.items()
        }
        said = {"files": files, "links": dict(self.links), "folders": sorted(self.folders)}
        return json.dumps(said, sort_keys=True, separators=(",", ":")).encode()


def read_manifest(path: str) -> Manifest | None:
    """The manifest that `encoded` wrote; None where it is missing or damaged."""
    try:
        with open(path, "rb") as stream:
            said: Mapping[str, Any] = json.load(stream)
        files = {name: FileFacts(*facts) for name, facts in said["files"].items()}
        return Manifest(files, said["links"], frozenset(said["folders"]))
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, AttributeError):
        return None


def tree_digest(manifest: Manifest) -> str:
    """The sha256 of a directory, as `schemas/SoftwareUpload.json` shows how to compute it in a shell.

    Over the NUL-ended lines, sorted bytewise: `<sha256>  ./<file>`, `x ./<executable file>`,
    `l ./<link>//<target>`, `d ./<folder>`, and `d .` for the top.
    """
    lines = ["d ."] + [f"d ./{path}" for path in manifest.folders]
    lines += [f"l ./{path}//{target}" for path, target in manifest.links.items()]
    lines += [f"{facts.sha256}  ./{path}" for path, facts in manifest.files.items()]
    lines += [f"x ./{path}" for path, facts in manifest.files.items() if facts.executable]
    return hashlib.sha256(b"".join(sorted(line.encode() + b"\0" for line in lines))).hexdigest()


def differences(manifest: Manifest, folder: str, how: str) -> Iterator[tuple[str, str]]:
    """Where the disk is not what the manifest says: (path, missing | extra | changed | mode), sorted.

    `how` is `checksum` (reads every byte) or `size` (size and time of modification).
    """
    found = dict(_walk(folder, ""))
    expected = manifest.files.keys() | manifest.links.keys() | manifest.folders
    for path in sorted(expected | found.keys()):
        if path not in found:
            yield path, "missing"
        elif path not in expected:
            yield path, "extra"
        elif word := _difference(manifest, folder, path, found[path], how):
            yield path, word


def _walk(folder: str, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        facts = entry.stat(follow_symlinks=False)
        yield prefix + entry.name, facts
        if stat.S_ISDIR(facts.st_mode):
            yield from _walk(entry.path, f"{prefix}{entry.name}/")


def _difference(manifest: Manifest, folder: str, path: str, found: os.stat_result, how: str) -> str:
    full = os.path.join(folder, path)
    if path in manifest.links:
        same = stat.S_ISLNK(found.st_mode) and os.readlink(full) == manifest.links[path]
        return "" if same else "changed"
    if path in manifest.folders:
        same, wanted = stat.S_ISDIR(found.st_mode), FOLDER_MODE
    else:
        facts = manifest.files[path]
        same, wanted = _is_same(full, facts, found, how), FILE_MODE[facts.executable]
    if not same:
        return "changed"
    return "" if stat.S_IMODE(found.st_mode) == wanted else "mode"


def _is_same(path: str, facts: FileFacts, found: os.stat_result, how: str) -> bool:
    if not stat.S_ISREG(found.st_mode) or found.st_size != facts.size:
        return False
    if how == "size":
        return found.st_mtime_ns == facts.modified
    return file_digest(path) == facts.sha256


def file_digest(path: str) -> str:
    """The sha256 of one regular file; a link or a fifo put in its place is not followed."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        digest = hashlib.sha256()
        while piece := os.read(descriptor, PIECE):
            digest.update(piece)
        return digest.hexdigest()
    finally:
        os.close(descriptor)


def remove_tree(path: str) -> None:
    """Remove a folder with all in it, also what is read-only. Gone already is success."""
    if not os.path.lexists(path):
        return
    try:
        shutil.rmtree(path)
    except PermissionError:
        _open_up(path)
        shutil.rmtree(path)


def _open_up(folder: str) -> None:
    """Let the owner write in a folder and all below it; links are not followed."""
    os.chmod(folder, 0o700)
    for entry in list(os.scandir(folder)):
        if entry.is_dir(follow_symlinks=False):
            _open_up(entry.path)


def flush(path: str) -> None:
    """Wait until the file system that holds `path` is on the disk: one call instead of one for every file.

    Not `os.sync`, which waits for every mounted file system, also for one whose server is gone.
    """
    import ctypes  # noqa: PLC0415  only for this one call

    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
            raise OSError(ctypes.get_errno(), "the file system could not be written", path)
    finally:
        os.close(descriptor)
