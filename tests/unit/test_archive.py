"""What may be unpacked, and what is refused whole: hostile archives by kind."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import random
import re
import struct
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import zstandard

from reconciler.drivers.publish.archive import copy_folder, unpack_archive
from reconciler.drivers.publish.source import open_source
from reconciler.drivers.publish.stream import Limits
from reconciler.drivers.publish.tree import Manifest, differences, remove_tree, tree_digest
from reconciler.errors import Rejected

LIMITS = Limits()
SHELL = (
    "(cd \"$1\" && { find . -type f -print0 | xargs -0r sha256sum -z; find . -type d -printf 'd %p\\0' "
    "-o -type l -printf 'l %p//%l\\0' -o -type f -perm -u=x -printf 'x %p\\0'; })"
    " | LC_ALL=C sort -z | sha256sum"
)


def entry(name: str, content: bytes = b"", **facts: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.mtime = 1_700_000_000
    for key, value in facts.items():
        setattr(info, key, value)
    return info, content


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=kind, linkname=target)


def packed(*entries: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as tar:
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


GOOD = packed(
    entry("./", type=tarfile.DIRTYPE, mode=0o700),
    entry("./bin/root", b"#!/bin/sh\n", mode=0o4755, uid=0, uname="root"),
    entry("share/näme with spaces.txt", b"hello" * 1000, mode=0o600),
    entry("empty", b""),
    entry("folder", type=tarfile.DIRTYPE, mode=0o700),
    link("latest", "share/näme with spaces.txt"),
    link("bin/up", "../share"),
    link("hard", "bin/root", tarfile.LNKTYPE),
    entry("l" * 120 + "/" + "m" * 130 + "/deep", b"x"),
)


@contextmanager
def opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def unpack(tmp_path: Path, data: bytes, *, sha256: str = "", limits: Limits = LIMITS) -> Manifest:
    """Unpack below tmp_path/out/tree; what a hostile archive would reach lies beside it."""
    upload, out = tmp_path / "upload", tmp_path / "out" / "tree"
    upload.write_bytes(data)
    out.mkdir(parents=True)
    (tmp_path / "out" / "secret").write_text("untouched")
    with opened(upload) as descriptor:
        return unpack_archive(descriptor, str(out), sha256 or hashlib.sha256(data).hexdigest(), limits)


def refusal(tmp_path: Path, data: bytes, **options: object) -> str:
    with pytest.raises(Rejected) as caught:
        unpack(tmp_path, data, **options)  # type: ignore[arg-type]  # options are those of `unpack`
    assert (tmp_path / "out" / "secret").read_text() == "untouched"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["secret", "tree"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "upload"]
    assert str(caught.value).isprintable()
    assert caught.value.hint
    return str(caught.value)


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "gzip in parts": lambda data: gzip.compress(data[:700]) + gzip.compress(data[700:]),
    "gzip padded": lambda data: gzip.compress(data) + bytes(600),
    "xz": lzma.compress,
    "xz in parts": lambda data: lzma.compress(data[:700]) + lzma.compress(data[700:]),
    "zstandard": lambda data: zstandard.ZstdCompressor().compress(data),
    "zstandard in parts": lambda data: b"".join(
        zstandard.ZstdCompressor().compress(part) for part in (data[:700], data[700:])
    ),
}


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("how", COMPRESS)
def test_formats(tmp_path: Path, how: str, form: int) -> None:
    data = packed(*good_entries(), form=form)
    manifest = unpack(tmp_path, COMPRESS[how](data))
    tree = tmp_path / "out" / "tree"
    assert (tree / "bin/root").read_bytes() == b"#!/bin/sh\n"
    assert (tree / "latest").read_bytes() == b"hello" * 1000
    assert (tree / "hard").read_bytes() == b"#!/bin/sh\n"
    assert (tree / ("l" * 120) / ("m" * 130) / "deep").read_bytes() == b"x"
    assert os.readlink(tree / "bin/up") == "../share"
    assert (tree / "bin/root").stat().st_mtime == 1_700_000_000
    assert list(differences(manifest, str(tree), "checksum")) == []
    assert list(differences(manifest, str(tree), "size")) == []


def good_entries() -> list[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(GOOD)) as tar:
        return [(info, tar.extractfile(info).read() if info.isreg() else b"") for info in tar]  # type: ignore[union-attr]  # regular files have content


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_modes_are_those_of_published_files(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        unpack(tmp_path, GOOD)
    finally:
        os.umask(before)
    tree = tmp_path / "out" / "tree"
    modes = {
        path.name: oct(path.lstat().st_mode & 0o7777) for path in tree.rglob("*") if not path.is_symlink()
    }
    assert modes["root"] == "0o755"  # setuid is gone
    assert modes["näme with spaces.txt"] == "0o644"
    assert modes["folder"] == modes["bin"] == modes["share"] == "0o755"


BIG = entry("big", b"\0" * 1_000_000)
HOSTILE = {
    "absolute": (packed(entry("/etc/passwd", b"x")), "absolute"),
    "dots": (packed(entry("a/../../secret", b"x")), r"`\.\.`"),
    "dots at the end": (packed(entry("a/..", type=tarfile.DIRTYPE)), r"`\.\.`"),
    "link out": (packed(link("out", "../secret")), "leads out"),
    "absolute link": (packed(link("out", "/etc/passwd")), "out of the tree"),
    "deep link out": (packed(link("a/b/out", "../../../secret")), "leads out"),
    "link through links": (
        packed(link("a/up", ".."), link("b", "a/up/.."), entry("f", b"x")),
        "leads out",
    ),
    "circle": (packed(link("a", "b"), link("b", "a")), "circles"),
    "hard link out": (packed(link("out", "../secret", tarfile.LNKTYPE)), r"`\.\.`"),
    "absolute hard link": (packed(link("out", "/etc/passwd", tarfile.LNKTYPE)), "absolute"),
    "hard link to a link": (
        packed(entry("f", b"x"), link("s", "f"), link("h", "s", tarfile.LNKTYPE)),
        "no file before it",
    ),
    "hard link forwards": (packed(link("h", "f", tarfile.LNKTYPE), entry("f", b"x")), "no file before it"),
    "written through a link": (packed(link("d", "."), entry("d/f", b"x")), "through the link"),
    "folder through a link": (
        packed(link("d", "e"), entry("d/sub", type=tarfile.DIRTYPE)),
        "through the link",
    ),
    "file over a link": (packed(link("d", "secret"), entry("d", b"x")), "twice"),
    "link over a folder": (packed(entry("d/f", b"x"), link("d", "..")), "twice"),
    "twice": (packed(entry("f", b"x"), entry("./f", b"y")), "twice"),
    "file and folder": (packed(entry("f", b"x"), entry("f/g", b"y")), "below the file"),
    "character device": (packed(entry("d", type=tarfile.CHRTYPE)), "character device"),
    "block device": (packed(entry("d", type=tarfile.BLKTYPE)), "block device"),
    "fifo": (packed(entry("d", type=tarfile.FIFOTYPE)), "fifo"),
    "sparse": (packed(entry("d", type=tarfile.GNUTYPE_SPARSE)), "sparse"),
    "sparse by extended header": (
        packed(entry("d", b"1\n", pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0"})),
        "sparse",
    ),
    "unknown type": (packed(entry("d", type=b"Z")), "unknown type"),
    "control characters": (packed(entry("a\x1b[31mred\n", b"x")), "control characters"),
    "deep": (packed(entry("/".join("a" * 65), b"x")), "deeper"),
    "long": (packed(entry("/".join(["a" * 200] * 6), b"x")), "longer"),
    "long piece": (packed(entry("a" * 256, b"x")), "longer"),
    "path in a global header": (
        tarfile.TarInfo.create_pax_global_header({"path": "../secret"}) + packed(entry("f", b"x")),
        "renames",
    ),
    "path in an extended header": (
        packed(entry("f", b"x", pax_headers={"path": "../secret"})),
        r"`\.\.`",
    ),
    "link in an extended header": (
        packed(entry("f", type=tarfile.SYMTYPE, linkname="f2", pax_headers={"linkpath": "../secret"})),
        "leads out",
    ),
    "empty": (packed(), "no file"),
    "only folders": (packed(entry("d", type=tarfile.DIRTYPE)), "no file"),
    "top is a link": (packed(link(".", "..")), "no name"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile(tmp_path: Path, case: str) -> None:
    data, rule = HOSTILE[case]
    assert re.search(rule, refusal(tmp_path, data))


def raw_header(name: bytes, size: bytes = b"00000000000\0", kind: bytes = b"0") -> bytes:
    """A header as nobody's library would write it."""
    header = bytearray(512)
    header[: len(name)] = name
    header[100:108] = b"0000644\0"
    header[124:136] = size
    header[136:148] = b"00000000000\0"
    header[156:157] = kind
    header[257:265] = b"ustar\x0000"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def pax(record: bytes, kind: bytes = b"x") -> bytes:
    return raw_header(b"pax", b"%011o\0" % len(record), kind) + record + bytes(-len(record) % 512)


