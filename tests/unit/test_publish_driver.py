"""The driver `publish` on real directories: what readers see, what is marked, what is left after a kill."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from reconciler.drivers.publish import DRIVER
from reconciler.drivers.publish.client import translated
from reconciler.drivers.publish.layout import Home, Label
from reconciler.errors import BackendError, Conflict, Denied, NotOurs, ReadOnly, Rejected, Transient
from reconciler.kind import Ask
from reconciler.model import (
    Action,
    Change,
    Json,
    Metadata,
    Observed,
    Ref,
    Resource,
    Source,
    State,
    Target,
    mark_for,
    mark_id,
)
from tests.contract.killing import killed_at
from tests.places import NoSecrets

OWNER = "infn-x1"
REPOSITORY = "sw.example.org"
HAND = DRIVER.hands["SoftwareUpload"]
HERE = Source("software/cms/root.yaml", 1)


@dataclass(frozen=True, slots=True)
class Site(NoSecrets):
    """One target below a data folder, with uploads to choose from."""

    data: str
    settings: Mapping[str, Json]

    @property
    def root(self) -> Path:
        return Path(self.data) / "software" / REPOSITORY

    @property
    def inside(self) -> Path:
        return self.root / ".reconciler"

    @property
    def target(self) -> Target:
        return Target("stratum0", "publish", "stratum0", self.settings)

    def upload(self, name: str, files: Mapping[str, bytes]) -> str:
        """Lay down an archive; its sha256."""
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as tar:
            for path, content in files.items():
                info = tarfile.TarInfo(path)
                info.size, info.mtime = len(content), 1_700_000_000
                tar.addfile(info, io.BytesIO(content))
        (Path(self.data) / "uploads" / name).write_bytes(stream.getvalue())
        return hashlib.sha256(stream.getvalue()).hexdigest()

    def resource(self, version: str = "1", name: str = "root", **spec: Json) -> Resource:
        """An upload `tool-<version>.tar` of two files that say their version."""
        files = {"a": f"{version}\n".encode() * 100, "bin/b": f"{version}\n".encode() * 5000}
        sha256 = self.upload(f"tool-{version}.tar", files)
        said = {"repository": REPOSITORY, "path": "root/6.32", "source": f"tool-{version}.tar"}
        rest: dict[str, Json] = {
            "sha256": sha256,
            "keepPrevious": 0,
            "verify": {"how": "checksum", "every": "7d"},
        }
        ref = Ref("SoftwareUpload", "cms", name)
        return Resource(ref, ref.kind, "stratum0", {**said, **rest, **spec}, HERE)

    def seen(self, *natural: str, owner: str = OWNER) -> list[Observed]:
        return list(HAND.observe(DRIVER.reader(self.target, self), Ask(owner, frozenset(natural))))

    def only(self) -> Observed:
        things = self.seen()
        assert len(things) == 1, things
        return things[0]

    def apply(self, resource: Resource, have: Observed | None = None, *, owner: str = OWNER) -> None:
        action = Action.UPDATE if have else Action.CREATE
        change = Change(resource.ref, resource.kind, "stratum0", action, "Test", want=resource, have=have)
        HAND.apply(DRIVER.writer(self.target, self), change, mark_for(owner, resource))

    def converge(self, resource: Resource) -> int:
        """What passes would do for this object alone, until they are silent; how many writes that took."""
        for writes in range(5):
            things = [thing for thing in self.seen() if thing.ref == resource.ref]
            thing = things[0] if things else None
            if (
                thing
                and thing.mark == mark_for(OWNER, resource)
                and thing.state is State.READY
                and not thing.drift
            ):
                return writes
            self.apply(resource, thing)
        raise AssertionError(f"never silent: {self.seen()}")

    def verified(self) -> Observed:
        found: Observed = HAND.verify(DRIVER.reader(self.target, self), self.only())
        return found

    def remove(self, thing: Observed) -> None:
        HAND.delete(DRIVER.writer(self.target, self), removal(thing))

    def release(self, thing: Observed) -> None:
        HAND.release(DRIVER.writer(self.target, self), replace(removal(thing), release=True))

    def read(self, path: str = "root/6.32") -> str:
        """What readers find: the one version that both files say."""
        said = {(self.root / path / name).read_text().splitlines()[0] for name in ("a", "bin/b")}
        assert len(said) == 1
        return said.pop()

    def work(self) -> list[str]:
        return sorted(os.listdir(self.inside / "work"))

    def store(self) -> list[str]:
        return sorted(os.listdir(self.inside / "store"))

    def index(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.inside / "index.json").read_text())
        return found

    def published(self) -> list[str]:
        homes = sorted((self.inside / "published").iterdir())
        return [f"{home.name}/{name}" for home in homes for name in sorted(os.listdir(home)) or ("empty",)]


def removal(thing: Observed) -> Change:
    return Change(thing.ref, thing.kind, "stratum0", Action.DELETE, "Test", have=thing)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "uploads").mkdir()
    return Site(str(tmp_path), {"path": "software", "uploads": "uploads"})


# -- the plain course -------------------------------------------------------------------------------------


def test_what_is_wished_appears(site: Site) -> None:
    assert site.seen() == []
    resource = site.resource()
    site.apply(resource)
    assert site.read() == "1"
    thing = site.only()
    assert (thing.state, thing.spec, thing.drift) == (State.READY, resource.spec, ())
    assert thing.mark == mark_for(OWNER, resource)
    assert thing.uid == f"{REPOSITORY}:root/6.32"
    assert thing.attributes["files"] == 2
    assert thing.attributes["size"] == 10200
    assert site.converge(resource) == 0


def test_applying_twice_writes_nothing(site: Site) -> None:
    site.apply(site.resource())
    before = snapshot(site.root)
    site.apply(site.resource())
    site.apply(site.resource(), site.only())
    assert snapshot(site.root) == before


def snapshot(folder: Path) -> list[tuple[str, int, int]]:
    facts = ((str(path), path.lstat()) for path in sorted(folder.rglob("*")))
    return [(path, each.st_ino, each.st_mtime_ns) for path, each in facts if not path.endswith("lock")]


def test_planning_writes_nothing(site: Site) -> None:
    site.apply(site.resource())
    before = snapshot(Path(site.data))
    site.seen(f"{REPOSITORY}:other")
    site.verified()
    DRIVER.facts(DRIVER.reader(site.target, site))
    assert snapshot(Path(site.data)) == before


def test_a_reader_refuses_to_write(site: Site) -> None:
    resource = site.resource()
    change = Change(resource.ref, resource.kind, "stratum0", Action.CREATE, "Test", want=resource)
    site.apply(resource)
    reader, gone = DRIVER.reader(site.target, site), removal(site.only())
    for act in (HAND.delete, HAND.release):
        with pytest.raises(ReadOnly):
            act(reader, gone)
    with pytest.raises(ReadOnly):
        HAND.apply(reader, change, mark_for(OWNER, resource))


def test_the_link_itself_carries_the_mark(site: Site) -> None:
    resource = site.resource()
    site.apply(resource)
    text = os.readlink(site.root / "root/6.32")
    label = Label.parse("/".join(text.split("/")[3:5]))
    assert label is not None
    assert label.home == Home(OWNER, mark_id(resource.ref), resource.ref)


def test_another_version_replaces_the_first(site: Site) -> None:
    site.converge(site.resource("1"))
    assert site.converge(site.resource("2")) == 1
    assert site.read() == "2"
    assert len(site.store()) == len(site.published()) == 1
    assert site.work() == []


def test_lock_and_keep_are_written_into_the_mark(site: Site) -> None:
    site.converge(site.resource())
    stored = site.store()
    locked = replace(site.resource(), metadata=Metadata(locked=True, keep=True))
    assert site.converge(locked) == 1
    mark = site.only().mark
    assert mark is not None
    assert (mark.lock, mark.keep) == (True, True)
    assert site.store() == stored


def test_another_name_in_git_is_no_new_upload(site: Site) -> None:
    site.converge(site.resource())
    stored = site.store()
    renamed = site.resource(name="cern-root")
    site.apply(renamed, site.only())
    assert site.only().ref == renamed.ref
    assert site.store() == stored
    assert site.read() == "1"
    assert site.converge(renamed) == 0


def test_published_files_are_for_all_to_read(site: Site) -> None:
    before = os.umask(0o077)
    try:
        site.apply(site.resource())
    finally:
        os.umask(before)
    for path in (site.root, *site.root.rglob("*")):
        mode = path.lstat().st_mode
        if path.is_symlink() or {"work", "lock", "folders", "users"} & {path.name, path.parent.name}:
            continue
        assert mode & 0o022 == 0, path
        assert mode & 0o044 == 0o044, path
        assert not path.is_dir() or mode & 0o011 == 0o011, path


def test_a_directory_is_published(site: Site) -> None:
    folder = Path(site.data) / "uploads" / "plain"
    folder.mkdir()
    (folder / "a").write_text("9\n")
    line = f"{hashlib.sha256(b'9' + b'%c' % 10).hexdigest()}  ./a\0d .\0"
    resource = site.resource(source="plain", sha256=hashlib.sha256(line.encode()).hexdigest())
    assert site.converge(resource) == 1
    assert (site.root / "root/6.32/a").read_text() == "9\n"


# -- several ----------------------------------------------------------------------------------------------


def test_shared_content_is_stored_once_and_goes_with_its_last_user(site: Site) -> None:
    first, second = site.resource(), site.resource(name="twin", path="twin")
    site.converge(first)
    (Path(site.data) / "uploads" / "tool-1.tar").rename(Path(site.data) / "gone.tar")
    site.apply(second)
    assert len(site.store()) == 1
    assert site.read("twin") == site.read() == "1"
    site.remove(next(thing for thing in site.seen() if thing.ref == first.ref))
    assert site.read("twin") == "1"
    site.remove(site.only())
    assert site.store() == site.published() == site.work() == []
    assert not (site.root / "twin").exists()


def test_earlier_versions_are_kept(site: Site) -> None:
    wishes = [site.resource(version, keepPrevious=2) for version in "12345"]
    for wish in wishes:
        site.converge(wish)
    sums = [wish.spec["sha256"] for wish in wishes]
    assert site.only().attributes["previous"] == [sums[3], sums[2]]
    assert site.index()["published"]["root/6.32"]["previous"] == [sums[3], sums[2]]
    assert len(site.store()) == 3
    assert site.converge(wishes[4]) == 0
    (Path(site.data) / "uploads" / "tool-4.tar").unlink()
    kept = replace(wishes[3], spec={**wishes[3].spec, "keepPrevious": 1})
    assert site.converge(kept) == 1  # back to what was kept, without its source
    assert site.read() == "4"
    assert site.only().attributes["previous"] == [sums[4]]


def test_two_paths_of_one_object_live_side_by_side(site: Site) -> None:
    """A changed path is a replace: the successor appears, then the predecessor goes."""
    site.converge(site.resource())
    old = site.only()
    site.apply(site.resource(path="root/latest"), old)
    assert {thing.uid.partition(":")[2] for thing in site.seen()} == {"root/6.32", "root/latest"}
    assert all(thing.state is State.READY for thing in site.seen())
    site.remove(old)
    assert site.only().spec["path"] == "root/latest"
    assert site.read("root/latest") == "1"
    assert not (site.root / "root/6.32").is_symlink()


def test_many_threads_in_one_repository(site: Site) -> None:
    wishes = [site.resource(str(number % 3), f"n{number}", path=f"p/{number}") for number in range(24)]
    failures: list[Exception] = []

    def work(mine: list[Resource]) -> None:
        try:
            for wish in mine:
                site.apply(wish)
        except Exception as error:  # noqa: BLE001  told to the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(wishes[number::4],)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [thing.state for thing in site.seen()] == [State.READY] * 24
    assert [site.converge(wish) for wish in wishes] == [0] * 24
    assert len(site.index()["published"]) == 24
    assert site.work() == []


def test_readers_never_see_a_mix(site: Site) -> None:
    """200 switches; each look opens the directory once and reads two files that must agree."""
    wishes = [site.resource(version, keepPrevious=1) for version in "12"]
    site.converge(wishes[0])
    stop, looks, mixes = threading.Event(), [0], []

    def look() -> None:
        while not stop.is_set():
            said = look_at_both(site.root / "root/6.32")
            looks[0] += said is not None
            if said is not None and len(said) != 1:
                mixes.append(said)

    reader = threading.Thread(target=look)
    reader.start()
    for number in range(200):
        site.apply(wishes[(number + 1) % 2], None)
    stop.set()
    reader.join()
    assert mixes == []
    assert looks[0] > 200


def look_at_both(path: Path) -> set[bytes] | None:
    """What both files say; nothing where there is a gap; None where the version was removed meanwhile."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return set()
    try:
        said: set[bytes] = set()
        for name in ("a", "bin/b"):
            opened = os.open(name, os.O_RDONLY, dir_fd=descriptor)
            with os.fdopen(opened, "rb") as stream:
                said |= set(stream.read().splitlines())
    except FileNotFoundError:
        return None
    finally:
        os.close(descriptor)
    return said


