"""Commit the status pages to a branch of their own: after `status_pages`, where `publish.branch` says so.

Git plumbing only: no work tree is touched, no hook runs, nothing is forced. The branch shares no history
with any other; each of its commits carries `Reconciler-Status: <owner>`, and a branch whose last one does
not is refused.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from reconciler.errors import Conflict, ReconcilerError, Transient, UsageError
from reconciler.printable import shown
from reconciler.source.git import run_git
from reconciler.source.mirror import check_url
from reconciler.telling.status_pages import our_pages

_TRAILER: Final = "Reconciler-Status"
_SAFE: Final = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "safe.directory=*")
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*")
_TRIES: Final = 3


def commit_status(
    repository: Path,
    branch: str,
    directory: Path,
    *,
    owner: str,
    now: datetime,
    reading: Collection[str] = (),
) -> str:
    """Commit the pages in `directory` to `branch` of the repository here; return the commit.

    Empty when the branch says the same already. `reading` are the refs that this run reads (--ref,
    --trusted-ref): the branch must be none of them. Raises UsageError for a branch that is refused,
    Conflict when somebody else moved it meanwhile.
    """
    _check_name(repository, branch, reading)
    ref = f"refs/heads/{branch}"
    parent = _resolved(repository, ref)
    commit = _commit(repository, branch, parent, directory, _identity(owner, now))
    if commit:
        done = _try(repository, "update-ref", ref, commit, parent or "0" * len(commit))
        if done is None:
            raise Conflict(
                f"branch {branch} moved while the status was committed", hint="the next run tries again"
            )
    return commit


def push_status(
    mirror: Path,
    url: str,
    branch: str,
    directory: Path,
    *,
    owner: str,
    now: datetime,
    reading: Collection[str] = (),
) -> str:
    """The same on the branch behind a URL; `mirror` is our private copy, whose branches stay as they are.

    Raises Transient when the other side does not answer or refuses. Credentials are those of git's own
    helpers; they appear in no message.
    """
    check_url(url)
    _check_name(mirror, branch, reading)
    for _ in range(_TRIES):
        parent = _fetched(mirror, url, branch)
        commit = _commit(mirror, branch, parent, directory, _identity(owner, now))
        if not commit or _pushed(mirror, url, branch, commit):
            return commit
    raise Transient(
        f"the status could not be pushed to branch {branch}",
        hint="may this user push there? The next run tries again",
    )


def _check_name(repository: Path, branch: str, reading: Collection[str]) -> None:
    if not _NAME.fullmatch(branch) or _try(repository, "check-ref-format", f"refs/heads/{branch}") is None:
        raise UsageError(f"publish.branch: '{shown(branch)}' is no name of a branch")
    current = _try(repository, "symbolic-ref", "--short", "-q", "HEAD")
    names = {name.removeprefix("refs/heads/").removeprefix("origin/") for name in reading}
    if branch in names or branch == current:
        raise UsageError(
            f"publish.branch: {branch} is read as configuration", hint="name a branch for status alone"
        )


def _commit(repository: Path, branch: str, parent: str, directory: Path, identity: Mapping[str, str]) -> str:
    """A commit of exactly these pages on top of `parent` (empty: the first); empty if it says the same."""
    owner = identity["GIT_AUTHOR_NAME"].split()[-1]
    if parent and not _is_status(repository, parent, owner):
        raise UsageError(
            f"publish.branch: {branch} is not the status branch of owner '{owner}'",
            hint="name a branch that nothing else uses; it is made when it is not there",
        )
    tree = _tree(repository, directory)
    if parent and _git(repository, "rev-parse", f"{parent}^{{tree}}") == tree:
        return ""
    message = f"Status\n\n{_TRAILER}: {owner}"
    parents = ("-p", parent) if parent else ()
    return _git(repository, "commit-tree", *parents, "-m", message, tree, extra=identity)


def _is_status(repository: Path, commit: str, owner: str) -> bool:
    message = _git(repository, "show", "-s", "--format=%B", "--no-show-signature", commit)
    return f"{_TRAILER}: {owner}" in message.splitlines()


def _tree(repository: Path, directory: Path) -> str:
    """The pages as a tree, by way of an index of its own."""
    names = our_pages(directory)
    paths = [str((directory / name).absolute()) for name in names]
    blobs = _git(repository, "hash-object", "-w", "--no-filters", "--", *paths).split() if names else []
    entries = [f"100644,{blob},{name}" for blob, name in zip(blobs, names, strict=True)]
    with tempfile.TemporaryDirectory(prefix="reconciler-") as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        _git(repository, "read-tree", "--empty", extra=index)
        arguments = [word for entry in entries for word in ("--cacheinfo", entry)]
        _git(repository, "update-index", "--add", *arguments, extra=index)
        return _git(repository, "write-tree", extra=index)


def _identity(owner: str, now: datetime) -> Mapping[str, str]:
    date = now.strftime("%Y-%m-%dT%H:%M:%S%z")
    who = {"NAME": f"Reconciler {owner}", "EMAIL": f"reconciler@{owner}.invalid", "DATE": date}
    return {f"GIT_{role}_{key}": who[key] for role in ("AUTHOR", "COMMITTER") for key in who}


def _fetched(mirror: Path, url: str, branch: str) -> str:
    """The branch's commit on the other side, brought here under a ref that mirroring does not touch."""
    listed = _remote(mirror, "ls-remote", "--", url, f"refs/heads/{branch}")
    if not listed:
        return ""
    ours = f"refs/reconciler/status/{branch}"
    _remote(mirror, "fetch", "--quiet", "--no-tags", "--", url, f"+refs/heads/{branch}:{ours}")
    return _resolved(mirror, ours)


def _pushed(mirror: Path, url: str, branch: str, commit: str) -> bool:
    target = f"{commit}:refs/heads/{branch}"
    done = _try(mirror, *_FAR, "push", "--quiet", "--no-verify", "--", url, target, extra=_credentials())
    return done is not None


_FAR: Final = (
    *("-c", "protocol.allow=never", "-c", "http.followRedirects=false"),
    *(
        "-c",
        "protocol.file.allow=always",
        "-c",
        "protocol.ssh.allow=always",
        "-c",
        "protocol.https.allow=always",
    ),
)


_CREDENTIALS: Final = ("GIT_SSH_COMMAND", "GIT_SSH", "GIT_ASKPASS", "GIT_CONFIG_GLOBAL", "GIT_SSL_CAINFO")


def _credentials() -> dict[str, str]:
    """What of the caller's environment says how to reach the other side."""
    return {name: os.environ[name] for name in _CREDENTIALS if name in os.environ}


def _remote(mirror: Path, *arguments: str) -> str:
    said = _try(mirror, *_FAR, *arguments, extra=_credentials())
    if said is None:
        raise Transient("the repository behind the URL did not answer", hint="the next run tries again")
    return said


def _resolved(repository: Path, ref: str) -> str:
    return _try(repository, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}") or ""


def _try(repository: Path, *arguments: str, extra: Mapping[str, str] | None = None) -> str | None:
    """What git said; None when it failed."""
    done = run_git((*_SAFE, *arguments), repository, extra)
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else None


def _git(repository: Path, *arguments: str, extra: Mapping[str, str] | None = None) -> str:
    done = run_git((*_SAFE, *arguments), repository, extra)
    if done.returncode != 0:
        said = shown(done.stderr.decode(errors="replace").strip(), 200)
        raise ReconcilerError(f"the status could not be committed (git {arguments[0]}): {said}")
    return done.stdout.decode(errors="replace").strip()