END = bytes(1024)
FILE = raw_header(b"f", b"00000000001\0") + b"x" + bytes(511)
RAW = {
    "not UTF-8": (raw_header(b"\xff\xfe") + END, "UTF-8"),
    "negative size": (raw_header(b"f", b"\xff" * 12) + END, "number"),
    "size of words": (raw_header(b"f", b"12345678901x") + END, "number"),
    "huge size": (raw_header(b"f", b"\x80" + b"\0" * 3 + b"\x7f" * 8) + END, "above"),
    "content of a folder": (raw_header(b"d", b"00000001000\0", b"5") + bytes(512) + END, "content"),
    "content of a hard link": (FILE + raw_header(b"h", b"00000001000\0", b"1") + END, "content"),
    "no end": (FILE, "cut short"),
    "cut in a header": (FILE + FILE[:100], "cut short"),
    "cut in the content": (FILE[:-200], "cut short"),
    "garbage at the end": (FILE + END + b"#!/bin/sh\n", "garbage"),
    "a second tar": (FILE + END + FILE + END, "garbage"),
    "damaged header": (FILE + b"\1" + FILE[1:] + END, "damaged"),
    "NUL in an extended name": (pax(b"14 path=a\0b/c\n") + FILE + END, "control characters"),
    "damaged record": (pax(b"99 path=a\n") + FILE + END, "damaged extended"),
    "record of zero": (pax(b"0 path=a\n") + FILE + END, "damaged extended"),
    "record twice": (pax(b"10 path=a\n10 path=b\n") + FILE + END, "damaged extended"),
    "size in an extended header": (pax(b"11 size=-1\n") + FILE + END, "size that is none"),
    "two headers for one": (pax(b"10 path=a\n") + pax(b"10 path=b\n") + FILE + END, "twice"),
    "header for none": (FILE + pax(b"10 path=a\n") + END, "next member"),
    "foreign letters": (pax(b"21 hdrcharset=BINARY\n") + FILE + END, "UTF-8"),
    "endless header": (raw_header(b"pax", b"77777777777\0", b"x") + END, "header of"),
    "endless name": (raw_header(b"pax", b"77777777777\0", b"L") + END, "header of"),
}