def test_an_opened_version_can_be_read_after_the_switch(site: Site) -> None:
    site.converge(site.resource("1", keepPrevious=1))
    descriptor = os.open(site.root / "root/6.32", os.O_RDONLY | os.O_DIRECTORY)
    site.converge(site.resource("2", keepPrevious=1))
    opened = os.open("bin/b", os.O_RDONLY, dir_fd=descriptor)
    assert os.read(opened, 2) == b"1\n"
    os.close(opened)
    os.close(descriptor)


# -- what is not ours -------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["directory", "file", "link"])
def test_what_stands_there_unmarked_is_left_alone(site: Site, what: str) -> None:
    place = site.root / "root/6.32"
    place.parent.mkdir(parents=True)
    if what == "directory":
        place.mkdir()
    elif what == "file":
        place.write_text("precious")
    else:
        place.symlink_to("/somewhere")
    with pytest.raises(NotOurs, match="that we did not publish"):
        site.apply(site.resource())
    assert site.seen() == []
    stranger = site.seen(f"{REPOSITORY}:root/6.32")[0]
    assert (stranger.mark, stranger.uid) == (None, f"{REPOSITORY}:root/6.32")
    assert site.work() == site.store() == []


@pytest.mark.parametrize("what", ["file", "link"])
def test_what_stands_above_unmarked_is_left_alone(site: Site, what: str) -> None:
    site.root.mkdir(parents=True)
    if what == "file":
        (site.root / "root").write_text("precious")
    else:
        (site.root / "root").symlink_to("/somewhere")
    with pytest.raises(NotOurs, match="can't be made"):
        site.apply(site.resource())


