"""Uploads and data sets on a real Rucio: files lie on the element, are known and attached, and stay so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.drivers.rucio.client import Reader, Writer
from reconciler.drivers.rucio.dataset import DatasetHand
from reconciler.drivers.rucio.translating import Missing
from reconciler.drivers.rucio.upload import UploadHand
from reconciler.errors import Conflict, Denied, NotOurs, ReadOnly, Rejected, Transient
from reconciler.kind import Ask
from reconciler.model import (
    PARTIAL,
    Action,
    Change,
    Mark,
    Metadata,
    Observed,
    Ref,
    Resource,
    Source,
    State,
    Target,
    mark_for,
)
from tests.live.rucio_bed.bed import Bed, adler32
from tests.live.rucio_bed.fixture import bed, started_bed  # noqa: F401  fixtures
from tests.live.rucio_bed.processes import ROOT
from tests.places import NoSecrets

pytestmark = [
    pytest.mark.live,
    pytest.mark.machines,
    pytest.mark.network,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:rucio"),
]

OWNER = "uploads-test"
HERE = "BARI-DISK"
FILES = {"one.root": b"first file", "sub/two.root": bytes(range(256)) * 9000, "sub/empty": b""}


@dataclass
class Given(NoSecrets):
    """The password of one account, and the data folder."""

    data: str
    password: str

    def secret(self, reference: str) -> str:
        return self.password


def connected(url: str, account: str, given: Given, sort: type[Reader] = Writer) -> Any:
    auth = {"type": "userpass", "username": account, "password": "env:PASSWORD"}
    settings = {"url": url, "account": account, "auth": auth}
    return sort(Target("lake.bari", "rucio", "bari", settings=settings, timeout=30), given)


@dataclass
class Place:
    """An account of ours with a scope, and a folder `uploads` with one upload in it."""

    bed: Bed
    account: str
    scope: str
    folder: Path

    @property
    def key(self) -> str:
        return f"{self.scope}:set"

    def client(self, sort: type[Reader] = Writer) -> Any:
        given = Given(str(self.folder), self.bed.password(self.account))
        return connected(self.bed.url, self.account, given, sort)

    def write(self, files: Mapping[str, bytes], source: str = "higgs") -> Path:
        for name, content in files.items():
            path = self.folder / "uploads" / source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return self.folder / "uploads" / source

    def upload(self, source: str = "higgs", *, adopt: bool = False, **facts: Any) -> None:
        change = uploading(self.key, source, adopt=adopt, **facts)
        UploadHand().apply(self.client(), change, mark_of(change))

    def seen(self) -> Observed | None:
        found = list(UploadHand().observe(self.client(Reader), Ask(OWNER, frozenset({self.key}))))
        return found[0] if found else None

    def converge(self, spec: Mapping[str, Any], *, adopt: bool = False) -> None:
        wish = {"dataset": self.key, "type": "dataset", **spec}
        change = changing("Dataset", "Dataset", wish, adopt=adopt)
        DatasetHand().apply(self.client(), change, mark_of(change))

    def dataset(self, words: str = "") -> Observed:
        ask = Ask(OWNER, frozenset({f"{self.key} {words}".strip()}))
        (found,) = DatasetHand().observe(self.client(Reader), ask)
        return found

    def known(self) -> dict[str, tuple[int, str]]:
        found = self.bed.client().list_files(self.scope, "set")
        return {one["name"]: (one["bytes"], one["adler32"]) for one in found}

    def on_element(self) -> dict[str, bytes]:
        """Where each file of the data set lies by Rucio's account, and what is in it there."""
        return {name: self.bed.path(self.scope, name, HERE).read_bytes() for name in self.known()}

    def moments(self) -> dict[str, int]:
        top = self.bed.rse_folder(HERE) / self.scope
        return {str(path): path.stat().st_mtime_ns for path in top.rglob("*") if path.is_file()}

    def rest(self) -> list[str]:
        """Files under way that lie about on the element."""
        return [name for name in self.bed.files(HERE, self.scope) if name.startswith(".")]


def mark_of(change: Change) -> Mark:
    assert change.want
    return mark_for(OWNER, change.want)


def changing(kind: str, primitive: str, spec: Mapping[str, Any], *, adopt: bool, **facts: Any) -> Change:
    ref = Ref(kind, "cms", "higgs", "" if kind == primitive else f"main.{primitive}")
    metadata = Metadata(adopt=adopt)
    want = Resource(ref, primitive, "lake.bari", spec, Source("x.yaml"), metadata, facts=facts)
    return Change(ref, primitive, "lake.bari", Action.CREATE, "NotFound", want=want)