@pytest.mark.parametrize("case", RAW)
def test_what_no_library_would_write(tmp_path: Path, case: str) -> None:
    data, rule = RAW[case]
    assert rule in refusal(tmp_path, data)


@pytest.mark.parametrize("how", ["gzip", "xz", "zstandard"])
def test_cut_short_and_damaged(tmp_path: Path, how: str) -> None:
    data = COMPRESS[how](packed(entry("f", random.Random(1).randbytes(300_000))))
    for number, spoilt in enumerate((data[: len(data) // 2], data[:200] + b"????" + data[204:])):
        (folder := tmp_path / str(number)).mkdir()
        assert "refused" in refusal(folder, spoilt)


@pytest.mark.parametrize("how", ["gzip", "xz", "zstandard"])
def test_garbage_after_the_compressed(tmp_path: Path, how: str) -> None:
    assert "refused" in refusal(tmp_path, COMPRESS[how](packed(entry("f", b"x"))) + b"garbage, a lot of it")


@pytest.mark.parametrize("how", ["gzip", "xz", "zstandard"])
def test_bombs_are_stopped_while_streaming(tmp_path: Path, how: str) -> None:
    bomb = COMPRESS[how](packed(entry("zeros", bytes(20_000_000))))
    assert len(bomb) < 200_000
    limits = Limits(ratio_from=1 << 20)
    assert "times its size" in refusal(tmp_path, bomb, limits=limits)
    assert (tmp_path / "out/tree/zeros").stat().st_size < 15_000_000


def test_limits(tmp_path: Path) -> None:
    for number, (limits, rule) in enumerate(
        ((Limits(bytes=500_000), "above 500000"), (Limits(members=2), "more than 2 members"))
    ):
        (folder := tmp_path / str(number)).mkdir()
        assert rule in refusal(folder, packed(BIG, entry("a"), entry("b")), limits=limits)


@pytest.mark.parametrize(
    ("data", "name"),
    [(bz2.compress(GOOD), "bzip2"), (b"PK\x03\x04" + bytes(600), "zip"), (b"hello\n", "none"), (b"", "none")],
)
def test_other_formats_are_named(tmp_path: Path, data: bytes, name: str) -> None:
    assert name in refusal(tmp_path, data)


def test_a_wrong_digest_says_both(tmp_path: Path) -> None:
    said = refusal(tmp_path, GOOD, sha256="0" * 64)
    assert "expected " + "0" * 64 in said
    assert "found " + hashlib.sha256(GOOD).hexdigest() in said


def test_a_half_finished_upload_is_called_by_its_name(tmp_path: Path) -> None:
    whole = gzip.compress(GOOD)
    said = refusal(tmp_path, whole[:-50], sha256=hashlib.sha256(whole).hexdigest())
    assert "another sha256" in said


def test_names_are_escaped(tmp_path: Path) -> None:
    said = refusal(tmp_path, packed(entry("../\u202egnp.exe\x1b[2J" + "a" * 500, b"x")))
    assert "\u202e" not in said
    assert "\x1b" not in said
    assert len(said) < 400


def test_random_damage_is_refused_or_harmless(tmp_path: Path) -> None:
    """No byte that is changed leads out of the folder or to another error than Rejected."""
    generator = random.Random(7)
    for number in range(300):
        data = bytearray(GOOD)
        for _ in range(generator.randint(1, 4)):
            data[generator.randrange(6000)] = generator.randrange(256)
        (folder := tmp_path / str(number)).mkdir()
        with suppress(Rejected):
            unpack(folder, bytes(data))
        assert (folder / "out" / "secret").read_text() == "untouched"
        assert sorted(path.name for path in (folder / "out").iterdir()) == ["secret", "tree"]
        for path in (folder / "out").rglob("*"):
            assert path.resolve().is_relative_to(folder / "out" / "tree") or path.name in ("tree", "secret")


# -- directories ------------------------------------------------------------------------------------------


def make_folder(folder: Path) -> Path:
    (folder / "bin").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "bin" / "tool").write_bytes(b"#!/bin/sh\n")
    (folder / "bin" / "tool").chmod(0o755)
    (folder / "odd -> \\ näme").write_bytes(b"x" * 70_000)
    (folder / "-dash").write_bytes(b"")
    (folder / "latest").symlink_to("bin/tool")
    (folder / "bin" / "up").symlink_to("..")
    return folder


def shell_digest(folder: Path) -> str:
    done = subprocess.run(["bash", "-c", SHELL, "bash", folder], check=True, capture_output=True, text=True)
    return done.stdout.split()[0]


def copied(tmp_path: Path, folder: Path, sha256: str) -> Manifest:
    (out := tmp_path / "copy").mkdir()
    with opened(folder) as descriptor:
        return copy_folder(descriptor, str(out), sha256, LIMITS)


def test_the_digest_of_a_directory_is_that_of_the_shell(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "source")
    manifest = copied(tmp_path, folder, shell_digest(folder))
    assert tree_digest(manifest) == shell_digest(tmp_path / "copy") == shell_digest(folder)
    assert list(differences(manifest, str(tmp_path / "copy"), "checksum")) == []


def test_the_schema_shows_that_shell_line() -> None:
    schema = Path(__file__).parents[2] / "schemas" / "SoftwareUpload.json"
    assert SHELL.replace('"$1"', "DIRECTORY").replace("\\", "\\\\") in schema.read_text()


@pytest.mark.parametrize("what", ["content", "bit", "link", "folder", "name"])
def test_the_digest_of_a_directory_covers(tmp_path: Path, what: str) -> None:
    folder = make_folder(tmp_path / "source")
    before = shell_digest(folder)
    if what == "content":
        (folder / "-dash").write_bytes(b"y")
    elif what == "bit":
        (folder / "bin" / "tool").chmod(0o644)
    elif what == "link":
        (folder / "latest").unlink()
        (folder / "latest").symlink_to("bin")
    elif what == "folder":
        (folder / "empty2").mkdir()
    else:
        (folder / "-dash").rename(folder / "dash")
    with pytest.raises(Rejected, match=f"expected {before}, found {shell_digest(folder)}"):
        copied(tmp_path, folder, before)


def test_a_directory_with_more_than_files_is_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "source")
    os.mkfifo(folder / "pipe")
    with pytest.raises(Rejected, match="neither a file"):
        copied(tmp_path, folder, "0" * 64)


def test_a_directory_with_a_link_out_is_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "source")
    (folder / "bin" / "out").symlink_to("../../secret")
    with pytest.raises(Rejected, match="leads out"):
        copied(tmp_path, folder, "0" * 64)