def test_anothers_publication_is_left_alone(site: Site) -> None:
    site.apply(site.resource(), owner="other-y2")
    assert site.seen() == []
    for resource in (site.resource(name="mine"), replace(site.resource("2"), metadata=Metadata(adopt=True))):
        with pytest.raises(NotOurs, match="other-y2"):
            site.apply(resource)
    with pytest.raises(NotOurs):
        site.apply(site.resource(path="root/6.32/inside"))
    assert site.read() == "1"
    assert len(site.seen(owner="other-y2")) == 1


def test_a_path_of_another_object_of_ours_is_waited_for(site: Site) -> None:
    site.converge(site.resource())
    with pytest.raises(Conflict, match="SoftwareUpload/cms/root, which must go first"):
        site.apply(site.resource("2", name="other"))
    site.remove(site.only())
    site.apply(site.resource("2", name="other"))
    assert site.read() == "2"


def test_the_same_content_can_be_adopted(site: Site) -> None:
    make_by_hand(site.root / "root/6.32", "1")
    resource = replace(site.resource(), metadata=Metadata(adopt=True))
    site.apply(resource, site.seen(f"{REPOSITORY}:root/6.32")[0])
    assert site.read() == "1"
    assert site.only().state is State.READY
    assert site.work() == []
    assert site.converge(resource) == 0


