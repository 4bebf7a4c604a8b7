"""The embedded lake: what appears on disk, what survives a kill, and what is never touched."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import socket
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from reconciler.construct import filled
from reconciler.drivers.storage import DRIVER
from reconciler.drivers.storage.client import Reader, Writer
from reconciler.drivers.storage.layout import names_of, read_half_made, read_receipt, replica_names
from reconciler.drivers.storage.manifest import read_manifest
from reconciler.drivers.storage.writing import Writing
from reconciler.errors import BackendError, Conflict, Denied, NotOurs, ReadOnly, Rejected, Transient
from reconciler.kind import Ask, World
from reconciler.kinds.data_rule import KIND as RULE
from reconciler.kinds.data_rule import DataRuleSpec
from reconciler.kinds.storage_element import KIND as ELEMENT
from reconciler.kinds.storage_element import StorageElementSpec
from reconciler.model import (
    PLAIN,
    Action,
    Change,
    Declared,
    Metadata,
    Observed,
    Ref,
    Resource,
    Source,
    State,
    Target,
    mark_for,
)
from tests.places import NoSecrets

OWNER = "me"
NOW = datetime(2026, 10, 8, 12, tzinfo=UTC)
FILES = {"run-1.root": b"1" * 70_000, "deep/er/run-2.root": b"2" * 3_000_000, "empty": b"", "ünï": b"x"}


@dataclass(frozen=True)
class Places(NoSecrets):
    data: str


@dataclass
class Site:
    """A few targets on this machine, and a pass over them that is as small as can be."""

    folder: Path
    names: tuple[str, ...] = ("bari", "cnaf")
    before: Callable[[str], None] = lambda _operation: None
    written: int = 0
    owner: str = OWNER

    def target(self, name: str) -> Target:
        return Target(name, "storage", name, {"path": f"sites/{name}", "uploads": f"uploads/{name}"})

    def reader(self, name: str) -> Reader:
        return Reader(self.target(name), Places(str(self.folder)))

    def writer(self, name: str) -> Writer:
        client = Writer(self.target(name), Places(str(self.folder)))
        client._writing = Writing(self._counted)
        return client

    def _counted(self, operation: str) -> None:
        self.written += 1
        self.before(operation)

    def observed(self, natural: frozenset[str] = frozenset(), *, deep: bool = False) -> list[Observed]:
        found = []
        for name in self.names:
            client = self.reader(name)
            for kind in ("StorageElement", "replica"):
                hand = DRIVER.hand(kind)
                assert hand is not None
                listed = hand.observe(client, Ask(self.owner, natural))
                found += [hand.verify(client, thing) if deep and thing.mark else thing for thing in listed]
        return found

    def world(self, declared: list[Declared], seen: list[Observed]) -> World:
        things: dict[Ref, tuple[Observed, ...]] = {}
        for thing in seen:
            things[thing.ref.object] = (*things.get(thing.ref.object, ()), thing)
        targets = {name: self.target(name) for name in self.names}
        facts = {name: DRIVER.facts(self.reader(name)) for name in self.names}
        by_ref = {entry.ref: entry for entry in declared}
        return World(datetime.now(UTC), targets, by_ref, things, {}, lambda _ref, _name: False, facts)

    def changes(self, declared: list[Declared], seen: list[Observed]) -> Iterator[Change]:
        scene = self.world(declared, seen)
        kinds: dict[str, Any] = {"DataRule": RULE, "StorageElement": ELEMENT}
        found = [entry for one in declared for entry in kinds[one.ref.kind].expand(one, scene)]
        wanted = {entry.ref: entry for entry in found if isinstance(entry, Resource)}
        mine = {thing.ref: thing for thing in seen if thing.mark}
        for ref, resource in sorted(
            wanted.items(), key=lambda pair: (pair[0].kind != "StorageElement", pair)
        ):
            thing = mine.get(ref)
            if thing is None:
                yield Change(ref, resource.kind, resource.target, Action.CREATE, "NotFound", want=resource)
            elif self.differs(resource, thing):
                yield Change(
                    ref, resource.kind, resource.target, Action.UPDATE, "Drifted", want=resource, have=thing
                )
        for ref, thing in sorted(mine.items(), key=lambda pair: (pair[0].kind == "StorageElement", pair[0])):
            if ref not in wanted:
                change = Change(ref, thing.kind, thing.target, Action.DELETE, "Surplus", have=thing)
                if kinds[ref.kind].hold_removal(change, scene) is None:
                    yield change

    def differs(self, resource: Resource, thing: Observed) -> bool:
        assert thing.mark
        marks = (thing.mark.lock, thing.mark.keep, thing.mark.ref)
        metadata = resource.metadata
        if marks != (metadata.locked, metadata.keep, resource.ref) or thing.drift:
            return True
        return thing.spec != resource.spec or thing.state is not State.READY

    def perform(self, change: Change) -> None:
        hand, client = DRIVER.hand(change.kind), self.writer(change.target)
        assert hand is not None
        if change.want is not None:
            hand.apply(client, change, mark_for(self.owner, change.want))
        elif change.release:
            hand.release(client, change)
        else:
            hand.delete(client, change)

    def converge(self, *declared: Declared, deep: bool = False) -> None:
        """Two passes, and a third that must be silent."""
        for _ in range(2):
            for kind in ("StorageElement", "replica"):  # elements first, then what needs them
                for change in self.changes(list(declared), self.observed(deep=deep)):
                    if change.kind == kind or change.action is Action.DELETE:
                        self.perform(change)
        before, tree = self.written, snapshot(self.folder)
        assert list(self.changes(list(declared), self.observed(deep=deep))) == []
        assert (self.written, snapshot(self.folder)) == (before, tree)


def snapshot(folder: Path, *, times: bool = True) -> dict[str, Any]:
    """All that is in a folder: contents and times of change; receipts without the times they tell."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink() or not path.is_file():
            found[name] = os.readlink(path) if path.is_symlink() else None
        elif path.name == "receipt.json" and not times:
            receipt = read_receipt(path.read_bytes())
            found[name] = replace(receipt, created="", verified="")
        else:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found[name] = (digest, path.stat().st_mtime_ns) if times else digest
    return found


