"""What drivers are given: where things lie on this machine, secrets, and the folders of roles.

Roles of the repository come from the trusted ref only, and are laid down as plain files, never executable, in
a folder of the cache that is named by what it holds.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from reconciler.canonical import digest_of
from reconciler.errors import Denied
from reconciler.folders import cache_folder
from reconciler.printable import printable
from reconciler.resources import roles_folder
from reconciler.secret import Secrets
from reconciler.source.snapshot import Snapshot

_ROLES = "roles/"


@dataclass(frozen=True, slots=True)
class Given:
    """What a driver gets (`reconciler.kind.Places`)."""

    data: str
    secrets: Secrets
    trusted: Snapshot

    def secret(self, reference: str) -> str:
        """The value of a reference. Raises Denied, with what is missing."""
        return self.secrets.value(reference)

    def roles(self) -> tuple[str, ...]:
        """The folders that hold roles, the repository's own first."""
        own = laid_down(self.trusted)
        return (own, str(roles_folder())) if own else (str(roles_folder()),)


def laid_down(trusted: Snapshot) -> str:
    """The folder that holds the roles of the trusted commit as plain files; empty: it has none."""
    files = {path: blob for path, blob in trusted.library.items() if path.startswith(_ROLES)}
    if not files:
        return ""
    folder = cache_folder() / f"roles-{digest_of(files).removeprefix('sha256:')[:16]}"
    if not folder.is_dir():
        _lay_down(folder, dict(zip(sorted(files), trusted.read(sorted(files)), strict=True)))
    return str(folder)


def _lay_down(folder: Path, files: Mapping[str, bytes]) -> None:
    """All files aside first, then one rename: nobody sees half a role."""
    for path in files:
        if not all(step and step not in (".", "..") for step in path.split("/")):
            raise Denied(f"{printable(path)} is no path of a file of a role", hint="run `git fsck`")
    aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    for path, data in files.items():
        place = aside / path.removeprefix(_ROLES)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.write_bytes(data)
    with suppress(OSError):  # another run was first, with the same files
        os.rename(aside, folder)