def make_by_hand(folder: Path, version: str) -> None:
    (folder / "bin").mkdir(parents=True)
    (folder / "a").write_text(f"{version}\n" * 100)
    (folder / "bin" / "b").write_text(f"{version}\n" * 5000)


def test_other_content_is_not_adopted(site: Site) -> None:
    make_by_hand(site.root / "root/6.32", "precious")
    resource = replace(site.resource(), metadata=Metadata(adopt=True))
    with pytest.raises(Rejected, match="2 files differ, first 'a'"):
        site.apply(resource, site.seen(f"{REPOSITORY}:root/6.32")[0])
    assert site.read() == "precious"
    assert site.work() == site.store() == site.published() == []


def test_release_leaves_the_content_and_takes_the_mark(site: Site) -> None:
    site.converge(site.resource())
    thing = site.only()
    site.release(thing)
    site.release(thing)
    assert site.read() == "1"
    assert site.seen() == []
    assert site.published() == site.store() == site.work() == []
    with pytest.raises(NotOurs):
        site.apply(site.resource("2"))
    adopting = replace(site.resource(), metadata=Metadata(adopt=True))
    site.apply(adopting, site.seen(f"{REPOSITORY}:root/6.32")[0])
    assert site.only().state is State.READY
    assert os.listdir(site.inside / "released") == []


