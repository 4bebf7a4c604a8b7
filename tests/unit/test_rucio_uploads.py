"""What of uploads to Rucio needs no Rucio: folders, names, checksums, places, writing, keys, days."""

from __future__ import annotations

import fcntl
import os
import threading
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest

from reconciler.drivers.rucio.dataset import Key, key_of
from reconciler.drivers.rucio.dataset_reading import day_of, did_of, in_pieces, seconds_to, text_of
from reconciler.drivers.rucio.upload_source import files_of, open_source, read
from reconciler.drivers.rucio.upload_writing import Element, places, put, sums_at
from reconciler.errors import BackendError, Conflict, Rejected, Transient
from reconciler.model import Ref, Resource, Source


def sums(content: bytes) -> dict[str, Any]:
    digest = md5(content, usedforsecurity=False).hexdigest()
    return {"bytes": len(content), "adler32": f"{zlib.adler32(content):08x}", "md5": digest}


def upload(source: str, *uploads: str) -> Resource:
    spec, facts = {"dataset": "cms:set", "source": source}, {"uploads": list(uploads)}
    return Resource(
        Ref("DataRule", "cms", "x", "main.upload"), "upload", "lake", spec, Source(""), facts=facts
    )


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[tuple[Path, int, Element]]:
    """A source folder and an element, both open."""
    source, prefix = tmp_path / "source", tmp_path / "element"
    source.mkdir()
    prefix.mkdir()
    with ExitStack() as stack:
        folders = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (source, prefix)]
        for folder in folders:
            stack.callback(os.close, folder)
        yield source, folders[0], Element("BARI-DISK", "localhost", prefix, folders[1])


def pfn(element: Element, name: str) -> str:
    return f"file://localhost{element.prefix}/{name}"


# -- the folder ----------------------------------------------------------------------------------


def test_the_first_uploads_that_has_it_wins(tmp_path: Path) -> None:
    (tmp_path / "two" / "deep" / "higgs").mkdir(parents=True)
    with ExitStack() as stack:
        folder = open_source(stack, upload("deep/higgs", "one", "two"), tmp_path)
        assert os.path.samestat(os.fstat(folder), (tmp_path / "two" / "deep" / "higgs").stat())
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(folder)
    with pytest.raises(Rejected, match="none: No such file") as error, ExitStack() as stack:
        open_source(stack, upload("none", "one", "two"), tmp_path)
    for uploads in ("one", "two"):
        assert f"{tmp_path}/{uploads}/none: No such file" in str(error.value)


@pytest.mark.parametrize("source", ["", ".", "..", "a/../..", "/etc", "a//b", "led", "a\0b"])
def test_nothing_leads_out_of_the_uploads(tmp_path: Path, source: str) -> None:
    (tmp_path / "up" / "a" / "b").mkdir(parents=True)
    (tmp_path / "up" / "led").symlink_to("/etc")
    with pytest.raises(Rejected, match="no upload"), ExitStack() as stack:
        open_source(stack, upload(source, "up"), tmp_path)


def test_names_hold_the_data_set_so_that_two_do_not_meet(opened: tuple[Path, int, Element]) -> None:
    source, folder, _ = opened
    (source / "sub").mkdir()
    (source / "sub" / "b").touch()
    (source / ".a").touch()
    assert [(file.path, file.name) for file in files_of(folder, "cms:set")] == [
        (".a", "set/.a"),
        ("sub/b", "set/sub/b"),
    ]


@pytest.mark.parametrize("name", ["a b", "ü", "a+b", "x" * 247, "a\nb", "a\x1b[31m"])
def test_names_that_rucio_does_not_take_are_the_authors_matter(
    opened: tuple[Path, int, Element], name: str
) -> None:
    source, folder, _ = opened
    (source / name).touch()
    with pytest.raises(Rejected, match="can't be the name") as error:
        files_of(folder, "cms:set")
    assert str(error.value).isprintable()


def test_what_is_no_plain_file_is_refused(opened: tuple[Path, int, Element]) -> None:
    source, folder, _ = opened
    for make in (lambda path: path.symlink_to("/etc"), os.mkfifo):
        make(source / "odd")
        with pytest.raises(Rejected, match="odd is a link or special file"):
            files_of(folder, "cms:set")
        (source / "odd").unlink()
    with pytest.raises(Rejected, match="no files"):
        files_of(folder, "cms:set")


def test_one_reading_gives_all_sums(opened: tuple[Path, int, Element]) -> None:
    source, _, _ = opened
    for content in (b"", b"x", bytes(range(256)) * 9001):
        (source / "file").write_bytes(content)
        pieces: list[bytes] = []
        with (source / "file").open("rb") as file:
            file.read(1)  # it begins at the beginning all the same
            assert read(file.fileno(), pieces.append) == sums(content)
        assert b"".join(pieces) == content


# -- the element ---------------------------------------------------------------------------------


def test_a_file_comes_whole_to_its_place_whatever_lies_there(opened: tuple[Path, int, Element]) -> None:
    source, folder, element = opened
    content = os.urandom(3_000_000)
    (source / "file").write_bytes(content)
    for there in (None, b"half", os.urandom(4_000_000)):
        if there is not None:
            (element.prefix / "a" / "b" / "file").write_bytes(there)
        assert put(element, pfn(element, "a/b/file"), folder, "file") == sums(content)
        assert (element.prefix / "a" / "b" / "file").read_bytes() == content
        assert os.listdir(element.prefix / "a" / "b") == ["file"]
    assert sums_at(element, pfn(element, "a/b/file")) == sums(content)
    assert sums_at(element, pfn(element, "a/b/none")) is None


