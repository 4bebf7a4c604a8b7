"""The database below a Rucio: a SQLite file, or a PostgreSQL that is started for it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

import pytest

from tests.live.test_postgresql import PROGRAMS, Server

SQLITE: Final = "sqlite"
POSTGRESQL: Final = "postgresql"
DATABASES: Final = (SQLITE, POSTGRESQL)
_WAIT: Final = 60  # seconds that a second writer of a SQLite file waits


def open_database(kind: str, folder: Path) -> str:
    """An empty database in the folder; its URL for SQLAlchemy. Skips the test where it can't be had."""
    if kind == SQLITE:
        return f"sqlite:///{folder / 'rucio.sqlite'}?timeout={_WAIT}"
    if not (PROGRAMS / "initdb").exists():
        pytest.skip("no PostgreSQL here: install the package `postgresql`")
    if os.getuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("PostgreSQL refuses to be root, and setpriv is not here")
    own = folder / "postgresql"
    own.mkdir()
    server = Server(own)
    server.execute("CREATE DATABASE rucio")
    return server.location("rucio").replace("postgresql:", "postgresql+psycopg:", 1)
