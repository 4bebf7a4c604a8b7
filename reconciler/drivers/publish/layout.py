"""Where things lie in a repository, and what their names say.

    <path>/<repository>/
      root/6.32 -> ../.reconciler/published/<home>/<number>/tree        what readers open
      .reconciler/
        published/<home>/<number>/receipt.json                the mark in full, and the spec
        published/<home>/<number>/tree -> ../../../store/<entry>/tree
        store/<entry>/tree, manifest.json                     content, shared by all who declare that sha256
        store/<entry>/users/                                  a name for every version that shows it
        work/                                                 private: what is being unpacked or removed
        folders/                                              which folders of the repository we made
        index.json, removed.log, lock

A home is `rc1.<owner>.<id>~<Ref with ~ for />`, and numbers count up in it. So the link that makes a version
visible carries its mark, and both change in one rename. An entry is `<sha256>.<id>.<number>`, of the version
it was unpacked for. Every look-up needs a few names, however much a repository holds.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from reconciler.drivers.publish.tree import remove_tree
from reconciler.errors import Transient
from reconciler.model import Mark, Ref, mark_id

RESERVED: Final = ".reconciler"
TEMPORARY: Final = "tmp-"
_PATIENCE: Final = 60.0  # seconds to wait for the lock, which is only held for moments


@dataclass(frozen=True, slots=True, order=True)
class Home:
    """All versions of what one Ref publishes, under one mark."""

    owner: str
    id: str
    ref: Ref

    def __str__(self) -> str:
        return f"rc1.{self.owner}.{self.id}~{str(self.ref).replace('/', '~')}"

    @classmethod
    def of(cls, mark: Mark) -> Home:
        """Where things with this mark lie. Raises ValueError for a mark that does not say its Ref."""
        if mark.ref is None:
            raise ValueError(f"the mark {mark} does not say its Ref")
        return cls(mark.owner, mark.id, mark.ref)

    @classmethod
    def parse(cls, text: str) -> Home | None:
        """Read what `str` printed; None for every other name."""
        head, tilde, ref = text.partition("~")
        pieces = head.split(".")
        if not tilde or len(pieces) != 3 or pieces[0] != "rc1":
            return None
        try:
            home = cls(pieces[1], pieces[2], Ref.parse(ref.replace("~", "/")))
        except ValueError:
            return None
        return home if home.id == mark_id(home.ref) and str(home) == text else None


@dataclass(frozen=True, slots=True, order=True)
class Label:
    """One version. Its number counts from 1; 0 stands for a home without any."""

    home: Home
    number: int

    def __str__(self) -> str:
        return f"{self.home}/{self.number}"

    @classmethod
    def parse(cls, text: str) -> Label | None:
        """Read what `str` printed; None for every other name."""
        name, _, number = text.partition("/")
        if not (number.isascii() and number.isdecimal() and str(int(number)) == number):
            return None
        home = Home.parse(name)
        return cls(home, int(number)) if home else None

    @property
    def flat(self) -> str:
        """The same as one file name."""
        return f"{self.home.owner}.{self.home.id}.{self.number}"

    def of(self, mark: Mark) -> bool:
        """Does this version carry that mark?"""
        return self.home.owner == mark.owner and self.home.id == mark.id


@dataclass(frozen=True, slots=True)
class Repository:
    """The paths of one repository. Nothing is read or written by asking for one."""

    name: str
    root: str

    def inside(self, *names: str) -> str:
        """A path below our reserved folder."""
        return "/".join((self.root, RESERVED, *names))

    def published(self, label: Label, *names: str) -> str:
        return self.inside("published", str(label), *names)

    def work(self, label: Label) -> str:
        return self.inside("work", label.flat)

    def temporary(self, name: str) -> str:
        """For what is written while the lock is held: whoever finds it later may remove it."""
        return self.inside("work", TEMPORARY + name)

    def visible(self, path: str) -> str:
        return f"{self.root}/{path}"

    def link_text(self, path: str, label: Label) -> str:
        """What the link at `path` says to show that version."""
        return "../" * path.count("/") + f"{RESERVED}/published/{label}/tree"


def make_skeleton(repository: Repository, parent: str) -> None:
    """Make the folders that every repository needs. Only `work` is closed to others."""
    for folder in (parent, repository.root, repository.inside()):
        make_folder(folder, 0o755)
    for name in ("published", "store", "folders"):
        make_folder(repository.inside(name), 0o755)
    make_folder(repository.inside("work"), 0o700)


def make_folder(path: str, mode: int) -> None:
    """Make a folder with that mode, whatever the umask. There already is success, also a moment ago."""
    if not os.path.isdir(path):
        os.makedirs(path, exist_ok=True)
        os.chmod(path, mode)


@contextmanager
def locked(repository: Repository) -> Iterator[None]:
    """Hold the repository for a moment: switching, counting users of content, the index; never unpacking.

    The lock dies with its holder, whose temporary files are removed by the next one.
    """
    descriptor = os.open(repository.inside("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _wait_for(descriptor, repository)
        for name in sorted(os.listdir(repository.inside("work"))):
            if name.startswith(TEMPORARY):
                remove_any(repository.inside("work", name))
        yield
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int, repository: Repository) -> None:
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > end:
                raise Transient(f"the repository {repository.name} is locked by another process") from error
            time.sleep(0.005)
        else:
            return


def remove_any(path: str) -> None:
    """Remove a file, a link or a folder with all in it."""
    if os.path.isdir(path) and not os.path.islink(path):
        remove_tree(path)
    else:
        os.unlink(path)


def write_file(path: str, content: bytes, temporary: str) -> None:
    """Write a file whole or not at all: temporary name, fsync, rename."""
    fill_file(temporary, content)
    os.rename(temporary, path)


def fill_file(path: str, content: bytes) -> None:
    """Write a file that everybody may read, and wait until the disk has it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fchmod(descriptor, 0o644)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