# -- removing ---------------------------------------------------------------------------------------------


def test_removal_is_noted_and_leaves_nothing(site: Site) -> None:
    site.converge(site.resource(keepPrevious=3))
    site.converge(site.resource("2", keepPrevious=3))
    thing = site.only()
    site.remove(thing)
    site.remove(thing)
    assert site.seen() == []
    assert sorted(os.listdir(site.root)) == [".reconciler"]
    assert site.store() == site.published() == site.work() == os.listdir(site.inside / "folders") == []
    lines = (site.inside / "removed.log").read_text().splitlines()
    assert len(lines) == 1
    said = json.loads(lines[0])
    assert (said["ref"], said["path"], said["action"]) == ("SoftwareUpload/cms/root", "root/6.32", "removed")
    assert site.index()["removed"] == [said]
    assert site.index()["published"] == {}
    site.converge(site.resource())
    site.remove(site.only())
    assert len((site.inside / "removed.log").read_text().splitlines()) == 2


def test_folders_of_others_stay(site: Site) -> None:
    (site.root / "root").mkdir(parents=True)
    site.converge(site.resource())
    site.converge(site.resource(name="deep", path="x/y/z"))
    (site.root / "x" / "notes").write_text("precious")
    for thing in site.seen():
        site.remove(thing)
    assert sorted(os.listdir(site.root)) == [".reconciler", "root", "x"]
    assert os.listdir(site.root / "x") == ["notes"]


# -- drift ------------------------------------------------------------------------------------------------


