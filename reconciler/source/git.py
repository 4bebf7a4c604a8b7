"""One repository of configuration, read through git plumbing; never checked out, nothing in it acts.

Stands under `load`. Reading takes few processes: one lists the tree of a commit, one streams all blobs that
are needed. No process of ours runs hooks, filters, file-system monitors or lazy fetches, and the GIT_*
variables of the environment are ignored, so that a call from within a hook reads what it was asked to.
A URL is mirrored into the cache by `reconciler.source.mirror`.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final, cast

from reconciler.errors import InvalidRepository, Transient
from reconciler.printable import shown

TIMEOUT: Final = 120.0  # seconds for one process that reads
SAFE: Final = (
    "-c", "core.hooksPath=/dev/null",
    "-c", "core.fsmonitor=false",
    "-c", "core.quotePath=false",
    "-c", "protocol.allow=never",
    "-c", "safe.directory=*",
    "-c", "log.showSignature=false",
)  # fmt: skip
_REF = re.compile(r"[A-Za-z0-9_][^\x00-\x20\x7f~^:?*\[\\@]*(?:[~^][0-9]*)*")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_SCP = re.compile(r"[^/:\s]+@[^/:\s]+:[^\s].*|[^/:\s]{2,}:[^/\s].*")


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a tree: `mode` as git writes it, e.g. 100644, 120000 (symlink), 160000 (submodule)."""

    path: str
    mode: str
    blob: str


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of every git process: no GIT_* of the caller, no prompt, English messages."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return {
        **kept,
        "LC_ALL": "C.UTF-8",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_ATTR_NOSYSTEM": "1",
        **(extra or {}),
    }


@dataclass(frozen=True, slots=True)
class Repository:
    """A git repository on this machine. `location` is what the operator typed, without secrets.

    `directory` holds the work tree, or the repository itself when `bare`. `mirror` marks our own copy of a
    URL, `foreign` a directory of another user.
    """

    location: str
    directory: Path
    bare: bool = False
    mirror: bool = False
    foreign: bool = False

    def resolve(self, ref: str) -> str:
        """The commit that a branch, tag, `HEAD~2` or (part of a) commit id names, in full hex.

        Raises InvalidRepository with near guesses where there is none: nothing was changed then.
        """
        if not _REF.fullmatch(ref) or ".." in ref or len(ref) > 250:
            raise InvalidRepository(f"'{shown(ref)}' cannot be the name of a branch, tag or commit")
        found = self._run(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}", fail=False
        )
        if found.returncode == 0:
            return found.stdout.decode().strip()
        raise self._no_such(ref)

    def _no_such(self, ref: str) -> InvalidRepository:
        listed = self._run("for-each-ref", "--format=%(refname:short)", "--count=5000", fail=False)
        names = [name for name in listed.stdout.decode(errors="replace").split("\n") if name]
        if not names:
            return InvalidRepository(f"{self.location} has no commit yet", hint="commit something first")
        near = (
            difflib.get_close_matches(ref, names, 3)
            or [name for name in names if name.endswith(f"/{ref}")][:3]
        )
        guess = (
            f"did you mean {' or '.join(shown(name) for name in near)}?" if near else "see `git branch --all`"
        )
        message = f"there is no branch, tag or commit '{shown(ref)}' in {self.location} (was it deleted?)"
        return InvalidRepository(f"{message}; nothing was changed", hint=guess)

    def default_trusted_ref(self) -> str | None:
        """The remote's HEAD branch, as a ref of this repository; None where there is no remote."""
        if self.mirror:
            return "HEAD"
        for candidate in ("origin/HEAD", "origin/main", "origin/master"):
            name = f"refs/remotes/{candidate}"
            found = self._run("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", fail=False)
            if found.returncode == 0:
                full = self._run("rev-parse", "--symbolic-full-name", name).stdout.decode().strip()
                return full.removeprefix("refs/remotes/") or candidate
        return None

    def is_ancestor(self, old: str, new: str) -> bool:
        """Does `new` hold all of `old`? False also where `old` is not known here (a rewritten history)."""
        asked = self._run("merge-base", "--is-ancestor", "--end-of-options", old, new, fail=False)
        return asked.returncode == 0

    def first_parent(self, revision: str) -> str | None:
        """The commit before this one; None for the first, or at the boundary of a shallow clone."""
        found = self._run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^1", fail=False)
        return found.stdout.decode().strip() if found.returncode == 0 else None

    def commit_time(self, revision: str) -> datetime:
        """When the commit was made, by the committer's clock."""
        shown_time = self._run("show", "-s", "--format=%ct", "--end-of-options", revision).stdout
        return datetime.fromtimestamp(int(shown_time), UTC)

    def is_dirty(self) -> bool:
        """Does the work tree differ from HEAD? A work tree of another user is not looked at: False."""
        if self.bare or self.foreign:
            return False
        status = ("status", "--porcelain", "--no-renames", "--ignore-submodules")
        return bool(self._run(*self._without_filters(), *status).stdout)

    def _without_filters(self) -> list[str]:
        """Options that make configured filters do nothing: they are somebody's code."""
        listing = self._run(
            "config", "--null", "--name-only", "--get-regexp", r"^filter\.", fail=False
        ).stdout
        return [word for name in _names(listing) for word in ("-c", f"{name}=")]

    def changed_paths(self, old: str, new: str) -> tuple[str, ...]:
        """The paths that differ between two commits, sorted; a rename is two."""
        flags = ("-r", "-z", "--name-only", "--no-renames", "--no-ext-diff", "--no-textconv")
        return tuple(sorted(_names(self._run("diff-tree", *flags, "--end-of-options", old, new).stdout)))

    def tree(self, revision: str) -> Iterator[Entry]:
        """Every file of a commit, in git's order, which is sorted by bytes."""
        listing = self._run("ls-tree", "-r", "-z", "--full-tree", "--end-of-options", revision).stdout
        for line in _names(listing):
            head, _, path = line.partition("\t")
            mode, _, blob = head.split(" ")
            yield Entry(path, mode, blob)

    def read(self, blobs: Collection[str], limit: int) -> Iterator[tuple[str, bytes]]:
        """The content of blobs, in the order asked for, through one process.

        Of a blob larger than `limit` bytes only the first limit + 1 are given. Raises InvalidRepository
        when one is missing: a damaged or partial clone is not an empty one.
        """
        if not blobs:
            return
        with tempfile.TemporaryFile() as asked:
            asked.write("".join(f"{blob}\n" for blob in blobs).encode())
            asked.seek(0)
            process = self._start("cat-file", "--batch", stdin=asked)
            with process:
                stream = cast("IO[bytes]", process.stdout)
                try:
                    for blob in blobs:
                        yield blob, self._blob(stream, blob, limit)
                finally:
                    process.kill()

    def _blob(self, stream: IO[bytes], blob: str, limit: int) -> bytes:
        head = stream.readline().split()
        if len(head) != 3 or head[1] != b"blob":
            hint = "run `git fsck`, or clone again without --filter"
            raise InvalidRepository(f"{self.location}: the object {blob} can't be read", hint=hint)
        size = int(head[2])
        content = stream.read(min(size, limit + 1))
        rest = size - len(content) + 1  # and the line feed behind it
        while rest > 0 and (skipped := len(stream.read(min(rest, 2**20)))):
            rest -= skipped
        return content

    def work_tree(self) -> tuple[str, ...]:
        """The files below `directory`, tracked or not, that git does not ignore; sorted."""
        listing = self._run("ls-files", "--cached", "--others", "--exclude-standard", "-z").stdout
        return tuple(sorted(set(_names(listing))))

    def _run(self, *arguments: str, fail: bool = True) -> subprocess.CompletedProcess[bytes]:
        done = run_git((*SAFE, *arguments), self.directory)
        if fail and done.returncode != 0:
            said = shown(done.stderr.decode(errors="replace").strip(), 300)
            raise InvalidRepository(f"git could not read {self.location}: {said}")
        return done

    def _start(self, *arguments: str, stdin: IO[bytes]) -> subprocess.Popen[bytes]:
        command = ["git", *SAFE, *arguments]
        return subprocess.Popen(
            command,
            cwd=self.directory,
            env=environment(),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )


