"""Many files of one data set are copied by a few threads: all, or an error; a kill leaves no wrong file."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from reconciler.drivers.storage import folders
from reconciler.drivers.storage.copying import fill
from reconciler.drivers.storage.layout import OURS
from reconciler.drivers.storage.manifest import differences
from reconciler.drivers.storage.sources import Source, Sources
from reconciler.drivers.storage.threads import AT_ONCE, in_threads
from reconciler.drivers.storage.writing import Writing

FILES = 150


class Killed(BaseException):
    """What stands for `kill -9`: from some change on, no thread writes anything any more."""


def test_answers_come_in_the_order_of_the_things() -> None:
    def work(thread: int, thing: int) -> tuple[int, int]:
        return thing * thing, thread

    for number in (0, 1, 63, 64, 1000):
        found = in_threads(work, range(number))
        assert [square for square, _ in found] == [thing * thing for thing in range(number)]
        assert {thread for _, thread in found} <= set(range(AT_ONCE))


def test_an_error_ends_all_threads() -> None:
    done = []

    def work(_thread: int, thing: int) -> None:
        done.append(thing)
        if thing == 10:
            raise ValueError("ten")
        threading.Event().wait(0.001)

    with pytest.raises(ValueError, match="ten"):
        in_threads(work, range(10_000))
    assert len(done) < 5_000


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    folder = tmp_path / "upload"
    for number in range(FILES):
        file = folder / f"{number % 7}" / f"file-{number:03}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.urandom(100 + number))
    return folder


def filled(upload: Path, replica: Path, writing: Writing) -> None:
    """Fill it, and see that every file is what it was."""
    (replica / OURS).mkdir(parents=True, exist_ok=True)
    with folders.opened(replica) as folder, folders.opened(upload) as source:
        manifest = fill(writing, folder, Sources(uploads=[Source("upload", source)]))
        assert list(differences(folder, manifest, "checksum")) == []
    assert contents(replica) == contents(upload)


def contents(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.mark.parametrize("limit", [0, 1, 5, 50, 200, 333, 600])
def test_a_killed_copy_is_finished_by_the_next_run(upload: Path, tmp_path: Path, limit: int) -> None:
    written: list[str] = []

    def dies(operation: str) -> None:
        written.append(operation)
        if len(written) > limit:
            raise Killed

    with suppress(Killed):
        filled(upload, tmp_path / "replica", Writing(dies))
    assert len(written) > limit  # it did die
    filled(upload, tmp_path / "replica", Writing())


def test_a_copy_of_a_copy_is_made_by_threads_too(upload: Path, tmp_path: Path) -> None:
    replica = tmp_path / "replica"
    filled(upload, tmp_path / "first", Writing())
    (replica / OURS).mkdir(parents=True)
    with folders.opened(replica) as folder, folders.opened(upload) as there:
        with folders.opened(tmp_path / "first") as first:
            manifest = fill(Writing(), first, Sources(uploads=[Source("upload", there)]))
        copy = Source("copy", there, manifest)
        assert fill(Writing(), folder, Sources(copies=[copy])).digest == manifest.digest
    assert contents(replica) == contents(upload)