def test_what_lies_there_stays_where_the_source_is_another_file(opened: tuple[Path, int, Element]) -> None:
    source, folder, element = opened
    (source / "file").write_bytes(b"new")
    (element.prefix / "file").write_bytes(b"there")
    with pytest.raises(Conflict, match="changed"):
        put(element, pfn(element, "file"), folder, "file", sums(b"old"))
    assert (element.prefix / "file").read_bytes() == b"there"
    assert os.listdir(element.prefix) == ["file"]


def test_a_file_that_grows_meanwhile_is_not_taken(opened: tuple[Path, int, Element]) -> None:
    source, folder, element = opened
    os.mkfifo(source / "pipe")
    (source / "file").write_bytes(b"x" * 5_000_000)
    stop = threading.Event()

    def grow() -> None:
        while not stop.is_set():
            with (source / "file").open("r+b") as file:
                file.write(os.urandom(10))

    growing = threading.Thread(target=grow)
    growing.start()
    try:
        with pytest.raises(Conflict, match="changed while"):
            put(element, pfn(element, "file"), folder, "file")
    finally:
        stop.set()
        growing.join()
    assert os.listdir(element.prefix) == []
    with pytest.raises(BackendError, match="not a plain file"):
        put(element, pfn(element, "pipe"), folder, "pipe")


def test_two_do_not_write_one_file_at_once(opened: tuple[Path, int, Element]) -> None:
    source, folder, element = opened
    (source / "file").write_bytes(b"x")
    put(element, pfn(element, "file"), folder, "file")
    with pytest.raises(Conflict):  # leaves its name behind for this test
        put(element, pfn(element, "file"), folder, "file", sums(b"y"))
    halves: list[str] = []
    seen = os.open

    def noted(path: Any, *told: Any, **more: Any) -> int:
        if str(path).endswith(".upload"):
            halves.append(str(path))
        return seen(path, *told, **more)

    os.open = noted
    try:
        put(element, pfn(element, "file"), folder, "file")
    finally:
        os.open = seen
    with (element.prefix / halves[0]).open("wb") as half:
        half.write(b"of another")
        half.flush()
        fcntl.flock(half, fcntl.LOCK_EX)
        with pytest.raises(Transient, match="being written"):
            put(element, pfn(element, "file"), folder, "file")
        assert (element.prefix / halves[0]).read_bytes() == b"of another"
    put(element, pfn(element, "file"), folder, "file")  # who was killed holds no lock
    assert (element.prefix / "file").read_bytes() == b"x"
    assert os.listdir(element.prefix) == ["file"]


def test_links_on_the_element_are_not_followed(opened: tuple[Path, int, Element], tmp_path: Path) -> None:
    source, folder, element = opened
    (source / "file").write_bytes(b"x")
    (tmp_path / "outside").mkdir()
    (element.prefix / "led").symlink_to(tmp_path / "outside")
    with pytest.raises(BackendError, match="can't be copied"):
        put(element, pfn(element, "led/file"), folder, "file")
    (tmp_path / "target").write_bytes(b"outside")
    (element.prefix / "file").symlink_to(tmp_path / "target")
    put(element, pfn(element, "file"), folder, "file")
    assert (tmp_path / "target").read_bytes() == b"outside"
    assert os.listdir(tmp_path / "outside") == []


@pytest.mark.parametrize(
    "place",
    [
        "",
        "davs://localhost{}/a",
        "file://localhost/etc/passwd",
        "file://localhost{}",
        "file://localhost{}/../a",
        "file://localhost{}/a/../../b",
        "file://localhost{}x/a",
        "file://localhost{}/a\0b",
        "file://localhost{}/a\udcff",
    ],
)
def test_places_outside_of_the_element_are_refused(opened: tuple[Path, int, Element], place: str) -> None:
    element = opened[2]
    with pytest.raises(Rejected, match="does not lie on element BARI-DISK") as error:
        element.way(place.format(element.prefix))
    assert error.value.who == "operator of the target"


@pytest.mark.parametrize("answer", [{}, {"cms:a": None}, {"cms:a": 3}, {"cms:a": ["x"]}, [], None])
def test_a_place_that_is_no_text_is_the_operators_matter(
    opened: tuple[Path, int, Element], answer: Any
) -> None:
    class Rucio:
        @contextmanager
        def rucio(self, what: str) -> Iterator[Any]:
            yield self

        def lfns2pfns(self, rse: str, names: list[str], **told: Any) -> Any:
            return answer

    client: Any = Rucio()
    with pytest.raises(Rejected, match="no place where cms:a") as error:
        places(client, opened[2], ["cms:a"])
    assert error.value.who == "operator of the target"


# -- words ---------------------------------------------------------------------------------------


def test_keys_say_what_is_to_be_read() -> None:
    assert key_of("cms:set") == Key("cms:set")
    assert key_of("cms:set contents") == Key("cms:set", contents=True)
    assert key_of("cms:set pattern=a*/b metadata") == Key(
        "cms:set", contents=True, pattern="a*/b", metadata=True
    )
    assert text_of(did_of("cms:a/b")) == "cms:a/b"


def test_days_end_at_midnight() -> None:
    end = datetime(2027, 2, 1)  # noqa: DTZ001  as Rucio says it
    for moment in (end, end - timedelta(seconds=5), end + timedelta(minutes=20)):
        assert day_of(moment) == "2027-01-31"
    assert day_of(end - timedelta(hours=9)) == "2027-01-31T15:00:00"
    assert seconds_to("2027-01-31", end.replace(tzinfo=UTC) - timedelta(hours=2)) == 7200
    assert seconds_to("2027-01-31", end.replace(tzinfo=UTC) + timedelta(days=1)) == 0


def test_pieces_hold_everything_once() -> None:
    assert list(in_pieces(list(range(7)), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(in_pieces([], 3)) == []