# -- the directory of uploads -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source", ["../secret", "out", "outdir/secret", "chain", ".", "/etc/passwd", "a/../.."]
)
def test_nothing_outside_the_uploads_is_opened(tmp_path: Path, source: str) -> None:
    (uploads := tmp_path / "uploads").mkdir()
    (tmp_path / "secret").write_text("x")
    (uploads / "a").mkdir()
    (uploads / "out").symlink_to("../secret")
    (uploads / "outdir").symlink_to("..")
    (uploads / "chain").symlink_to("out")
    with pytest.raises(Rejected, match="outside the uploads"), open_source(str(uploads), source, "t"):
        pass


def test_links_inside_the_uploads_are_followed(tmp_path: Path) -> None:
    (uploads := tmp_path / "real").mkdir()
    (uploads / "6.32.tar").write_bytes(b"x")
    (uploads / "latest").symlink_to("6.32.tar")
    (tmp_path / "uploads").symlink_to("real")
    with open_source(str(tmp_path / "uploads"), "latest", "t") as descriptor:
        assert os.read(descriptor, 9) == b"x"


@pytest.mark.parametrize("source", ["missing", "file/below"])
def test_a_missing_source_is_the_authors_affair(tmp_path: Path, source: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(Rejected, match="is not in the uploads"), open_source(str(tmp_path), source, "t"):
        pass


# -- removing ---------------------------------------------------------------------------------------------


def test_read_only_trees_can_be_removed(tmp_path: Path) -> None:
    """As somebody who is not root, whom no mode stops."""
    tree = make_folder(tmp_path / "tree")
    (tmp_path / "kept").write_text("x")
    (tree / "bin" / "out").symlink_to(tmp_path / "kept")
    for path in (tree / "bin", tree / "empty", tree):
        path.chmod(0o555)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if os.getuid() == 0:
                give_to_nobody(tmp_path)
            remove_tree(str(tree))
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept"]


def give_to_nobody(folder: Path) -> None:
    """Give all below to an account without rights, and become it; the working folder spares the way there."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, 65534, 65534, follow_symlinks=False)
    for path in folder.parents[:3]:
        path.chmod(path.stat().st_mode | 0o011)
    os.setgid(65534)
    os.setuid(65534)


def test_struct_of_the_raw_header_is_right() -> None:
    """The hand-made archives above are refused for what they say, not for how they are made."""
    with tarfile.open(fileobj=io.BytesIO(FILE + END)) as tar:
        assert [info.name for info in tar] == ["f"]
    assert struct.calcsize("512s") == len(FILE) // 2
