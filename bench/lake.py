"""Rows about the embedded lake: copies against `cp` and `sha256sum`, verification against `sha256sum`.

Ours is the whole command: start, git, plan, the work with fsync, and the look afterwards. Theirs are the
bare programs on the same files in the same folder, without fsync.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.command import Sample, run, run_program
from bench.generate import BRANCH, IDENTITY, git, settle
from bench.ground import DONE, LIMIT, environment_of
from reconciler.errors import ExitCode

_WHO = IDENTITY.partition(" <")[0]
_PIECE = 1024 * 1024
_OBJECT = "apiVersion: reconciler/v1\nkind: {}\nmetadata: {{ {} }}\nspec: {}\n"


@dataclass(frozen=True, slots=True)
class Lake:
    """A repository with one element and a rule for `files` files of `size` bytes. All lies in one folder."""

    folder: Path
    files: int
    size: int

    @property
    def lake(self) -> Path:
        return self.folder / "lake"

    @property
    def source(self) -> Path:
        return self.folder / "uploads" / "set"

    @property
    def replica(self) -> Path:
        """Where our copies of the files are to be."""
        return self.lake / "disk" / "bench" / "set" / "bench.set"

    def open(self) -> None:
        """Make the files and the repository; both sides run once, so that the source is in memory."""
        self.source.mkdir(parents=True)
        (self.folder / "home").mkdir()
        self.lake.mkdir()
        for number in range(self.files):
            _write(self.source / f"file-{number:05}", self.size)
        self._commit()
        self.copied()
        self.copied_bare()

    def _commit(self) -> None:
        repository = self.folder / "repository"
        git(self.folder, "init", "--quiet", "--initial-branch", BRANCH, str(repository))
        for path, text in self._texts():
            file = repository / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        git(repository, "add", "--all")
        who = ("-c", f"user.name={_WHO}", "-c", "user.email=bench@example.org")
        git(repository, *who, "commit", "--quiet", "--message", "one data set")
        settle(repository)

    def _texts(self) -> Iterator[tuple[str, str]]:
        target = f"{{ type: storage, path: {self.lake}, uploads: {self.source.parent} }}"
        provider = f"{{ location: {{ site: BENCH, country: IT }}, targets: [ {target} ] }}"
        rule = '{ dataset: "bench:set", source: set, expression: "quality=disk", verify: { how: checksum } }'
        yield "reconciler.yaml", "owner: bench\n"
        yield "groups/bench.yaml", _OBJECT.format("UserGroup", "name: bench", "{}")
        yield "providers/bench.yaml", _OBJECT.format("Provider", "name: bench", provider)
        element = "{ target: bench, attributes: { quality: disk } }"
        yield "data/elements/disk.yaml", _OBJECT.format("StorageElement", "name: disk", element)
        yield "data/bench/set.yaml", _OBJECT.format("DataRule", "name: set, group: bench", rule)

    # -- what is timed -------------------------------------------------------------------------

    def copied(self) -> Sample:
        """From an empty lake and no store to a copy that is whole."""
        _put_aside(self.lake)
        self.lake.mkdir()
        shutil.rmtree(self.folder / "home" / "state", ignore_errors=True)
        return self._reconciler("apply")

    def copied_bare(self) -> Sample:
        """`cp`, then `sha256sum` of the copies, which have to be what ours are."""
        copies = self.folder / "copies"
        _put_aside(copies)
        copied = self._bare("cp", "--recursive", str(self.source), str(copies))
        summed = self.summed(copies)
        _compare(self.folder / "stdout", self.replica, self.files)
        seconds, cpu = copied.seconds + summed.seconds, copied.cpu + summed.cpu
        return Sample(seconds, cpu, max(copied.mib, summed.mib), 0, copied.started)

    def verified(self) -> Sample:
        """A quiet pass that reads every byte of the copy."""
        return self._reconciler("apply", "--deep")

    def summed(self, copies: Path) -> Sample:
        """`sha256sum` of all files in a folder, one process on one core."""
        return self._bare("sha256sum", *(str(path) for path in _files(copies)))

    def refuse_damage(self) -> None:
        """One flipped bit, size and times as before, must be found: the bytes are really read."""
        path = _files(self.replica)[-1]
        status = path.stat()
        with path.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            last = file.read(1)[0]
            file.seek(-1, os.SEEK_END)
            file.write(bytes([last ^ 1]))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        self._reconciler("plan", "--deep", "--exit-code", expect=(ExitCode.PENDING,))

    def _reconciler(self, word: str, *more: str, expect: Collection[int] = DONE) -> Sample:
        os.sync()  # nobody pays for what another left to be written
        words = (word, str(self.folder / "repository"), *more)
        return run(words, self.folder, environment_of(self.folder / "home"), expect=expect, limit=LIMIT)

    def _bare(self, *command: str) -> Sample:
        os.sync()
        return run_program(
            command, self.folder, environment_of(self.folder / "home"), expect=DONE, limit=LIMIT
        )


def compare_copies(lake: Lake, repeat: int) -> tuple[list[Sample], list[float]]:
    """Our copies, and how much longer each took than the bare one after it, A B A B …"""
    lake.open()
    samples, ratios = [], []
    for _ in range(repeat):
        samples.append(lake.copied())
        ratios.append(samples[-1].seconds / lake.copied_bare().seconds)
    return samples, ratios


def compare_checks(lake: Lake, repeat: int) -> tuple[list[Sample], list[float]]:
    """Our verifications, and how much longer each took than `sha256sum` of the same files, A B A B …"""
    lake.open()
    lake.verified()
    samples, ratios = [], []
    for _ in range(repeat):
        samples.append(lake.verified())
        ratios.append(samples[-1].seconds / lake.summed(lake.replica).seconds)
    lake.refuse_damage()
    return samples, ratios


def _write(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for start in range(0, size, _PIECE):
            file.write(os.urandom(min(_PIECE, size - start)))


def _put_aside(folder: Path) -> None:
    """Another name and no bytes. Removing many files would slow the next copies down, ours and theirs:
    ext4 does not use an inode again at once, and looks for another one each time.
    """
    if folder.exists():
        aside = folder.with_name(f"{folder.name}-{os.urandom(4).hex()}")
        folder.rename(aside)
        for path in aside.rglob("*"):
            if path.is_file():
                os.truncate(path, 0)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file())


def _compare(listed: Path, replica: Path, files: int) -> None:
    """What `sha256sum` said of its copies, against the bytes of ours."""
    theirs = [line.split()[0] for line in listed.read_text().splitlines()]
    ours = []
    for path in _files(replica):
        with path.open("rb") as file:
            ours.append(hashlib.file_digest(file, "sha256").hexdigest())
    if len(ours) != files or ours != theirs:
        raise AssertionError("our copies and those of cp differ")
