"""The sample repository on this machine, to be killed: its folders, its runs, and what its world is like.

A run happens in a forked child, so that it can be killed for good and costs no start. The points at
which it dies are the moments before the kernel or the database is asked to change something.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import reconciler.run
import reconciler.store.writing
from demo.make_uploads import make_uploads
from reconciler import registry
from reconciler.line.session import Request

SAMPLE = Path(__file__).parents[2] / "sample-config-repo"
OWNER = "demo-datacloud"
STATEMENTS = ("INSERT", "UPDATE", "DELETE", "REPLACE", "CREATE")
CALLS = frozenset(
    {
        "os.chmod",
        "os.link",
        "os.mkdir",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.setxattr",
        "os.symlink",
        "os.truncate",
        "os.utime",
    }
)
VOLATILE = ("created", "verified", "since", "uid", "number")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: the exit code (None: it was killed), the digest of its plan, and its writes."""

    code: int | None
    digest: str = ""
    writes: int = 0
    left: tuple[str, ...] = ()


class Sample:
    """One copy of everything: repository, uploads, sites, store."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.uploads: dict[str, str] = {}

    @classmethod
    def made(cls, root: Path) -> Sample:
        """A fresh one: nothing applied yet."""
        sample = cls(root)
        shutil.copytree(SAMPLE, sample.repository)
        for folder in ("deployments", "catalogue"):  # these run Ansible: tests/live kills them
            shutil.rmtree(sample.repository / folder)
        (sample.repository / "providers" / "workbench.yaml").unlink()
        sample.uploads = make_uploads(sample.data / "uploads")
        sample.git("init", "--quiet", "--initial-branch", "main")
        sample.commit("begin")
        return sample

    def copy(self) -> Sample:
        """The same, in another folder."""
        root = Path(tempfile.mkdtemp(prefix="kill-", dir=self.root.parent))
        shutil.copytree(self.root, root, symlinks=True, dirs_exist_ok=True)
        copy = Sample(root)
        copy.uploads = self.uploads
        return copy

    def remove(self) -> None:
        subprocess.run(["chmod", "-R", "u+w", self.root], check=True)
        shutil.rmtree(self.root)

    @property
    def repository(self) -> Path:
        return self.root / "repository"

    @property
    def data(self) -> Path:
        return self.root / "data" / "reconciler" / OWNER

    def git(self, *arguments: str) -> None:
        identity = {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org"}
        identity |= {"GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org"}
        environment = {**os.environ, **identity, "GIT_CONFIG_GLOBAL": os.devnull}
        subprocess.run(["git", "-C", self.repository, *arguments], check=True, env=environment)

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def forget(self) -> None:
        """Delete the store."""
        shutil.rmtree(self.root / "state", ignore_errors=True)

    # -- runs --------------------------------------------------------------------------------

    def apply(self, point: int = 0) -> Ended:
        """One apply, killed just before its so-many-th write (0: not at all)."""
        return in_child(self._apply, point)

    def _apply(self) -> dict[str, Any]:
        for name in ("cache", "data", "state"):
            os.environ[f"XDG_{name.upper()}_HOME"] = str(self.root / name)
        os.environ["HOME"] = str(self.root)
        request = Request(str(self.repository), retry=True, deep=True, wait=timedelta(seconds=30))
        applied = reconciler.run.apply(request)
        left = [str(change.ref) for change in applied.left.changes]
        return {"code": int(applied.exit_code), "digest": applied.plan.digest, "left": left}

    # -- the world ---------------------------------------------------------------------------

    def world(self) -> dict[str, str]:
        """All that users of the sites can see, and all that we left beside it; without times and ids."""
        found: dict[str, str] = {}
        for path, content in self._files():  # several versions of one thing fall together: all count
            found[path] = f"{found[path]} {content}" if path in found else content
        for world in sorted(self.data.rglob("*.sqlite")):
            found[world.name] = _simulated(world)
        return found

    def _files(self) -> Iterator[tuple[str, str]]:
        for folder, names, files in os.walk(self.data):
            here = Path(folder)
            if here == self.data / "uploads":
                names.clear()
                continue
            names.sort()
            yield f"{_stable(here.relative_to(self.data))}/", ""
            for name in sorted([*files, *(name for name in names if (here / name).is_symlink())]):
                path = here / name
                if ".sqlite" not in name and name not in ("index.json", "removed.log", "lock"):
                    yield str(_stable(path.relative_to(self.data))), _content(path)


def _stable(path: Path) -> Path:
    """The path without the numbers that count versions and contents."""
    pieces = list(path.parts)
    for index, piece in enumerate(pieces):
        after_label = index > 0 and pieces[index - 1].startswith("rc1.")
        pieces[index] = "version" if after_label and piece.isdecimal() else _stable_piece(piece)
    return Path(*pieces)


def _stable_piece(piece: str) -> str:
    if piece.startswith("rc1.") and "!" in piece:
        return piece.partition("!")[0] + "!version"
    words = piece.split(".")
    return f"content {words[0]}" if len(words) == 3 and len(words[0]) == 64 else piece


def _content(path: Path) -> str:
    if path.is_symlink():
        return f"-> {_stable(Path(path.readlink()))}"
    data = path.read_bytes()
    if path.suffix == ".json":
        data = json.dumps(_without_times(json.loads(data)), sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()


def _without_times(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_times(entry) for key, entry in value.items() if key not in VOLATILE}
    if isinstance(value, list):
        return [_without_times(entry) for entry in value]
    return _stable_piece(value) if isinstance(value, str) else value


def _simulated(world: Path) -> str:
    from reconciler.drivers.simulated.world import world_digest  # noqa: PLC0415

    return world_digest(world)


def preload() -> None:
    """Import in the parent what every child would import again."""
    for name in ("simulated", "storage", "publish"):
        registry.driver(name)
    registry.kinds()


def in_child(work: Callable[[], dict[str, Any]], point: int) -> Ended:
    """Do the work in a forked child. Counts the writes; kills the child before number `point`."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside the threads of pytest-xdist
        child = os.fork()
    if child == 0:
        os.close(reading)
        _child(work, point, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as answers:
        said = answers.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return Ended(None)
    told = json.loads(said)
    assert "error" not in told, told["error"]
    return Ended(told["code"], told["digest"], told["writes"], tuple(told["left"]))


def _child(work: Callable[[], dict[str, Any]], point: int, answers: int) -> None:
    count = Count(point)
    try:
        count.begin()
        told = {**work(), "writes": count.writes}
    except BaseException as error:  # noqa: BLE001  the parent is told
        import traceback  # noqa: PLC0415

        told = {"error": f"{error!r}\n{traceback.format_exc()}"}
    os.write(answers, json.dumps(told).encode())
    os._exit(0)


class Count:
    """Counts what is about to be written, from audit events and from the statements of SQLite."""

    def __init__(self, point: int) -> None:
        self.point = point
        self.writes = 0

    def begin(self) -> None:
        sys.addaudithook(self._event)
        connect = sqlite3.connect

        def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
            connection: sqlite3.Connection = connect(*arguments, **options)
            connection.set_trace_callback(Statements(self).take)
            return connection

        for module in (sqlite3, sqlite3.dbapi2):
            setattr(module, "connect", traced)  # noqa: B010  a type checker refuses the plain form

    def _event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in CALLS or (event == "open" and self._writes(arguments)):
            self.one_more()

    @staticmethod
    def _writes(arguments: tuple[Any, ...]) -> bool:
        path, mode, flags = arguments
        if isinstance(path, int) or str(path).startswith("/dev/null"):
            return False
        if mode is not None:
            return any(letter in mode for letter in "wax+")
        return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))

    def one_more(self) -> None:
        self.writes += 1
        if self.writes == self.point:
            os.kill(os.getpid(), signal.SIGKILL)


class Statements:
    """What one SQLite connection does: inside a transaction only its COMMIT writes, outside all do."""

    def __init__(self, count: Count) -> None:
        self.count = count
        self.inside = False

    def take(self, statement: str) -> None:
        word = statement.lstrip().partition(" ")[0].strip().upper().rstrip(";")
        if word == "COMMIT" or (word in STATEMENTS and not self.inside):
            self.count.one_more()
        self.inside = word == "BEGIN" or (self.inside and word not in ("COMMIT", "ROLLBACK"))
