"""Who the owner of a repository was before: what git remembers of one line of reconciler.yaml."""

from __future__ import annotations

import re
from typing import Final

from reconciler.source.git import SAFE, Repository, run_git
from reconciler.source.parse import SETTINGS

_GONE: Final = re.compile(rb"^-owner:[ \t]*[\"']?([a-z0-9-]+)", re.MULTILINE)
_FLAGS: Final = ("--patch", "--unified=0", "--max-count=1", "--format=", "--no-color", "--text")
_PLAIN: Final = ("--no-ext-diff", "--no-textconv", "-G^owner:")


def owner_before(repository: Repository, revision: str) -> str:
    """What `owner:` said before its last change up to a commit; empty: no change is known."""
    asked = (*SAFE, "log", *_FLAGS, *_PLAIN, "--end-of-options", revision, "--", SETTINGS)
    found = _GONE.search(run_git(asked, repository.directory).stdout)
    return found[1].decode() if found else ""
