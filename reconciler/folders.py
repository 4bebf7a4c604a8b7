"""Where this machine keeps what: XDG folders, one per owner, private to the user.

State (the store) and cache are disposable; data is the world of drivers that work on this machine.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


def _base(variable: str, default: str) -> Path:
    """An XDG base folder; the specification says that a relative value is ignored."""
    named = os.environ.get(variable, "")
    return Path(named) if named.startswith("/") else Path.home() / default


def cache_folder() -> Path:
    """Mirrors of remote repositories and parsed documents. Safe to delete at any time."""
    return _private(_base("XDG_CACHE_HOME", ".cache") / "reconciler")


@dataclass(frozen=True, slots=True)
class Folders:
    """The folders of one owner. `data` is what relative directories in target settings start from."""

    owner: str

    @property
    def state(self) -> Path:
        return _base("XDG_STATE_HOME", ".local/state") / "reconciler" / self.owner

    @property
    def data(self) -> str:
        return str(_base("XDG_DATA_HOME", ".local/share") / "reconciler" / self.owner)

    @property
    def store(self) -> str:
        """The default store: a SQLite file."""
        return str(self.state / "store.sqlite")


def _private(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