def damage_content(site: Site) -> None:
    path = site.root / "root/6.32/a"
    before = path.stat()
    path.write_bytes(b"X" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


DAMAGE: dict[str, tuple[Callable[[Site], object], str, str]] = {
    "changed": (damage_content, "files.'a'", "changed"),
    "missing": (lambda site: (site.root / "root/6.32/bin/b").unlink(), "files.'bin/b'", "missing"),
    "extra": (lambda site: (site.root / "root/6.32/bin/virus").write_text("x"), "files.'bin/virus'", "extra"),
    "extra link": (lambda site: (site.root / "root/6.32/l").symlink_to("a"), "files.'l'", "extra"),
    "mode": (lambda site: (site.root / "root/6.32/a").chmod(0o666), "files.'a'", "mode"),
    "manifest": (
        lambda site: next((site.inside / "store").glob("*/manifest.json")).write_text("{"),
        "files.'manifest.json'",
        "missing",
    ),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_found_and_healed(site: Site, what: str) -> None:
    act, path, word = DAMAGE[what]
    resource = site.resource()
    site.converge(resource)
    assert site.verified().drift == ()
    assert site.verified().verified is not None
    act(site)
    assert site.converge(resource) == 0  # a list does not see it
    found = site.verified()
    assert (found.state, found.reason) == (State.FAILED, "Damaged")
    assert [(entry.path, entry.have) for entry in found.drift] == [(path, word)]
    site.apply(resource, found)
    assert site.verified().drift == ()
    assert site.read() == "1"
    assert len(site.store()) == len(site.published()) == 1
    assert site.work() == []


def test_only_the_first_damaged_files_are_named(site: Site) -> None:
    sha256 = site.upload("many.tar", {f"f{number:02}": b"x" for number in range(30)})
    site.converge(site.resource(source="many.tar", sha256=sha256))
    for path in (site.root / "root/6.32").iterdir():
        path.unlink()
    found = site.verified()
    assert len(found.drift) == 21
    assert found.drift[-1].have == "10 more"


def test_damage_without_a_source_says_what_to_do(site: Site) -> None:
    resource = site.resource()
    site.converge(resource)
    (Path(site.data) / "uploads" / "tool-1.tar").unlink()
    assert site.converge(resource) == 0
    damage_content(site)
    with pytest.raises(Rejected, match="is not in the uploads") as caught:
        site.apply(resource, site.verified())
    assert "upload it again" in caught.value.hint
    assert site.only().state is State.READY  # readers keep what they have
    assert site.work() == []
    site.resource()
    site.apply(resource, site.verified())
    assert site.read() == "1"


def test_damage_is_healed_from_what_another_has(site: Site) -> None:
    resource = site.resource()
    site.converge(resource)
    damage_content(site)
    site.apply(site.resource(name="twin", path="twin"))  # unpacked anew: what is there is no good
    (Path(site.data) / "uploads" / "tool-1.tar").unlink()
    damaged = next(thing for thing in site.seen() if thing.ref == resource.ref)
    site.apply(resource, HAND.verify(DRIVER.reader(site.target, site), damaged))
    assert site.read() == site.read("twin") == "1"
    assert len(site.store()) == 1


LINKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "gone": (Path.unlink, "Partial"),
    "elsewhere": (lambda place: swap(place, "/somewhere"), "Drifted"),
    "to another of ours": (lambda place: swap(place, os.readlink(place) + "/bin"), "Drifted"),
}


def swap(place: Path, target: str) -> None:
    place.unlink()
    place.symlink_to(target)


@pytest.mark.parametrize("what", LINKS)
def test_a_link_swapped_by_hand_is_seen_and_put_right(site: Site, what: str) -> None:
    act, reason = LINKS[what]
    resource = site.resource()
    site.converge(resource)
    act(site.root / "root/6.32")
    thing = site.only()
    assert (thing.state, thing.reason) == (State.FAILED, reason)
    assert [entry.path for entry in thing.drift] == ["published"]
    assert site.converge(resource) == 1
    assert site.read() == "1"


def test_a_directory_put_in_our_place_is_not_destroyed(site: Site) -> None:
    site.converge(site.resource())
    (site.root / "root/6.32").unlink()
    make_by_hand(site.root / "root/6.32", "precious")
    assert site.only().reason == "Drifted"
    with pytest.raises(NotOurs):
        site.apply(site.resource(), site.only())
    assert site.read() == "precious"


@pytest.mark.parametrize("what", ["tree", "receipt.json"])
def test_a_version_that_was_spoilt_by_hand_is_seen_and_healed(site: Site, what: str) -> None:
    resource = site.resource()
    site.converge(resource)
    (site.inside / "published" / site.published()[0] / what).unlink()
    thing = site.only()
    assert thing.state is State.FAILED
    assert thing.ref == resource.ref
    site.apply(resource, thing)
    lost = [each for each in site.seen() if each.state is not State.READY]
    for thing in lost:
        site.remove(thing)
    assert site.converge(resource) == 0
    assert site.read() == "1"


def test_the_index_is_never_believed(site: Site) -> None:
    site.converge(site.resource())
    for text in ("{", "[]", '{"published": 3}'):
        (site.inside / "index.json").write_text(text)
        assert site.only().state is State.READY
    site.converge(site.resource(name="other", path="other"))
    assert sorted(site.index()["published"]) == ["other", "root/6.32"]


# -- failures ---------------------------------------------------------------------------------------------


def test_a_refused_upload_leaves_nothing(site: Site) -> None:
    for resource in (site.resource(sha256="0" * 64), site.resource(source="missing.tar", sha256="1" * 64)):
        with pytest.raises(Rejected):
            site.apply(resource)
        assert site.seen() == []
        assert site.work() == site.store() == site.published() == []
        assert sorted(os.listdir(site.root)) == [".reconciler"]


def test_a_refused_update_leaves_the_first(site: Site) -> None:
    site.converge(site.resource())
    with pytest.raises(Rejected, match="expected 0000"):
        site.apply(site.resource("2", sha256="0" * 64), site.only())
    assert site.read() == "1"
    assert site.converge(site.resource()) == 0
    assert site.work() == []


def test_a_missing_mount_is_not_empty(site: Site) -> None:
    away = Site(site.data, {"path": site.data + "/not-mounted", "uploads": "uploads"})
    with pytest.raises(Transient, match="is not there"):
        away.seen()
    with pytest.raises(Transient, match="is not there"):
        away.apply(away.resource())
    assert not Path(site.data, "not-mounted").exists()


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, BackendError), (errno.EACCES, Denied), (errno.EIO, Transient)]
)
def test_errors_say_who_must_act(site: Site, number: int, kind: type[BackendError]) -> None:
    with pytest.raises(kind) as caught, translated(DRIVER.writer(site.target, site)):
        raise OSError(number, os.strerror(number), "some/file")
    assert type(caught.value) is kind


