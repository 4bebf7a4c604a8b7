"""`reconciler init`: a new configuration repository that validates and plans at once."""

from __future__ import annotations

import argparse
import base64
import os
import re
import secrets
import subprocess
import sys
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from reconciler.cli.parser import Parser
from reconciler.errors import ExitCode, ReconcilerError, UsageError

_EXAMPLES = """\
examples:
  reconciler init my-cloud
  cd my-cloud && reconciler validate && reconciler plan
"""
_LONGEST: Final = 30  # characters of an owner
_DOTTED: Final = {"gitlab-ci.yml": ".gitlab-ci.yml", "gitignore": ".gitignore"}
_INHERITED: Final = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX")
_NOBODY: Final = {"user.name": "reconciler init", "user.email": "reconciler@localhost"}


def configure(parser: Parser) -> None:
    """Declare the arguments."""
    parser.description = (
        "Make a configuration repository with commented examples, initialised and committed in git."
        " It needs no credentials: what it declares lives in folders of this machine and in a simulated site."
    )
    parser.epilog = _EXAMPLES
    parser.add_argument("directory", metavar="DIR", help="a folder that is empty or does not exist yet")


def execute(arguments: argparse.Namespace) -> ExitCode:
    """Write the files, commit them, say what to type next."""
    folder = Path(arguments.directory)
    _require_empty(folder)
    owner = owner_of(folder.absolute().resolve().name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(resources.files("reconciler.cli") / "template", folder, {"@OWNER@": owner})
    except OSError as error:
        raise ReconcilerError(f"{folder}: can't be written: {error.strerror}") from error
    _commit(folder)
    key = _new_key(owner)
    sys.stdout.write(f"{folder}\n")
    if not arguments.quiet:
        _say_next(folder, owner, key)
    return ExitCode.CONVERGED


def _require_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.is_symlink() or folder.exists():
        raise UsageError(
            f"{folder} is not an empty folder; nothing was written",
            hint="name a folder that does not exist yet",
        )


def owner_of(name: str) -> str:
    """`<name>-<4 random base32>`: a DNS label of at most 30 characters."""
    suffix = base64.b32encode(secrets.token_bytes(5)).decode()[:4].lower()
    stem = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[: _LONGEST - 5].strip("-")
    return f"{stem or 'cloud'}-{suffix}"


def _write(source: Traversable, folder: Path, words: dict[str, str]) -> None:
    """Copy the template; `words` are replaced in every file."""
    for entry in sorted(source.iterdir(), key=lambda entry: entry.name):
        place = folder / _DOTTED.get(entry.name, entry.name)
        if entry.is_dir():
            place.mkdir()
            _write(entry, place, words)
            continue
        text = entry.read_text(encoding="utf-8")
        for word, meaning in words.items():
            text = text.replace(word, meaning)
        place.write_text(text, encoding="utf-8")


def _commit(folder: Path) -> None:
    """One first commit, by whoever git says it is; on a machine that git does not know, by us."""
    _git(folder, "init", "--quiet", "--template=", "--initial-branch=main")
    _git(folder, "add", "--all")
    settings = {"core.hooksPath": os.devnull, "commit.gpgSign": "false", **_identity(folder)}
    options = [part for name, content in settings.items() for part in ("-c", f"{name}={content}")]
    _git(folder, *options, "commit", "--quiet", "--message", "A new configuration repository")


def _identity(folder: Path) -> dict[str, str]:
    """What git lacks to commit: nothing where it knows a name and an address."""
    known = _run(folder, "var", "GIT_COMMITTER_IDENT").returncode == 0
    return {} if known and _run(folder, "config", "user.email").returncode == 0 else dict(_NOBODY)


def _git(folder: Path, *words: str) -> None:
    done = _run(folder, *words)
    if done.returncode:
        raise ReconcilerError(
            f"git {words[0]} failed: {done.stderr.strip()}", hint=f"the files are in {folder}"
        )


def _run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: content for name, content in os.environ.items() if name not in _INHERITED}
    environment |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
    command = ["git", "-C", str(folder.absolute()), *words]
    try:
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError as error:
        raise ReconcilerError("git is not installed", hint="install git, then try again") from error


def _new_key(owner: str) -> str:
    """Write the instance key that generated secrets are derived from. Returns where it is."""
    from reconciler.secret.key import key_path, make_key  # noqa: PLC0415  loaded for this command only

    path = key_path(owner)
    try:
        make_key(path)
    except OSError as error:
        raise ReconcilerError(f"{path}: the instance key can't be written: {error.strerror}") from error
    return str(path)


def _say_next(folder: Path, owner: str, key: str) -> None:
    from reconciler.report.words import plain  # noqa: PLC0415  loaded for this command only

    name = plain(str(folder))
    sys.stderr.write(
        f"A configuration repository of owner {owner}. Next:\n"
        f"  cd {name}\n"
        "  reconciler validate     are the files good?\n"
        "  reconciler plan         what would be made?\n"
        "  reconciler apply        make it\n"
        f"Generated secrets are derived from {plain(key)}: keep a copy of it, and show it to nobody.\n"
        "Everything stays on this machine until you declare a provider that is elsewhere.\n"
    )