def uploading(key: str, source: str, *, adopt: bool = False, **facts: Any) -> Change:
    facts = {"element": HERE, "uploads": ["uploads"], **facts}
    return changing("DataRule", "upload", {"dataset": key, "source": source}, adopt=adopt, **facts)


@pytest.fixture
def place(bed: Bed, tmp_path: Path) -> Place:  # noqa: F811  the fixture
    account = bed.new_account(admin=True)
    made = Place(bed, account, bed.new_scope(account), tmp_path)
    made.write(FILES)
    return made


def wanted(files: Mapping[str, bytes]) -> dict[str, tuple[int, str]]:
    return {f"set/{name}": (len(content), adler32(content)) for name, content in files.items()}


# -- uploads -------------------------------------------------------------------------------------


def test_a_folder_becomes_a_closed_data_set_once(place: Place) -> None:
    assert place.seen() is None
    place.upload()
    assert place.known() == wanted(FILES)
    assert place.on_element() == {f"set/{name}": content for name, content in FILES.items()}
    thing = place.seen()
    assert thing
    assert (thing.state, thing.drift, thing.spec) == (State.READY, (), {"dataset": place.key})
    assert thing.attributes == {"files": 3, "bytes": sum(map(len, FILES.values()))}
    assert thing.mark is None  # nothing is to be done for it
    before = place.moments()
    place.upload()
    assert (place.moments(), place.rest()) == (before, [])
    (place.folder / "uploads").rename(place.folder / "gone")
    place.upload()  # what is complete needs its folder no more
    assert place.seen() == thing


def test_rules_move_what_was_uploaded(place: Place) -> None:
    place.upload()
    place.bed.pump(only=("reaper", "undertaker"))  # no rule protects it yet
    assert place.on_element() == {f"set/{name}": content for name, content in FILES.items()}
    did = {"scope": place.scope, "name": "set"}
    (rule,) = place.bed.client().add_replication_rule([did], 1, "LYON-DISK")
    place.bed.pump()
    assert place.bed.client().get_replication_rule(rule)["state"] == "OK"
    there = place.bed.files("LYON-DISK", place.scope)
    assert there == {name.rpartition("/")[2]: content for name, content in FILES.items()}


def test_what_rucio_has_forgotten_is_uploaded_again(place: Place) -> None:
    place.upload()
    root, did = place.bed.client(), {"scope": place.scope, "name": "set"}
    (rule,) = root.add_replication_rule([did], 1, HERE)
    root.delete_replication_rule(rule, purge_replicas=True)
    root.update_replication_rule(rule, {"lifetime": 0})
    place.bed.pump(only=("judge-cleaner", "reaper"))
    assert place.bed.files(HERE, place.scope) == {}
    assert place.seen() is None  # with its last file goes the data set
    place.upload()
    assert place.on_element() == {f"set/{name}": content for name, content in FILES.items()}


def test_opened_again_is_still_complete(place: Place) -> None:
    place.upload()
    place.bed.client().set_status(place.scope, "set", open=True)
    thing = place.seen()
    assert thing
    assert thing.state is State.READY


KILLED = """
import json, os, signal, sys
from tests.live import test_rucio_uploads as tests
from reconciler.drivers.rucio import upload_writing
from reconciler.drivers.rucio.upload import UploadHand
told = json.loads(sys.argv[1])
die = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
client = tests.connected(told["url"], told["account"], tests.Given(told["data"], told["password"]))
if told["at"] == "writing":
    write = upload_writing._write
    upload_writing._write = lambda file, piece: (write(file, piece[:100]), die())
else:
    with client.rucio("the library") as rucio:
        setattr(rucio, told["at"], die)
change = tests.uploading(told["key"], "higgs")
UploadHand().apply(client, change, tests.mark_of(change))
"""