def run_git(
    arguments: Sequence[str], directory: Path, extra: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run git to its end, killed after the time-out. Raises Transient then, InvalidRepository without git."""
    try:
        return subprocess.run(
            ["git", *arguments],
            cwd=directory,
            env=environment(extra),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
    except FileNotFoundError as error:
        raise InvalidRepository("git is not installed", hint="install git 2.30 or newer") from error
    except subprocess.TimeoutExpired as error:
        raise Transient(f"git did not answer within {TIMEOUT:.0f} s in {directory}") from error


def _names(listing: bytes) -> list[str]:
    """The entries of a NUL-separated listing; bytes that are not UTF-8 become lone surrogates."""
    return [name.decode(errors="surrogateescape") for name in listing.split(b"\x00") if name]


def blob_id(data: bytes) -> str:
    """The id that git gives this content."""
    return hashlib.sha1(b"blob %d\x00" % len(data) + data, usedforsecurity=False).hexdigest()


def is_url(location: str) -> bool:
    """Is this a URL or the scp form (user@host:path), rather than a directory?"""
    return not Path(location).is_dir() and bool(_URL.match(location) or _SCP.fullmatch(location))


def open_repository(location: str, cache: Path) -> Repository:
    """A directory (work tree or bare), or a URL, which is mirrored (fetched) into `cache` now.

    Raises InvalidRepository for what is neither, or is refused; Transient when there is no answer.
    """
    if is_url(location):
        from reconciler.source.mirror import mirrored  # noqa: PLC0415  GitPython is only imported where it is needed

        directory, name = mirrored(location, cache)
        return Repository(name, directory, bare=True, mirror=True)
    return _open_directory(location)


def open_work_tree(directory: Path) -> Repository | None:
    """The repository whose work tree this directory is, or is part of; None where it is none."""
    asked = (*SAFE, "rev-parse", "--is-inside-work-tree")
    inside = directory.is_dir() and run_git(asked, directory).stdout.strip() == b"true"
    return Repository(str(directory), directory) if inside else None


def _open_directory(location: str) -> Repository:
    directory = Path(location)
    if location.startswith("-") or "\n" in location or not directory.is_dir():
        hint = "give a directory, or a URL that begins with https://, ssh:// or file://"
        raise InvalidRepository(f"there is no directory '{shown(location)}'", hint=hint)
    only_here = {"GIT_CEILING_DIRECTORIES": str(directory.resolve().parent)}
    asked = run_git((*SAFE, "rev-parse", "--is-bare-repository"), directory, only_here)
    if asked.returncode != 0:
        raise InvalidRepository(
            f"'{shown(location)}' is not a git repository: {_why(directory)}",
            hint="give the top folder of a repository, or make one there: git init, git add, git commit",
        )
    bare = asked.stdout.startswith(b"true")
    return Repository(shown(location, 1000), directory, bare=bare, foreign=_is_foreign(directory))


def _why(directory: Path) -> str:
    for parent in directory.resolve().parents:
        if (parent / ".git").exists():
            return f"it is a folder inside the repository {parent}"
    return "it holds no `.git`"


def _is_foreign(directory: Path) -> bool:
    try:
        return directory.stat().st_uid not in (os.geteuid(), 0)
    except OSError:
        return True
