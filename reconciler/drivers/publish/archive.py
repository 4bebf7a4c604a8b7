"""From an upload to a tree in a private folder: everything checked, or refused whole.

Two things keep a hostile archive in: no symbolic link exists in the folder while files are written (links
come last, when all are known and each was followed to its end on paper), and only our own folders are
written through. The standard library's `tarfile.data_filter` looks at each link as a second wall.

What is carried over: content, time of modification, the owner's exec bit, links. What is not: owners, groups,
setuid, setgid and sticky bits, access lists, extended attributes. Names that differ only in case are allowed
(Linux tells them apart; readers on other systems may not).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from reconciler.drivers.publish.source import folder_members
from reconciler.drivers.publish.stream import Blocks, Limits, Raw, escaped, refused
from reconciler.drivers.publish.tar import Content, Member, Sort, members
from reconciler.drivers.publish.tree import FILE_MODE, FOLDER_MODE, FileFacts, Manifest, tree_digest
from reconciler.errors import Rejected

if TYPE_CHECKING:
    from tarfile import TarInfo

_HOPS = 40  # how many links Linux follows in one path


def unpack_archive(descriptor: int, folder: str, expected: str, limits: Limits) -> Manifest:
    """Unpack the archive into the empty `folder`, reading it once. Raises Rejected: digest, format, rules.

    A wrong digest wins over what else is wrong: a half-finished upload should be called by its name.
    """
    raw = Raw(descriptor)
    try:
        manifest = build_tree(members(Blocks(raw, limits), limits), folder, limits)
    except Rejected:
        _check_digest(raw.digest(), expected)
        raise
    _check_digest(raw.digest(), expected)
    return manifest


def copy_folder(descriptor: int, folder: str, expected: str, limits: Limits) -> Manifest:
    """Copy the directory into the empty `folder`, by the same rules. The digest is that of `tree_digest`."""
    manifest = build_tree(folder_members(descriptor, limits), folder, limits)
    _check_digest(tree_digest(manifest), expected)
    return manifest


def _check_digest(found: str, expected: str) -> None:
    if found != expected:
        raise Rejected(
            f"the upload has another sha256 than declared: expected {expected}, found {found}",
            hint="upload the file again, or correct `spec.sha256`",
        )


def build_tree(parts: Iterable[tuple[Member, Content]], folder: str, limits: Limits) -> Manifest:
    """Write all members below `folder`, which is empty and private, and say what was written."""
    tree = _Growing(folder, limits)
    for member, content in parts:
        tree.add(member, content)
    return tree.finish()


class _Growing:
    """A tree while it is written: what is there so far decides what may come next."""

    def __init__(self, folder: str, limits: Limits) -> None:
        self._folder = folder
        self._limits = limits
        self._files: dict[str, FileFacts] = {}
        self._links: dict[str, str] = {}
        self._folders: set[str] = set()
        self._count = 0
        self._bytes = 0

    def add(self, member: Member, content: Content) -> None:
        self._count += 1
        if self._count > self._limits.members:
            raise refused("the upload", f"has more than {self._limits.members} members")
        path = clean_name(member.name, self._limits)
        if not path:
            self._add_top(member)
        elif member.sort is Sort.FOLDER:
            self._add_folder(path)
        else:
            self._add_leaf(path, member, content)

    def finish(self) -> Manifest:
        """Check where every link leads, then make the links. Raises Rejected where one leads out."""
        if not self._files and not self._links:
            raise refused("the upload", "holds no file at all")
        for path in sorted(self._links):
            self._follow(path)
        for path in sorted(self._links):
            os.symlink(self._links[path], self._at(path))
        return Manifest(self._files, self._links, frozenset(self._folders))

    def _at(self, path: str) -> str:
        return f"{self._folder}/{path}"

    def _add_top(self, member: Member) -> None:
        if member.sort is not Sort.FOLDER:
            raise refused(member.name, "has no name below the top")

    def _add_folder(self, path: str) -> None:
        if path in self._folders:
            return
        if path in self._files or path in self._links:
            raise refused(path, "is there twice")
        parent = path.rpartition("/")[0]
        if parent:
            self._add_folder_above(parent, path)
        full = self._at(path)
        os.mkdir(full)
        os.chmod(full, FOLDER_MODE)
        self._folders.add(path)

    def _add_folder_above(self, parent: str, path: str) -> None:
        if parent in self._links:
            raise refused(path, f"is written through the link {escaped(parent)}")
        if parent in self._files:
            raise refused(path, f"lies below the file {escaped(parent)}")
        self._add_folder(parent)

    def _add_leaf(self, path: str, member: Member, content: Content) -> None:
        parent = path.rpartition("/")[0]
        if parent and parent not in self._folders:
            self._add_folder_above(parent, path)
        if path in self._files or path in self._links or path in self._folders:
            raise refused(path, "is there twice")
        if member.sort is Sort.FILE:
            self._files[path] = self._write(path, member, content)
        elif member.sort is Sort.HARDLINK:
            self._files[path] = self._link_hard(path, member)
        else:
            self._links[path] = _link_target(path, member.link, self._limits)
            _second_wall(member, self._folder)

    def _write(self, path: str, member: Member, content: Content) -> FileFacts:
        self._bytes += member.size
        if self._bytes > self._limits.bytes:
            raise refused(path, f"takes the upload above {self._limits.bytes} bytes")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._at(path), flags, 0o600)
        try:
            digest = hashlib.sha256()
            for piece in content:
                digest.update(piece)
                _write_all(descriptor, piece)
            os.fchmod(descriptor, FILE_MODE[member.executable])
            os.utime(descriptor, ns=(member.modified, member.modified))
        finally:
            os.close(descriptor)
        return FileFacts(member.size, member.modified, digest.hexdigest(), member.executable)

    def _link_hard(self, path: str, member: Member) -> FileFacts:
        original = clean_name(member.link, self._limits)
        if original not in self._files:
            raise refused(path, f"is a hard link to {escaped(member.link)}, which is no file before it")
        _second_wall(member, self._folder)
        os.link(self._at(original), self._at(path), follow_symlinks=False)
        return self._files[original]

    def _follow(self, path: str) -> None:
        """Follow one symbolic link on paper, as Linux would, through all others."""
        todo = path.split("/")[::-1]
        at: list[str] = []
        hops = 0
        while todo:
            piece = todo.pop()
            if piece == ".." and not at:
                raise refused(path, "is a link that leads out of the tree")
            if piece == "..":
                at.pop()
                continue
            target = self._links.get("/".join([*at, piece]))
            if target is None:
                at.append(piece)
                continue
            hops += 1
            if hops > _HOPS:
                raise refused(path, "is a link that goes round in circles")
            todo.extend(step for step in reversed(target.split("/")) if step not in ("", "."))


def _write_all(descriptor: int, piece: memoryview | bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(descriptor, view) :]


def clean_name(name: str, limits: Limits) -> str:
    """A member's name as a relative path without `.`, `..`, empty pieces; empty for the top itself."""
    if name.startswith("/"):
        raise refused(name, "has an absolute name")
    if not name.isprintable() and any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in name):
        raise refused(name, "has control characters in its name")
    if not name.isascii():
        _check_encoding(name)
    pieces = [piece for piece in name.split("/") if piece not in ("", ".")]
    if ".." in pieces:
        raise refused(name, "has `..` in its name")
    if len(pieces) > limits.depth:
        raise refused(name, f"lies deeper than {limits.depth} folders")
    path = "/".join(pieces)
    if len(path.encode()) > limits.path or any(len(piece.encode()) > limits.name for piece in pieces):
        raise refused(name, f"is longer than {limits.path} bytes, or a piece longer than {limits.name}")
    return path


def _check_encoding(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise refused(name, "is a name that is not UTF-8") from error


def _link_target(path: str, target: str, limits: Limits) -> str:
    """The target of a symbolic link, not yet followed."""
    if not target or "\0" in target or len(os.fsencode(target)) > limits.path:
        raise refused(path, "is a link to nothing, or to a name that is too long")
    if target.startswith("/"):
        raise refused(path, f"is a link out of the tree, to {escaped(target)}")
    _check_encoding(target)
    return target


def _second_wall(member: Member, folder: str) -> None:
    """The standard library's opinion of a link; files can't get out while no link is in the folder."""
    import tarfile  # noqa: PLC0415  only archives with links need it

    data_filter = getattr(tarfile, "data_filter", None)  # from Python 3.11.4 on
    if data_filter is None:
        return
    try:
        data_filter(_tar_info(member), folder)
    except tarfile.TarError as error:
        raise refused(member.name, "is a link that leads out of the tree") from error


def _tar_info(member: Member) -> TarInfo:
    import tarfile  # noqa: PLC0415  only archives with links need it

    info = tarfile.TarInfo(member.name)
    info.type = tarfile.SYMTYPE if member.sort is Sort.SYMLINK else tarfile.LNKTYPE
    info.linkname = member.link
    return info