@pytest.mark.parametrize("at", ["writing", "add_replicas", "attach_dids_to_dids"])
def test_a_killed_upload_is_finished_by_the_next(place: Place, at: str) -> None:
    told = {
        "at": at,
        "url": place.bed.url,
        "account": place.account,
        "password": place.bed.password(place.account),
        "data": str(place.folder),
        "key": place.key,
    }
    command = [sys.executable, "-c", KILLED, json.dumps(told)]
    killed = subprocess.run(command, cwd=ROOT, timeout=60, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    thing = place.seen()
    assert thing
    assert thing.partial
    assert thing.mark
    place.upload()
    assert place.known() == wanted(FILES)
    assert place.on_element() == {f"set/{name}": content for name, content in FILES.items()}
    assert place.rest() == []
    thing = place.seen()
    assert thing
    assert thing.state is State.READY


def half_done(place: Place) -> str:
    """One file is known and on the element, as after a kill; the data set is open. Its name."""
    client = place.bed.client(place.account)
    client.add_dataset(place.scope, "set")
    place.bed.upload(place.scope, "set/one.root", FILES["one.root"], HERE)
    return "set/one.root"


def test_a_spoilt_file_on_the_element_is_written_anew(place: Place) -> None:
    path = place.bed.path(place.scope, half_done(place), HERE)
    path.write_bytes(b"first fil?")
    place.upload()
    assert path.read_bytes() == FILES["one.root"]


def test_another_file_of_a_known_name_is_a_conflict_with_both_checksums(place: Place) -> None:
    path = place.bed.path(place.scope, half_done(place), HERE)
    place.write({"one.root": b"other file"})
    with pytest.raises(Conflict) as error:
        place.upload()
    assert adler32(b"other file") in str(error.value)
    assert adler32(FILES["one.root"]) in str(error.value)
    assert path.read_bytes() == FILES["one.root"]
    thing = place.seen()
    assert thing
    assert thing.reason == PARTIAL


def test_leftovers_that_rucio_does_not_know_are_replaced(place: Place) -> None:
    path = place.bed.path(place.scope, "set/one.root", HERE)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half")
    place.upload()
    assert path.read_bytes() == FILES["one.root"]


def test_links_and_special_files_are_refused_before_anything_is_written(place: Place) -> None:
    folder = place.write({})
    for name, make in (
        ("link", lambda path: path.symlink_to("/etc/hostname")),
        ("folder", lambda path: path.symlink_to("/etc")),
        ("pipe", os.mkfifo),
    ):
        make(folder / "sub" / name)
        with pytest.raises(Rejected, match=f"sub/{name} is a link or special file"):
            place.upload()
        (folder / "sub" / name).unlink()
    (folder / "a b").write_bytes(b"")
    with pytest.raises(Rejected, match="a b can't be the name"):
        place.upload()
    assert place.seen() is None


def test_nothing_outside_of_uploads_is_taken(place: Place) -> None:
    place.write({"secret": b"x"}, source="../elsewhere")
    (place.folder / "uploads" / "led").symlink_to(place.folder / "elsewhere")
    for source in ("../elsewhere", "led", "none", "higgs/../../elsewhere", "."):
        with pytest.raises(Rejected, match="no upload"):
            place.upload(source)
    (place.folder / "uploads" / "empty").mkdir()
    with pytest.raises(Rejected, match="no files"):
        place.upload("empty")
    with pytest.raises(Rejected, match="has no `uploads`"):
        place.upload(uploads=[])
    assert place.seen() is None


def test_elements_that_are_not_here_are_not_written(place: Place) -> None:
    root, name = place.bed.client(), f"AWAY-{place.scope.upper()}"
    protocol = dict(root.get_protocols(HERE)[0])
    root.add_rse(name)
    with pytest.raises(Rejected, match="we write by file only"):
        place.upload(element=name)
    root.add_protocol(name, {**protocol, "prefix": str(place.folder / "not-mounted")})
    with pytest.raises(Rejected, match="this machine does not have"):
        place.upload(element=name)
    assert not (place.folder / "not-mounted").exists()
    with pytest.raises(Rejected, match="this machine has no elements"):
        place.upload(mounts=[str(place.folder)])
    root.update_rse(name, {"availability_write": False})
    with pytest.raises(Transient, match="closed for writing"):
        place.upload(element=name)
    with pytest.raises(Missing):
        place.upload(element="NOWHERE")
    assert place.seen() is None


def test_data_sets_of_others_are_left_alone(place: Place) -> None:
    place.bed.client().add_dataset(place.scope, "set")
    thing = place.seen()
    assert thing
    assert (thing.mark, thing.state) == (None, State.FAILED)
    with pytest.raises(NotOurs):
        place.upload()
    assert place.known() == {}
    place.upload(adopt=True)
    assert place.known() == wanted(FILES)


def test_who_only_reads_can_look_and_no_more(place: Place) -> None:
    change = uploading(place.key, "higgs")
    with pytest.raises(ReadOnly):
        UploadHand().apply(place.client(Reader), change, mark_of(change))
    assert place.seen() is None


def test_many_files_and_one_call_to_see_them(place: Place) -> None:
    files = {f"deep/down/{number:03}.root": str(number).encode() for number in range(101)}
    place.write(files, source="many")
    place.upload("many")
    assert place.known() == wanted(files)
    asked: list[str] = []
    client = place.client(Reader)
    with client.rucio("calls") as rucio:
        send = rucio._send_request

        def counted(url: str, *told: Any, **more: Any) -> Any:
            asked.append(url)
            return send(url, *told, **more)

        rucio._send_request = counted
    others = {f"|{place.key}|1|X", f"{place.scope}/set/cms.higgs"}  # of a rule, and of a copy
    keys = frozenset({place.key, *others, *(f"{place.scope}:none-{number}" for number in range(500))})
    assert len(list(UploadHand().observe(client, Ask(OWNER, keys)))) == 1
    assert len(asked) == 1


# -- data sets -----------------------------------------------------------------------------------


@pytest.fixture
def runs(place: Place) -> Place:
    """Five files that Rucio knows; what lies on the element is no matter here."""
    names = ["run-1.root", "run-2.root", "run_3.root", "cal/1", "cal/2"]
    sums = {"bytes": 3, "adler32": "00000001", "md5": "0" * 32}
    place.bed.client().add_replicas(HERE, [{"scope": place.scope, "name": name, **sums} for name in names])
    return place


def inside(place: Place) -> list[str]:
    return sorted(one["name"] for one in place.bed.client().list_content(place.scope, "set"))


def test_a_listed_data_set_holds_what_is_listed(runs: Place) -> None:
    wish = [f"{runs.scope}:cal/1", f"{runs.scope}:run-1.root"]
    runs.converge({"contents": {"list": wish}})
    thing = runs.dataset("contents")
    assert (thing.spec["contents"], thing.spec["closed"], thing.state) == (
        {"list": wish},
        False,
        State.READY,
    )
    assert thing.mark
    runs.bed.client().attach_dids(runs.scope, "set", [{"scope": runs.scope, "name": "cal/2"}])
    assert runs.dataset("contents").spec["contents"] != {"list": wish}
    runs.converge({"contents": {"list": wish}})
    assert inside(runs) == ["cal/1", "run-1.root"]
    with pytest.raises(Missing, match="never-made"):
        runs.converge({"contents": {"list": [*wish, f"{runs.scope}:never-made"]}})
    assert inside(runs) == ["cal/1", "run-1.root"]


def test_a_pattern_takes_in_what_fits_and_lets_go_what_does_not(runs: Place) -> None:
    spec = {"contents": {"pattern": "run-*.root"}}
    runs.converge(spec)
    assert inside(runs) == ["run-1.root", "run-2.root"]
    assert runs.dataset("pattern=run-*.root").drift == ()
    root = runs.bed.client()
    root.attach_dids(runs.scope, "set", [{"scope": runs.scope, "name": "cal/2"}])
    root.detach_dids(runs.scope, "set", [{"scope": runs.scope, "name": "run-1.root"}])
    drift = {one.path: one.have for one in runs.dataset("pattern=run-*.root").drift}
    assert drift == {
        "contents.missing": [f"{runs.scope}:run-1.root"],
        "contents.surplus": [f"{runs.scope}:cal/2"],
    }
    runs.converge(spec)
    assert inside(runs) == ["run-1.root", "run-2.root"]
    assert runs.dataset("pattern=run-*.root").drift == ()
    with pytest.raises(Rejected, match="nothing fits"):
        runs.converge({"contents": {"pattern": "nothing*"}})
    assert inside(runs) == ["run-1.root", "run-2.root"]
    with pytest.raises(Rejected, match="nothing fits"):
        runs.converge(
            {"contents": {"pattern": "RUN-*"}}
        )  # other letters, also where SQLite takes them for the same
    runs.converge({"contents": {"pattern": "run_*"}})  # and _ stands for itself
    assert inside(runs) == ["run_3.root"]


def test_a_closed_data_set_is_not_changed_but_can_be_opened(runs: Place) -> None:
    spec = {"contents": {"pattern": "run-*.root"}, "closed": True}
    runs.converge(spec)
    assert runs.dataset().spec["closed"] is True
    sums = {"bytes": 3, "adler32": "00000001", "md5": "0" * 32}
    runs.bed.client().add_replicas(HERE, [{"scope": runs.scope, "name": "run-9.root", **sums}])
    thing = runs.dataset("pattern=run-*.root")
    assert (thing.drift, "1 that fit are not in it" in thing.message) == ((), True)
    runs.converge(spec)
    with pytest.raises(Rejected, match="is closed"):
        runs.converge({"contents": {"list": [f"{runs.scope}:cal/1"]}})
    assert inside(runs) == ["run-1.root", "run-2.root"]
    runs.converge({**spec, "closed": False})
    assert inside(runs) == ["run-1.root", "run-2.root", "run-9.root"]
    assert runs.dataset().spec["closed"] is False


def test_who_may_not_open_is_told_so(bed: Bed, tmp_path: Path) -> None:  # noqa: F811  the fixture
    scope, root = bed.new_scope(), bed.client()
    place = Place(bed, bed.new_account(), scope, tmp_path)
    root.add_dataset(scope, "set")
    root.set_status(scope, "set", open=False)
    with pytest.raises(Denied, match="opening"):
        place.converge({"closed": False}, adopt=True)
    assert place.dataset().spec["closed"] is True


def test_metadata_goes_into_columns_and_others_need_postgresql(runs: Place) -> None:
    columns = {"project": "higgs", "run_number": 7, "transient": True}
    runs.converge({"metadata": columns})
    assert columns.items() <= runs.dataset().spec["metadata"].items()
    runs.bed.client().set_metadata(runs.scope, "set", "project", "other")
    assert runs.dataset().spec["metadata"]["project"] == "other"
    runs.converge({"metadata": columns})
    assert columns.items() <= runs.dataset().spec["metadata"].items()
    own = {**columns, "colour": "red", "seats": 4}
    if runs.bed.database != "postgresql":
        assert columns.items() <= runs.dataset("metadata").spec["metadata"].items()  # and it is no error
        with pytest.raises(Rejected, match=r"keeps no metadata.*colour, seats"):
            runs.converge({"metadata": own})
        return
    runs.converge({"metadata": own})
    assert own.items() <= runs.dataset("metadata").spec["metadata"].items()
    assert "colour" not in runs.dataset().spec["metadata"]


def test_the_last_day_is_what_rucio_keeps(runs: Place) -> None:
    day = (datetime.now(UTC).date() + timedelta(days=40)).isoformat()
    runs.converge({"until": day})
    assert runs.dataset().spec["until"] == day
    expires = runs.bed.client().get_metadata(runs.scope, "set")["expired_at"]
    midnight = datetime.combine(date.fromisoformat(day) + timedelta(days=1), datetime.min.time())
    assert abs(expires - midnight) < timedelta(minutes=2)
    moment = runs.bed.client().get_metadata(runs.scope, "set")["updated_at"]
    runs.converge({"until": day})
    assert runs.bed.client().get_metadata(runs.scope, "set")["updated_at"] == moment


def test_a_container_holds_data_sets(runs: Place) -> None:
    root = runs.bed.client()
    for name in ("a-1", "a-2", "b-1"):
        root.add_dataset(runs.scope, name)
    runs.converge({"type": "container", "contents": {"pattern": "a-*"}})
    assert inside(runs) == ["a-1", "a-2"]
    assert runs.dataset("pattern=a-*").spec["type"] == "container"
    with pytest.raises(Rejected, match="is a container"):
        runs.converge({"type": "dataset"})


def test_a_data_set_of_others_needs_adopting(runs: Place) -> None:
    runs.bed.client().add_dataset(runs.scope, "set")
    assert runs.dataset().mark is None
    with pytest.raises(NotOurs):
        runs.converge({"metadata": {"project": "x"}})
    runs.converge({"metadata": {"project": "x"}}, adopt=True)
    assert runs.dataset().spec["metadata"]["project"] == "x"


def test_no_scope_is_the_authors_matter(place: Place) -> None:
    with pytest.raises(Missing, match="Scope"):
        place.converge({"dataset": "nobodys:set"})


def test_nothing_is_deleted(place: Place) -> None:
    place.upload()
    thing = place.seen()
    assert thing
    change = Change(thing.ref, "upload", "lake.bari", Action.DELETE, "Surplus", have=thing)
    for hand in (UploadHand(), DatasetHand()):
        with pytest.raises(Rejected, match="never deleted"):
            hand.delete(place.client(), change)
        hand.release(place.client(), change)
    assert place.known() == wanted(FILES)
