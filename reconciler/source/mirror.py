"""A private bare copy of a repository behind a URL, fetched when something changed there.

Stands under `git`. Only file://, ssh:// (and user@host:path) and https:// are let through, checked here, by
GitPython, and again by git (`protocol.*.allow`). Redirects are not followed, so credentials never reach
another host; a URL with a password in it is refused and never printed. Fetching is safe when two processes do
it at once (git inherits the lock, which so outlives a kill of ours) and after a kill at any moment.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from reconciler.errors import InvalidRepository, Transient
from reconciler.printable import shown
from reconciler.source.git import environment, run_git

FETCH_TIMEOUT: Final = 300.0  # seconds for one answer of the other side, killed afterwards
_ALLOWED: Final = ("file", "ssh", "https")
_KEPT: Final = (
    "GIT_SSH_COMMAND", "GIT_SSH", "GIT_ASKPASS", "GIT_CONFIG_GLOBAL",
    "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_SSL_CERT", "GIT_SSL_KEY",
)  # fmt: skip
_SCP = re.compile(r"(?:[A-Za-z0-9_][\w.-]*@)?[A-Za-z0-9_][\w.-]*:[^-\s/][^\s]*|[\w.-]+@[\w.-]+:/[^\s]*")
_MIRRORED: Final = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")


def mirrored(url: str, cache: Path) -> tuple[Path, str]:
    """Fetch `url` into its mirror under `cache`: where that is, and how the URL may be printed.

    Raises InvalidRepository for URLs that are refused, or when there is no such repository; Transient
    when the other side does not answer.
    """
    check_url(url)
    folder = cache / "mirrors" / hashlib.sha256(url.encode()).hexdigest()[:24]
    _private(folder.parent)
    with _locked(folder) as lock:
        _prepare(folder)
        _update(folder, url, lock)
    return folder, url


def check_url(url: str) -> None:
    """Refuse what git must not be asked to open. Never repeats a password in its message."""
    if any(not letter.isprintable() or letter.isspace() for letter in url) or url.startswith("-"):
        raise InvalidRepository(f"'{shown(_without_password(url))}' is not a URL", hint=_EXPECTED)
    if "://" not in url:
        if not _SCP.fullmatch(url) or "::" in url:
            raise InvalidRepository(f"'{shown(_without_password(url))}' is not a URL we open", hint=_EXPECTED)
    else:
        _check_parts(url)
    _check_again(url)


_EXPECTED: Final = "give a directory, https://host/path, ssh://user@host/path, user@host:path or file:///path"


def _check_parts(url: str) -> None:
    try:
        parts = urlsplit(url)
        host, password = parts.hostname or "", parts.password
    except ValueError as error:
        raise InvalidRepository("the URL is malformed", hint=_EXPECTED) from error
    printed = shown(_without_password(url), 200)
    if parts.scheme not in _ALLOWED:
        raise InvalidRepository(f"'{printed}': {shown(parts.scheme)} URLs are refused", hint=_EXPECTED)
    if password is not None or (parts.scheme == "https" and parts.username):
        hint = "use a credential helper of git, or a token in a file that its `store` helper reads"
        raise InvalidRepository(f"'{printed}': a URL must not carry credentials", hint=hint)
    if (host or parts.username or "").startswith("-") or (parts.scheme != "file" and not host):
        raise InvalidRepository(f"'{printed}' names no host", hint=_EXPECTED)


def _without_password(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//…@", url) if "://" in url else url


def _check_again(url: str) -> None:
    """A second opinion, of those who have had these holes: GitPython."""
    from git.cmd import Git  # noqa: PLC0415  heavy, and only needed here
    from git.exc import UnsafeProtocolError  # noqa: PLC0415

    try:
        Git.check_unsafe_protocols(url)
    except UnsafeProtocolError as error:
        raise InvalidRepository("the URL asks for a protocol that runs programs", hint=_EXPECTED) from error


def _private(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.geteuid():
        raise InvalidRepository(f"the cache {folder} belongs to another user", hint="choose another folder")
    folder.chmod(0o700)


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """Hold the lock of one mirror; the kernel drops it when the last process that inherited it is gone."""
    descriptor = os.open(
        folder.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
    )
    try:
        _wait_for(descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int) -> None:
    end = time.monotonic() + 2 * FETCH_TIMEOUT
    while not _taken(descriptor):
        if time.monotonic() > end:
            raise Transient("another process has been fetching this repository for too long")
        time.sleep(0.05)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _prepare(folder: Path) -> None:
    """Make the bare repository, or clear away what a killed fetch left: under the lock nobody uses it."""
    if not (folder / "HEAD").exists():
        arguments = ("init", "--quiet", "--bare", "--template=", "--initial-branch=main", str(folder))
        done = run_git(arguments, folder.parent)
        if done.returncode != 0:
            raise InvalidRepository(
                f"the mirror can't be made in {folder}: {shown(done.stderr.decode(), 200)}"
            )
        folder.chmod(0o700)
    for stale in (*folder.glob("*.lock"), *folder.glob("refs/**/*.lock"), *folder.glob("objects/pack/tmp_*")):
        stale.unlink(missing_ok=True)


_FETCH: Final = (
    "fetch", "--quiet", "--prune", "--no-tags", "--force", "--no-auto-maintenance", "--no-write-fetch-head",
    "--no-recurse-submodules",
)  # fmt: skip


def _update(folder: Path, url: str, lock: int) -> None:
    """Ask what the refs are; fetch only when they differ from ours."""
    wanted = ("HEAD", "refs/heads/*", "refs/tags/*")
    head, theirs = _refs(_remote(folder, lock, url, ("ls-remote", "--quiet", "--symref"), wanted))
    if theirs != _ours(folder):
        _remote(folder, lock, url, _FETCH, _MIRRORED)
    if head:
        run_git(("symbolic-ref", "HEAD", head), folder)


def _refs(answer: bytes) -> tuple[str, dict[str, str]]:
    """The branch that HEAD names, and branch or tag → object id."""
    head, refs = "", {}
    for line in answer.decode(errors="surrogateescape").splitlines():
        value, _, name = line.partition("\t")
        if name == "HEAD" and value.startswith("ref: "):
            head = value.removeprefix("ref: ")
        elif name.startswith("refs/") and not name.endswith("^{}"):
            refs[name] = value
    return head, refs


def _ours(folder: Path) -> dict[str, str]:
    listed = run_git(("for-each-ref", "--format=%(objectname)\t%(refname)"), folder).stdout
    return _refs(listed)[1]


def _remote(folder: Path, lock: int, url: str, verb: Sequence[str], refs: Sequence[str]) -> bytes:
    """Run git against the other side, in a process group of its own, killed after the time-out."""
    process = subprocess.Popen(
        ["git", *_hardened(), *verb, "--", url, *refs],
        cwd=folder,
        env=environment(_network_environment()),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        pass_fds=(lock,),
    )
    with process:
        try:
            output, said = process.communicate(timeout=FETCH_TIMEOUT)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise Transient(f"git did not answer within {FETCH_TIMEOUT:.0f} s") from None
            raise
    if process.returncode != 0:
        raise _failure(said.decode(errors="replace"), url)
    return output


def _hardened() -> list[str]:
    allowed = [f"protocol.{name}.allow=always" for name in _ALLOWED]
    settings = ["protocol.allow=never", *allowed, "http.followRedirects=false", "core.hooksPath=/dev/null",
                "fetch.unpackLimit=1", "gc.auto=0", "safe.directory=*",
                "http.lowSpeedLimit=1", "http.lowSpeedTime=60",
                "submodule.recurse=false", "fetch.writeCommitGraph=false"]  # fmt: skip
    return [piece for setting in settings for piece in ("-c", setting)]


def _network_environment() -> dict[str, str]:
    """What the operator may say about how to reach the other side."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {"GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=20", **kept}


_GONE: Final = (
    "not found", "does not exist", "not appear to be a git repository", "permission denied", "not allowed",
    "authentication failed", "could not read username", "terminal prompts disabled", "redirect",
    "access denied",
)  # fmt: skip


def _failure(said: str, url: str) -> InvalidRepository | Transient:
    """The error in git's words, without anything that could be a credential."""
    clean = re.sub(r"//[^/@\s]*@", "//…@", said.strip())
    lines = [line for line in clean.splitlines() if line.startswith(("fatal:", "error:", "remote:"))]
    message = f"{url} can't be fetched: {shown(' '.join(lines) or clean, 300)}"
    if any(sign in clean.lower() for sign in _GONE):
        return InvalidRepository(message, hint="check the URL and that git may read it without asking")
    return Transient(message, hint="the last known state is untouched; try again later")