def element(name: str, target: str, **spec: Any) -> Declared:
    whole = filled(StorageElementSpec, {"target": target, **spec})
    return Declared(Ref("StorageElement", "", name), whole, Source("e.yaml"))


def rule(name: str = "higgs", metadata: Metadata = PLAIN, **spec: Any) -> Declared:
    given = {"dataset": "cms:higgs", "source": "higgs", "expression": "*", "copies": 2, **spec}
    return Declared(Ref("DataRule", "cms", name), filled(DataRuleSpec, given), Source("r.yaml"), metadata)


BARI, CNAF = element("disk-a", "bari"), element("disk-b", "cnaf")
A, B = "sites/bari/disk-a/cms/higgs/cms.higgs", "sites/cnaf/disk-b/cms/higgs/cms.higgs"


def upload(folder: Path, files: Mapping[str, bytes] = FILES, name: str = "higgs") -> Path:
    for path, content in files.items():
        file = folder / name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        os.utime(file, (1_767_225_600, 1_767_225_600))
    return folder / name


@pytest.fixture
def site(tmp_path: Path) -> Site:
    upload(tmp_path / "uploads/bari")
    return Site(tmp_path)


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".reconciler" not in path.parts
    }


# -- two targets -----------------------------------------------------------------------------


def test_two_copies_on_two_targets(site: Site) -> None:
    site.converge(BARI, CNAF, rule())
    assert content(site.folder / A) == FILES
    assert content(site.folder / B) == FILES
    replicas = [thing for thing in site.observed() if thing.kind == "replica"]
    assert {thing.state for thing in replicas} == {State.READY}
    assert len({thing.attributes["manifest"] for thing in replicas}) == 1
    assert [thing.attributes["bytes"] for thing in replicas] == [3_070_001, 3_070_001]
    elements = {thing.uid for thing in site.observed() if thing.kind == "StorageElement"}
    assert {use for thing in replicas for use in thing.uses} == elements
    assert len({thing.uid for thing in replicas} | elements) == 4


def test_the_manifest_says_what_every_file_is(site: Site) -> None:
    site.converge(BARI, CNAF, rule())
    manifest = read_manifest((site.folder / A / ".reconciler/manifest.json").read_bytes())
    told = {entry.path: (entry.size, entry.sha256) for entry in manifest.entries}
    assert told == {path: (len(data), hashlib.sha256(data).hexdigest()) for path, data in FILES.items()}
    assert sorted(told) == [entry.path for entry in manifest.entries]


def test_the_second_copy_comes_from_the_first_when_the_upload_is_gone(site: Site) -> None:
    site.converge(BARI, rule(copies=1))
    shutil.rmtree(site.folder / "uploads")
    site.converge(BARI, CNAF, rule())
    assert content(site.folder / B) == FILES


def test_a_pass_costs_receipts_only(site: Site) -> None:
    site.converge(BARI, CNAF, rule())
    for file in (site.folder / A).rglob("*"):
        if file.is_file() and file.name != "receipt.json":
            file.chmod(0)
    assert len(site.observed()) == 4


def test_facts(site: Site) -> None:
    told = DRIVER.facts(site.reader("bari"))
    assert told["capacity"] >= told["used"] + told["free"] > 0
    site.converge(BARI)
    assert set(DRIVER.facts(site.reader("bari"))) == {"capacity", "free", "used"}


# -- drift and repair ------------------------------------------------------------------------


