"""Rucio's server and daemons, installed into our cache folder, once for all sessions and processes.

They pin old versions of what this project uses too, so they have an environment of their own (150 MB). To
take a newer Rucio: change `requirements.in` and write the lock anew, as `scripts/lock` does with its own.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from reconciler.folders import cache_folder

LOCK: Final = Path(__file__).with_name("requirements.lock")
CACHE: Final = cache_folder()  # the person's own: asked for before any test has a home
SECONDS: Final = 900
COMPLETE: Final = ".complete"


def server_programs() -> Path:
    """The folder with `python` and `gunicorn` for the server; they are installed when they are not there."""
    folder = CACHE / f"rucio-{_digest()}"
    with _alone(folder.with_name(f"{folder.name}.lock")):
        if not _is_whole(folder):
            shutil.rmtree(folder, ignore_errors=True)  # what a killed installation left
            _install(folder)
            (folder / COMPLETE).touch()
    return folder / "bin"


def _digest() -> str:
    """Other pins or another interpreter: another environment."""
    interpreter = f"{sys.version}\n{os.path.realpath(sys.executable)}\n"
    return hashlib.sha256(interpreter.encode() + LOCK.read_bytes()).hexdigest()[:16]


def _is_whole(folder: Path) -> bool:
    return (folder / COMPLETE).exists() and (folder / "bin" / "python").exists()


def _install(folder: Path) -> None:
    beside = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    uv = shutil.which("uv", path=beside)
    python = str(folder / "bin" / "python")
    if uv:
        _run(uv, "venv", "--quiet", "--python", sys.executable, str(folder))
        _run(uv, "pip", "sync", "--quiet", "--python", python, "--require-hashes", str(LOCK))
    else:
        _run(sys.executable, "-m", "venv", str(folder))
        _run(python, "-m", "pip", "install", "--quiet", "--require-hashes", "--requirement", str(LOCK))


def _run(*command: str) -> None:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    if done.returncode:
        raise RuntimeError(f"Rucio can't be installed: {' '.join(command)}: {done.stderr[-2000:]}")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