def test_settings(site: Site) -> None:
    jsonschema.Draft202012Validator.check_schema(DRIVER.settings)
    validator = jsonschema.Draft202012Validator(DRIVER.settings)
    validator.validate({**site.settings, "maxBytes": "10GiB", "maxMembers": 5})
    for entry in DRIVER.settings["properties"].values():
        assert entry["title"]
        assert entry["description"]
        assert entry["examples"]
    small = Site(site.data, {**site.settings, "maxBytes": "5kB"})
    with pytest.raises(Rejected, match=r"more than 5000 bytes|above 5000"):
        small.apply(small.resource())


def test_facts(site: Site) -> None:
    assert DRIVER.facts(DRIVER.reader(site.target, site))["free"] > 0


# -- kill -9 at every point -------------------------------------------------------------------------------


def essence(site: Site) -> tuple[object, ...]:
    """What two worlds must have in common to be the same."""
    things = [
        (str(each.ref), each.mark, each.state, each.drift, each.spec["path"], each.attributes["previous"])
        for each in site.seen()
    ]
    index = {path: entry["sha256"] for path, entry in site.index()["published"].items()}
    counts = len(site.store()), len(site.published()), site.work()
    folders = sorted(str(path.relative_to(site.root)) for path in visible(site.root))
    return things, index, counts, folders, [line["ref"] for line in site.index()["removed"]]


def visible(root: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if name != ".reconciler"]
        yield from (Path(folder) / name for name in (*names, *files))


def test_killed_while_creating(tmp_path: Path) -> None:
    points = 0
    whole = fresh(tmp_path / "whole")
    whole.converge(whole.resource())
    while True:
        points += 1
        site = fresh(tmp_path / str(points))
        resource = site.resource()
        if not killed_at(points, partial(site.apply, resource)):
            break
        assert all(each.ref == resource.ref and each.mark for each in site.seen())
        assert site.converge(resource) <= 1
        assert site.read() == "1"
        assert essence(site) == essence(whole)
    assert points > 20


def test_killed_while_creating_and_then_not_wanted(tmp_path: Path) -> None:
    points = 0
    while True:
        points += 1
        site = fresh(tmp_path / str(points))
        resource = site.resource()
        if not killed_at(points, partial(site.apply, resource)):
            break
        for thing in site.seen():
            site.remove(thing)
        if not (site.inside / "index.json").exists():
            continue
        assert site.seen() == []
        assert site.store() == site.published() == site.work() == []
        assert list(visible(site.root)) == []
    assert points > 20


def test_killed_while_updating(tmp_path: Path) -> None:
    points = 0
    whole = fresh(tmp_path / "whole")
    for version in "123":
        whole.converge(whole.resource(version, keepPrevious=1))
    while True:
        points += 1
        site = fresh(tmp_path / str(points))
        for version in "12":
            site.converge(site.resource(version, keepPrevious=1))
        resource = site.resource("3", keepPrevious=1)
        thing = site.only()
        if not killed_at(points, partial(site.apply, resource, thing)):
            break
        assert site.read() in "23"
        assert site.converge(resource) <= 1
        assert site.read() == "3"
        assert essence(site) == essence(whole)
    assert points > 30


def test_killed_while_updating_and_then_wished_back(tmp_path: Path) -> None:
    points = 0
    while True:
        points += 1
        site = fresh(tmp_path / str(points))
        first, second = site.resource("1"), site.resource("2")
        site.converge(first)
        thing = site.only()
        if not killed_at(points, partial(site.apply, second, thing)):
            break
        site.converge(first)
        assert site.read() == "1"
        assert len(site.store()) == len(site.published()) == 1
        assert site.work() == [] or all(name.startswith("tmp-") for name in site.work())
    assert points > 30


@pytest.mark.parametrize("action", ["delete", "release"])
def test_killed_while_taking_away(tmp_path: Path, action: str) -> None:
    points = 0
    while True:
        points += 1
        site = fresh(tmp_path / str(points))
        for version in "12":
            site.converge(site.resource(version, keepPrevious=1))
        thing = site.only()
        act = site.remove if action == "delete" else site.release
        if not killed_at(points, partial(act, thing)):
            break
        for left in site.seen():
            act(left)
        assert site.seen() == []
        assert site.store() == site.published() == site.work() == []
        assert site.index()["published"] == {}
        assert len(site.index()["removed"]) == 1
        assert (site.root / "root").exists() == (action == "release")
        assert action == "delete" or site.read() == "2"
    assert points > 20


def fresh(folder: Path) -> Site:
    (folder / "uploads").mkdir(parents=True)
    return Site(str(folder), {"path": "software", "uploads": "uploads"})