def corrupt(folder: Path) -> None:
    file = folder / "run-1.root"
    status = file.stat()
    file.write_bytes(b"1" * 69_999 + b"0")
    os.utime(file, ns=(status.st_mtime_ns, status.st_mtime_ns))


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "files.run-1.root": corrupt,
    "files.deep/er/run-2.root": lambda folder: (folder / "deep/er/run-2.root").unlink(),
    "files.empty": lambda folder: (folder / "empty").write_bytes(b"longer"),
    "files.extra/file": lambda folder: upload(folder, {"file": b"?"}, "extra"),
    "files.link": lambda folder: (folder / "link").symlink_to("/etc/passwd"),
    "manifest": lambda folder: (folder / ".reconciler/manifest.json").write_bytes(b"[]"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_and_repaired_in_place(site: Site, damage: str) -> None:
    site.converge(BARI, CNAF, rule())
    good = snapshot(site.folder, times=False)
    DAMAGES[damage](site.folder / A)
    (found,) = [thing for thing in site.observed(deep=True) if thing.state is State.FAILED]
    assert (found.reason, [field.path for field in found.drift]) == ("Corrupt", [damage])
    assert found.target == "bari"
    site.converge(BARI, CNAF, rule(), deep=True)
    if (site.folder / A / "extra").is_dir():
        (site.folder / A / "extra").rmdir()
    assert snapshot(site.folder, times=False) == good
    assert all(thing.state is State.READY for thing in site.observed(deep=True))


def test_a_file_where_a_folder_was_is_repaired(site: Site) -> None:
    site.converge(BARI, CNAF, rule())
    shutil.rmtree(site.folder / A / "deep")
    (site.folder / A / "deep").symlink_to(site.folder / "uploads")
    (site.folder / A / "empty").unlink()
    (site.folder / A / "empty").mkdir()
    site.converge(BARI, CNAF, rule(), deep=True)
    assert content(site.folder / A) == FILES
    assert content(site.folder / "uploads/bari/higgs") == FILES


def test_size_checks_look_at_size_and_time_only(site: Site) -> None:
    of = rule(verify={"how": "size"})
    site.converge(BARI, CNAF, of)
    corrupt(site.folder / A)
    assert all(thing.state is State.READY for thing in site.observed(deep=True))
    os.utime(site.folder / A / "run-1.root", ns=(1, 1))
    assert [thing.reason for thing in site.observed(deep=True) if thing.drift] == ["Corrupt"]
    site.converge(BARI, CNAF, of, deep=True)
    assert content(site.folder / A) == FILES
    os.utime(site.folder / A / "empty", ns=(1, 1))
    site.converge(BARI, CNAF, of, deep=True)


def test_a_repaired_file_has_the_time_that_the_manifest_says(site: Site) -> None:
    of = rule(copies=1, verify={"how": "size"})
    site.converge(BARI, of)
    (site.folder / A / "run-1.root").write_bytes(b"short")
    os.utime(site.folder / "uploads/bari/higgs/run-1.root", ns=(1, 1))
    (change,) = site.changes([BARI, of], site.observed(deep=True))
    site.perform(change)
    assert content(site.folder / A) == FILES
    assert (site.folder / A / "run-1.root").stat().st_mtime == 1_767_225_600


def test_twenty_differences_are_shown_and_the_rest_counted(site: Site) -> None:
    upload(site.folder / "uploads/bari", {f"f{number:02}": b"x" for number in range(30)}, "higgs")
    site.converge(BARI, CNAF, rule())
    for number in range(30):
        (site.folder / A / f"f{number:02}").write_bytes(b"y")
    (found,) = [thing for thing in site.observed(deep=True) if thing.drift]
    assert len(found.drift) == 21
    assert (found.drift[-1].path, found.drift[-1].have) == ("files", "10 more differ")


def test_a_bad_source_is_passed_over_file_by_file(site: Site) -> None:
    third = element("disk-c", "cnaf")
    site.converge(BARI, CNAF, rule())
    corrupt(site.folder / A)
    (site.folder / B / "empty").write_bytes(b"not")
    shutil.rmtree(site.folder / "uploads")
    site.converge(BARI, CNAF, third, rule(copies=3))
    assert content(site.folder / "sites/cnaf/disk-c/cms/higgs/cms.higgs") == FILES


def test_without_any_good_source_all_places_are_named_and_it_stays_failed(site: Site) -> None:
    site.converge(BARI, CNAF, rule())
    for place in (A, B):
        corrupt(site.folder / place)
    shutil.rmtree(site.folder / "uploads")
    seen = site.observed(deep=True)
    changes = list(site.changes([BARI, CNAF, rule()], seen))
    with pytest.raises(Rejected) as caught:
        site.perform(changes[0])
    for words in ("run-1.root", "copy on disk-b", "upload higgs in uploads/bari"):
        assert words in str(caught.value)
    assert [thing.reason for thing in site.observed()].count("Repairing") == 1
    upload(site.folder / "uploads/bari")
    site.converge(BARI, CNAF, rule(), deep=True)
    assert content(site.folder / A) == FILES == content(site.folder / B)


def test_no_source_at_all_is_rejected_and_leaves_nothing(site: Site) -> None:
    site.converge(BARI)
    (change,) = site.changes([BARI, rule(source="nothing", copies=1)], site.observed())
    with pytest.raises(Rejected, match="tried: upload nothing in uploads/bari"):
        site.perform(change)
    assert [thing.kind for thing in site.observed()] == ["StorageElement"]


# -- receipts --------------------------------------------------------------------------------


def test_a_receipt_changes_alone(site: Site) -> None:
    site.converge(BARI, CNAF, rule())
    inodes = {path: path.stat().st_ino for path in (site.folder / A).rglob("*.root")}
    locked = rule(metadata=Metadata(locked=True, keep=True), source="elsewhere", verify={"every": "2d"})
    site.converge(replace(BARI, spec={**BARI.spec, "capacity": "1GB"}), CNAF, locked)
    assert {path: path.stat().st_ino for path in (site.folder / A).rglob("*.root")} == inodes
    marks = [thing.mark for thing in site.observed() if thing.kind == "replica"]
    assert all(mark and mark.lock and mark.keep for mark in marks)


def renamed(ref: Ref) -> Ref:
    return Ref(ref.kind, ref.group, "boson", ref.part)


def test_a_renamed_rule_keeps_its_files(site: Site) -> None:
    site.converge(BARI, CNAF, rule())
    inodes = {path.name: path.stat().st_ino for path in (site.folder / A).rglob("*.root")}
    new = rule("boson", Metadata(formerly=rule().ref))
    for thing in [thing for thing in site.observed() if thing.kind == "replica"]:
        ref = renamed(thing.ref)
        seen = [replace(other, ref=renamed(other.ref)) for other in site.observed()]
        scene = site.world([BARI, CNAF, new], [entry for entry in seen if entry.kind == "replica"])
        want = {e.ref: e for e in RULE.expand(new, scene) if isinstance(e, Resource)}[ref]
        have = replace(thing, ref=ref)
        site.perform(Change(ref, "replica", thing.target, Action.UPDATE, "Renamed", want=want, have=have))
    site.converge(BARI, CNAF, rule("boson"))
    moved = site.folder / "sites/bari/disk-a/cms/higgs/cms.boson"
    assert {path.name: path.stat().st_ino for path in moved.rglob("*.root")} == inodes
    assert not (site.folder / A).exists()


def test_another_data_set_is_another_directory(site: Site) -> None:
    upload(site.folder / "uploads/bari", {"f": b"top"}, "top")
    site.converge(BARI, rule(copies=1))
    new = rule(copies=1, dataset="cms:top", source="top")
    old = next(thing for thing in site.observed() if thing.kind == "replica")
    scene = site.world([BARI, new], site.observed())
    (want,) = RULE.expand(new, scene)
    assert isinstance(want, Resource)
    site.perform(Change(want.ref, "replica", "bari", Action.CREATE, "ImmutableField", want=want))
    assert len([thing for thing in site.observed() if thing.ref == want.ref]) == 2
    site.perform(Change(want.ref, "replica", "bari", Action.DELETE, "Superseded", have=old))
    site.converge(BARI, new)
    assert content(site.folder / "sites/bari/disk-a") == {"cms/top/cms.higgs/f": b"top"}


def test_two_rules_for_one_data_set_do_not_share(site: Site) -> None:
    site.converge(BARI, rule("one", copies=1), rule("two", copies=1))
    site.converge(BARI, rule("two", copies=1))
    place = site.folder / "sites/bari/disk-a/cms/higgs"
    assert [path.name for path in place.iterdir()] == ["cms.two"]
    assert content(place / "cms.two") == FILES


# -- going -----------------------------------------------------------------------------------


def test_all_goes_without_a_trace(site: Site) -> None:
    site.converge(BARI, CNAF, rule())
    site.converge(BARI, CNAF)
    assert content(site.folder / "sites") == {}
    assert [path.name for path in (site.folder / "sites/bari/disk-a").iterdir()] == [".reconciler"]
    site.converge()
    assert [path.name for path in (site.folder / "sites/bari").iterdir()] == [".reconciler"]
    assert list((site.folder / "sites/bari/.reconciler").iterdir()) == []


def test_gone_already_is_success(site: Site) -> None:
    site.converge(BARI, rule(copies=1))
    seen = site.observed()
    shutil.rmtree(site.folder / "sites/bari")
    for thing in seen:
        site.perform(Change(thing.ref, thing.kind, thing.target, Action.DELETE, "Surplus", have=thing))
        site.perform(
            Change(thing.ref, thing.kind, thing.target, Action.UPDATE, "Released", have=thing, release=True)
        )


def test_release_leaves_the_files_and_takes_the_mark(site: Site) -> None:
    site.converge(BARI, rule(copies=1))
    (thing,) = [thing for thing in site.observed() if thing.kind == "replica"]
    change = Change(thing.ref, "replica", "bari", Action.UPDATE, "Released", have=thing, release=True)
    site.perform(change)
    site.perform(change)
    assert content(site.folder / A) == FILES
    assert not (site.folder / A / ".reconciler").exists()
    assert [thing.kind for thing in site.observed()] == ["StorageElement"]


def test_an_element_stays_while_anything_lies_on_it(site: Site) -> None:
    site.converge(BARI, rule(copies=1))
    (thing,) = [thing for thing in site.observed() if thing.kind == "StorageElement"]
    for release in (False, True):
        action = Action.UPDATE if release else Action.DELETE
        with pytest.raises(Conflict, match="not empty"):
            site.perform(
                Change(thing.ref, thing.kind, "bari", action, "Surplus", have=thing, release=release)
            )
    site.converge(BARI)
    foreign = upload(site.folder / "sites/bari/disk-a", {"theirs": b"!"}, "foreign")
    with pytest.raises(Conflict, match="not empty: foreign"):
        site.perform(Change(thing.ref, thing.kind, "bari", Action.DELETE, "Surplus", have=thing))
    site.perform(Change(thing.ref, thing.kind, "bari", Action.UPDATE, "Released", have=thing, release=True))
    assert (foreign / "theirs").read_bytes() == b"!"
    assert site.observed() == []


def test_what_changed_hands_since_we_looked_is_left_alone(site: Site) -> None:
    site.converge(BARI, rule(copies=1))
    (thing,) = [thing for thing in site.observed() if thing.kind == "replica"]
    receipt = site.folder / A / ".reconciler/receipt.json"
    receipt.write_bytes(receipt.read_bytes().replace(b'"owner": "me"', b'"owner": "other"'))
    with pytest.raises(Conflict):
        site.perform(Change(thing.ref, "replica", "bari", Action.DELETE, "Surplus", have=thing))
    assert content(site.folder / A) == FILES


# -- what is not ours ------------------------------------------------------------------------


def test_a_foreign_directory_is_left_alone(site: Site) -> None:
    site.converge(BARI)
    upload(site.folder / A, {"theirs": b"!"}, "")
    tree = snapshot(site.folder)
    (change,) = site.changes([BARI, rule(copies=1)], site.observed())
    with pytest.raises(NotOurs):
        site.perform(change)
    after = snapshot(site.folder)
    assert {path: after[path] for path in tree} == tree
    assert site.observed() == [thing for thing in site.observed() if thing.mark]


def test_foreign_things_are_reported_at_natural_keys_only(site: Site) -> None:
    site.converge(BARI)
    upload(site.folder / A, {"theirs": b"!"}, "")
    upload(site.folder / "sites/cnaf/disk-b", {"theirs": b"!"}, "x")
    keys = frozenset(
        [*RULE.natural_keys(rule(), "replica"), *ELEMENT.natural_keys(CNAF, "StorageElement"), "other"]
    )
    found = [(thing.kind, thing.ref.name, thing.target) for thing in site.observed(keys) if not thing.mark]
    assert found == [("replica", "cms/higgs/cms.higgs", "bari"), ("StorageElement", "disk-b", "cnaf")]


def adopted(site: Site, declared: Declared, *others: Declared) -> None:
    kind: Any = RULE if declared.ref.kind == "DataRule" else ELEMENT
    keys = frozenset(kind.natural_keys(declared, "replica" if kind is RULE else "StorageElement"))
    (thing,) = [thing for thing in site.observed(keys) if not thing.mark]
    scene = site.world([declared, *others], site.observed())
    (want,) = [entry for entry in kind.expand(declared, scene) if entry.target == thing.target]
    assert want.facts["natural"] == thing.ref.name
    site.perform(Change(want.ref, want.kind, want.target, Action.UPDATE, "Adopted", want=want, have=thing))


def test_adopting_takes_what_is_there(site: Site) -> None:
    adopt = Metadata(adopt=True)
    upload(site.folder / A, {"theirs": b"!", "deep/too": b"?"}, "")
    adopted(site, replace(BARI, metadata=adopt))
    of = rule(copies=1, metadata=adopt)
    adopted(site, of, BARI)
    site.converge(BARI, of)
    assert content(site.folder / A) == {"theirs": b"!", "deep/too": b"?"}
    assert all(thing.state is State.READY for thing in site.observed(deep=True))


def test_a_link_is_not_adopted(site: Site) -> None:
    site.converge(BARI)
    upload(site.folder / A, {"theirs": b"!"}, "")
    (site.folder / A / "link").symlink_to("/etc/passwd")
    with pytest.raises(Rejected, match="link"):
        adopted(site, rule(copies=1, metadata=Metadata(adopt=True)), BARI)
    assert not (site.folder / A / ".reconciler").exists()


def test_another_owner_and_another_target_are_not_us(site: Site) -> None:
    site.converge(BARI, rule(copies=1))
    other = Site(site.folder, owner="other")
    assert other.observed() == []
    with pytest.raises(NotOurs):
        other.converge(BARI)
    twin = Target("twin", "storage", "twin", {"path": "sites/bari"})
    client = DRIVER.reader(twin, Places(str(site.folder)))
    for hand in DRIVER.hands.values():
        assert list(hand.observe(client, Ask(OWNER))) == []


def test_a_broken_receipt_is_not_ours_and_harms_nobody_else(site: Site) -> None:
    site.converge(BARI, CNAF, rule())
    (site.folder / A / ".reconciler/receipt.json").write_bytes(b"{")
    assert [thing.target for thing in site.observed() if thing.kind == "replica"] == ["cnaf"]
    changes = [c for c in site.changes([BARI, CNAF, rule()], site.observed()) if c.kind == "replica"]
    with pytest.raises(NotOurs, match="can't be read"):
        site.perform(changes[0])
    assert content(site.folder / A) == FILES


def test_a_reader_can_not_write(site: Site) -> None:
    site.converge(BARI, CNAF, rule())
    thing = site.observed()[0]
    hand = DRIVER.hand(thing.kind)
    assert hand is not None
    tree = snapshot(site.folder)
    with pytest.raises(ReadOnly):
        hand.delete(
            site.reader("bari"), Change(thing.ref, thing.kind, "bari", Action.DELETE, "x", have=thing)
        )
    assert snapshot(site.folder) == tree


# -- blind, never empty ----------------------------------------------------------------------


def test_a_lake_that_is_not_mounted_is_not_an_empty_one(tmp_path: Path) -> None:
    target = Target("t", "storage", "t", {"path": str(tmp_path / "mnt")})
    for client in (Reader(target, Places(str(tmp_path))), Writer(target, Places(str(tmp_path)))):
        for hand in DRIVER.hands.values():
            with pytest.raises(Denied):
                list(hand.observe(client, Ask(OWNER)))
    relative = Target("t", "storage", "t", {"path": "lake"})
    assert list(DRIVER.hands["replica"].observe(Reader(relative, Places(str(tmp_path))), Ask(OWNER))) == []
    (tmp_path / "lake").write_bytes(b"")
    with pytest.raises(Denied):
        list(DRIVER.hands["replica"].observe(Reader(relative, Places(str(tmp_path))), Ask(OWNER)))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_can_not_be_read_is_an_error(site: Site) -> None:
    site.converge(BARI, CNAF, rule())
    (site.folder / "sites/bari/disk-a/cms").chmod(0)
    with pytest.raises(Denied):
        site.observed()
    (site.folder / "sites/bari/disk-a/cms").chmod(0o755)


# -- attacks: links (A1) and paths (A2) ------------------------------------------------------


@pytest.mark.parametrize(
    "source", ["../../secret", "/etc", "out", "out/inner", "higgs/../../../secret", "a\0b", "."]
)
def test_a_source_never_leads_out_of_the_uploads(site: Site, source: str) -> None:
    upload(site.folder, {"inner/key": b"secret"}, "secret")
    (site.folder / "uploads/bari/out").symlink_to(site.folder / "secret")
    site.converge(BARI)
    (change,) = site.changes([BARI, rule(source=source, copies=1)], site.observed())
    with pytest.raises(Rejected, match="out of the uploads"):
        site.perform(change)
    assert not list((site.folder / "sites").rglob("key"))


def test_a_link_inside_the_uploads_is_fine(site: Site) -> None:
    (site.folder / "uploads/bari/latest").symlink_to("higgs")
    site.converge(BARI, rule(source="latest", copies=1))
    assert content(site.folder / A) == FILES


@pytest.mark.parametrize("kind", ["file", "folder", "dangling", "chain", "pipe", "socket"])
def test_links_and_special_files_in_a_data_set_are_refused(
    site: Site, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = site.folder / "uploads/bari/higgs"
    monkeypatch.chdir(folder)
    if kind == "pipe":
        os.mkfifo("odd")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("odd")
    elif kind == "chain":
        (folder / "one").symlink_to("/etc/passwd")
        (folder / "odd").symlink_to("one")
    else:
        (folder / "odd").symlink_to({"file": "run-1.root", "folder": "/etc", "dangling": "/no/where"}[kind])
    site.converge(BARI)
    (change,) = site.changes([BARI, rule(copies=1)], site.observed())
    with pytest.raises(Rejected, match="links or special files: odd"):
        site.perform(change)
    assert [thing.kind for thing in site.observed()] == ["StorageElement"]


def test_a_data_set_can_not_bring_our_receipts_along(site: Site) -> None:
    upload(site.folder / "uploads/bari", {".reconciler/receipt.json": b"{}"}, "higgs")
    site.converge(BARI)
    (change,) = site.changes([BARI, rule(copies=1)], site.observed())
    with pytest.raises(Rejected, match="can't be the path"):
        site.perform(change)


@pytest.mark.parametrize("where", ["sites/bari/disk-a/cms", "sites/bari/disk-a/cms/higgs"])
def test_a_link_on_the_way_is_not_followed(site: Site, where: str) -> None:
    outside = site.folder / "outside"
    outside.mkdir()
    site.converge(BARI)
    (site.folder / where).parent.mkdir(parents=True, exist_ok=True)
    (site.folder / where).symlink_to(outside)
    (change,) = site.changes([BARI, rule(copies=1)], site.observed())
    with pytest.raises(BackendError):
        site.perform(change)
    assert list(outside.iterdir()) == []


def test_a_link_at_the_place_of_an_element_or_replica_is_not_ours(site: Site) -> None:
    outside = site.folder / "outside"
    outside.mkdir()
    (site.folder / "sites/bari").mkdir(parents=True)
    (site.folder / "sites/bari/disk-a").symlink_to(outside)
    with pytest.raises(BackendError):
        site.converge(BARI)
    (site.folder / "sites/bari/disk-a").unlink()
    site.converge(BARI)
    (site.folder / A).parent.mkdir(parents=True)
    (site.folder / A).symlink_to(outside)
    (change,) = site.changes([BARI, rule(copies=1)], site.observed())
    with pytest.raises(NotOurs):
        site.perform(change)
    assert list(outside.iterdir()) == []


def test_deleting_does_not_follow_links(site: Site) -> None:
    site.converge(BARI, rule(copies=1))
    outside = upload(site.folder, {"precious": b"!"}, "outside")
    (site.folder / A / "way-out").symlink_to(outside)
    site.converge(BARI)
    assert (outside / "precious").read_bytes() == b"!"


@pytest.mark.parametrize(
    "dataset", ["..:x", "a:..", "a:b/../../c", ".hidden:x", "a:", "a:.reconciler", "a\0:b", "a:" + "n" * 256]
)
def test_names_never_lead_out(site: Site, dataset: str) -> None:
    with pytest.raises(ValueError):
        replica_names(rule().ref, dataset)
    site.converge(BARI)
    (change,) = site.changes([BARI, rule(dataset=dataset, copies=1)], site.observed())
    with pytest.raises(Rejected):
        site.perform(change)


@pytest.mark.parametrize("uid", ["t:../x", "t:a/../../b", "t:/etc", "t:", "t:a//b", "t:a\0", "t:.."])
def test_uids_never_lead_out(uid: str) -> None:
    with pytest.raises(ValueError):
        names_of(uid)


def test_a_manifest_never_leads_out() -> None:
    line = '["{}",1,"' + "0" * 64 + '",1]'
    for path in (
        "../x",
        "/etc/passwd",
        "a/../../b",
        ".reconciler/receipt.json",
        "",
        "a//b",
        "a/./b",
        "\\u0000",
    ):
        with pytest.raises(ValueError):
            read_manifest(f"[{line.format(path)}]".encode())
    for text in ("{}", "[[1]]", "[" * 100_000, '[["a",1,"x",1]]', "null", '[["a","1","' + "0" * 64 + '",1]]'):
        with pytest.raises(ValueError):
            read_manifest(text.encode())


def test_a_very_deep_data_set_is_refused(site: Site) -> None:
    deep = "/".join("d" * 70)
    upload(site.folder / "uploads/bari", {f"{deep}/file": b"x"}, "higgs")
    site.converge(BARI)
    (change,) = site.changes([BARI, rule(copies=1)], site.observed())
    with pytest.raises(Rejected, match="64 directories deep"):
        site.perform(change)


# -- room ------------------------------------------------------------------------------------


def test_a_full_disk_says_how_much_is_needed_and_leaves_nothing(site: Site) -> None:
    def full(operation: str) -> None:
        if operation == "write" and site.written > 60:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    site.converge(BARI, rule(copies=1))
    site.converge(BARI, CNAF, rule(copies=1))
    changes = list(site.changes([BARI, CNAF, rule()], site.observed()))
    site.written, site.before = 38, full
    with pytest.raises(Transient, match="no room: 3070001 bytes are needed"):
        site.perform(changes[0])
    site.before = lambda _operation: None
    assert len(site.observed()) == 3
    assert "new~" not in " ".join(snapshot(site.folder))
    site.converge(BARI, CNAF, rule())


def test_a_capacity_is_kept(site: Site) -> None:
    small = element("disk-b", "cnaf", capacity="3MB")
    site.converge(BARI, small, rule(copies=1, expression="disk-a"))
    scene = site.world([BARI, small, rule(expression="disk-b", copies=1)], [])
    (want,) = [e for e in RULE.expand(rule(expression="disk-b", copies=1), scene) if isinstance(e, Resource)]
    with pytest.raises(Rejected, match="3070001 bytes are needed, 3000000 of the capacity 3MB"):
        site.perform(Change(want.ref, "replica", "cnaf", Action.CREATE, "NotFound", want=want))
    assert "new~" not in " ".join(snapshot(site.folder))


# -- kill -9 at every write ------------------------------------------------------------------


def killed(site: Site, work: Callable[[], Any], after: int) -> bool:
    """Do some work in a child that is gone before its n-th change of the disk. Was there one?"""
    child = os.fork()
    if child == 0:
        left = after

        def before(_operation: str) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                os._exit(9)

        site.before = before
        code = 1
        with suppress(BaseException):
            work()
            code = 0
        os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9)
    return status == 9


@pytest.fixture
def quick_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: hundreds of runs wait for the disk otherwise."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


SMALL = {"one": b"1" * 10, "deep/two": b"2" * 10}


def story_create(site: Site) -> list[Declared]:
    return [BARI, CNAF, rule()]


def story_repair(site: Site) -> list[Declared]:
    site.converge(BARI, CNAF, rule())
    (site.folder / A / "one").write_bytes(b"0" * 10)
    (site.folder / A / "deep/two").unlink()
    (site.folder / A / "extra").write_bytes(b"?")
    (site.folder / A / ".reconciler/manifest.json").unlink()
    return [BARI, CNAF, rule()]


def story_delete(site: Site) -> list[Declared]:
    site.converge(BARI, CNAF, rule())
    return []


def story_receipt(site: Site) -> list[Declared]:
    site.converge(BARI, CNAF, rule())
    return [replace(BARI, spec={**BARI.spec, "attributes": {"x": 1}}), CNAF, rule(source="other")]


def story_move(site: Site) -> list[Declared]:
    site.converge(BARI, rule(copies=1))
    return [BARI, CNAF, rule(copies=1, expression="disk-b")]


STORIES = (story_create, story_repair, story_delete, story_receipt, story_move)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_killed_anywhere_the_next_run_gives_the_same_world(quick_path: Path, story: Any) -> None:
    tmp_path = quick_path
    upload(tmp_path / "calm/uploads/bari", SMALL)
    calm = Site(tmp_path / "calm")
    wanted = story(calm)
    calm.converge(*wanted, deep=True)
    expected = snapshot(calm.folder / "sites", times=False)
    point, points = 0, 0
    while True:
        folder = tmp_path / f"kill-{point}"
        upload(folder / "uploads/bari", SMALL)
        site = Site(folder)
        wanted = story(site)
        if not killed(site, partial(site.converge, *wanted, deep=True), point):
            break
        for thing in site.observed():
            assert thing.mark
            assert thing.state is State.READY or thing.reason in ("Partial", "Repairing")
        site.converge(*wanted, deep=True)
        assert snapshot(folder / "sites", times=False) == expected, f"killed before change {point}"
        shutil.rmtree(folder)
        point, points = point + 1, points + 1
    assert points >= 4


def test_an_orphaned_half_copy_is_seen_with_its_mark_and_goes(site: Site) -> None:
    site.converge(BARI)
    assert killed(site, lambda: site.converge(BARI, rule(copies=1)), 10)
    (half,) = [thing for thing in site.observed() if thing.kind == "replica"]
    assert (half.state, half.reason) == (State.FAILED, "Partial")
    assert half.mark
    assert half.mark.owner == OWNER
    assert str(half.ref) == "DataRule/cms/higgs/disk-a.replica"
    site.converge(BARI)
    assert "new~" not in " ".join(snapshot(site.folder))


def test_a_copy_under_way_is_progressing_and_not_started_twice(site: Site) -> None:
    site.converge(BARI)
    assert killed(site, lambda: site.converge(BARI, rule(copies=1)), 10)
    (place,) = (site.folder / "sites/bari/disk-a/.reconciler").glob("new~*")
    (change,) = site.changes([BARI, rule(copies=1)], site.observed())
    folder = os.open(place, os.O_RDONLY)
    with Writing().lock(folder):
        (half,) = [thing for thing in site.observed() if thing.kind == "replica"]
        assert half.state is State.PROGRESSING
        with pytest.raises(Transient, match="still at work"):
            site.perform(change)
    os.close(folder)
    site.converge(BARI, rule(copies=1))


def test_an_interrupted_copy_goes_on_where_it_was(site: Site) -> None:
    site.converge(BARI)
    assert killed(site, lambda: site.converge(BARI, rule(copies=1)), 20)
    (place,) = (site.folder / "sites/bari/disk-a/.reconciler").glob("new~*")
    kept = {path.name: path.stat().st_ino for path in place.rglob("*.root")}
    assert kept
    site.converge(BARI, rule(copies=1))
    final = {path.name: path.stat().st_ino for path in (site.folder / A).rglob("*.root")}
    assert {name: final[name] for name in kept} == kept


def test_what_an_interrupted_copy_left_is_compared_with_the_upload(site: Site) -> None:
    """After a power cut a file may have the right size and time, and no bytes."""
    site.converge(BARI)
    assert killed(site, lambda: site.converge(BARI, rule(copies=1)), 20)
    (place,) = (site.folder / "sites/bari/disk-a/.reconciler").glob("new~*")
    left = [path for path in place.rglob("*.root") if path.parent.name != ".reconciler"]
    assert left
    for path in left:
        status = path.stat()
        path.write_bytes(b"\0" * status.st_size)
        os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))
    site.converge(BARI, rule(copies=1), deep=True)
    assert content(site.folder / A) == FILES


