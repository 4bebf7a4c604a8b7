"""The processes of a bed: started in its folder, in groups of their own, ended exactly."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.live.rucio_bed import keeper

ROOT: Final = Path(__file__).parents[3]
SECONDS: Final = 60.0
_PORTS: Final = range(30000, 32768)  # below those that outgoing connections get, so that they stay free


def folder_of_a_bed(place: Path) -> Path:
    """A new folder below `place` for one bed of this process; what killed processes left there is ended."""
    for left in place.glob("rucio-bed-*-*"):
        with contextlib.suppress(FileNotFoundError):
            ours = left.lstat().st_uid == os.getuid()
            if ours and not Path("/proc", left.name.split("-")[2]).exists():
                keeper.end(left)
    folder = place / f"rucio-bed-{os.getpid()}-{random.randrange(10**9)}"
    folder.mkdir(mode=0o711)  # PostgreSQL may be another user, and has to come through
    return folder


@contextlib.contextmanager
def kept(folder: Path) -> Iterator[None]:
    """At the end all that works in the folder is ended, and the folder removed; also when we are killed."""
    command = [sys.executable, "-I", keeper.__file__, str(folder)]
    with subprocess.Popen(command, cwd="/", stdin=subprocess.PIPE, start_new_session=True):
        yield  # leaving closes its input, and waits for it


@dataclass(slots=True)
class Process:
    """One program of a bed. It works in the bed's folder, by which the keeper knows it; so is its log."""

    name: str
    command: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]
    running: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> None:
        with self.log_path.open("ab") as log:
            self.running = subprocess.Popen(
                [*self.command, *more],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self, number: int = signal.SIGKILL) -> None:
        """End it and all its children; returns when all are gone. Not running is no error."""
        if self.running is None:
            return
        group = self.running.pid
        _signal(group, number)
        self.running.wait(SECONDS)
        _signal(group, signal.SIGKILL)
        wait_until(lambda: not _is_there(group), self.log)
        self.running = None

    def await_answer(self, url: str) -> None:
        """Wait until something answers there. Raises AssertionError with its log if it ends before."""

        def answers() -> bool:
            assert self.running is not None
            assert self.running.poll() is None, f"{self.name} ended: {self.log()}"
            return _answers(url)

        wait_until(answers, self.log)

    @property
    def log_path(self) -> Path:
        return self.folder / f"{self.name}.log"

    def log(self) -> str:
        return f"{self.name}: {self.log_path.read_text(errors='replace')[-3000:]}"


def wait_until(right: Callable[[], bool], why: Callable[[], str] = str, seconds: float = SECONDS) -> None:
    began = time.monotonic()
    while not right():
        assert time.monotonic() - began < seconds, f"not within {seconds:g} s: {why()}"
        time.sleep(0.02)


def free_port() -> int:
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310  our own server, by http
            return True
    except urllib.error.HTTPError:
        return True  # whatever it thinks of the question
    except OSError:
        return False


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


def _is_there(group: int) -> bool:
    """Is a process of the group alive? Zombies are not: who should wait for them may never do so."""
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, its_group = file.read_text().rpartition(")")[2].split()[:3]
            if its_group == str(group) and state not in "ZX":
                return True
    return False