def test_large_files_are_copied_whole_in_little_memory(site: Site) -> None:
    large = {f"large-{more}": os.urandom(1024) * (16 * 1024) + b"!" * more for more in (0, 1)}
    upload(site.folder / "uploads/bari", large)
    site.converge(BARI, rule(copies=1))
    changes = [c for c in site.changes([BARI, CNAF, rule()], site.observed()) if c.target == "cnaf"]
    site.perform(changes[0])
    tracemalloc.start()
    try:
        site.perform(changes[1])
        assert tracemalloc.get_traced_memory()[1] < 8 * 1024 * 1024
    finally:
        tracemalloc.stop()
    assert content(site.folder / B) == {**FILES, **large}


def test_an_upload_that_changes_while_it_is_read_is_not_taken(site: Site) -> None:
    big = site.folder / "uploads/bari/higgs/deep/er/run-2.root"

    def meddle(operation: str) -> None:
        if operation == "write":
            os.truncate(big, 2_999_999)

    site.converge(BARI)
    (change,) = site.changes([BARI, rule(copies=1)], site.observed())
    site.before = meddle
    with pytest.raises(Conflict, match="changed while it was read"):
        site.perform(change)
    site.before = lambda _operation: None
    assert [thing.kind for thing in site.observed()] == ["StorageElement"]


def test_names_of_half_made_things_are_read_as_written() -> None:
    assert read_half_made("new~me~DataRule~cms~higgs~disk-a.replica") is not None
    assert read_half_made("old~me~StorageElement~~disk-a~") is not None
    for name in ("receipt.json", "new~me", "mid~me~K~g~n~p", "new~me~~g~n~p", "new~me~K~g~~p"):
        assert read_half_made(name) is None


def test_a_good_copy_stays_good_for_its_cadence(site: Site) -> None:
    site.converge(BARI, rule(copies=1))
    (thing,) = [thing for thing in site.observed() if thing.kind == "replica"]
    assert thing.verified is not None
    assert timedelta() <= datetime.now(UTC) - thing.verified < timedelta(minutes=5)
