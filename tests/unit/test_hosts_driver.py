"""The driver hosts: records, ports, roles, half-made things, two processes, things not ours, static hosts."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.checks.schema import compiled
from reconciler.drivers.hosts import DRIVER, shell
from reconciler.drivers.hosts.processes import end_all, services
from reconciler.drivers.hosts.variables import opened, without
from reconciler.drivers.hosts.writing import Writing
from reconciler.errors import Conflict, Denied, NotOurs, ReadOnly, Rejected, Transient
from reconciler.kind import Ask, BatchHand
from reconciler.model import Action, Change, Json, Observed, Ref, Resource, Source, State, Target, mark_for

OWNER = "cloud-x1"
HERE = Source("deployments/a.yaml", 1)
HTTP = {"protocol": "tcp", "port": 80, "remote": ""}
SECRET = "correct horse battery"

NOTE = """\
- name: Fail where asked
  ansible.builtin.fail: {msg: "asked to, with {{ note_secret | default('') }}"}
  when: note_fail | default(false)
- name: Write the note
  ansible.builtin.copy:
    content: "{{ note_text | default('') }} on {{ reconciler_machine }}\\n"
    dest: "{{ reconciler_root }}/{{ note_file | default('note') }}.txt"
    mode: "0600"
- name: Say where
  ansible.builtin.set_fact:
    reconciler_outputs:
      url: "http://{{ reconciler_address }}:{{ reconciler_ports.http }}/{{ note_secret | default('') }}"
      volumes: "{{ reconciler_volumes }}"
"""
REMOVE = """\
- name: Take the note away
  ansible.builtin.file: {path: "{{ reconciler_root }}/{{ note_file | default('note') }}.txt", state: absent}
"""


@dataclass(frozen=True, slots=True)
class Lab:
    """A target, and the places that a driver is given."""

    data: str
    target: Target

    def secret(self, reference: str) -> str:
        if reference != "env:NOTE":
            raise Denied(f"{reference} is not set")
        return SECRET

    def roles(self) -> tuple[str, ...]:
        return (os.path.join(self.data, "roles"),)

    @property
    def path(self) -> Path:
        return Path(self.data, "machines")

    @contextmanager
    def writer(self) -> Iterator[Any]:
        with closing(DRIVER.writer(self.target, self)) as client:
            yield client

    @contextmanager
    def reader(self) -> Iterator[Any]:
        with closing(DRIVER.reader(self.target, self)) as client:
            yield client

    def with_settings(self, **settings: Json) -> Lab:
        target = replace(self.target, settings={**self.target.settings, **settings})
        return replace(self, target=target)

    def seen(self, kind: str = "server", owner: str = OWNER) -> list[Observed]:
        with self.reader() as client:
            return list(DRIVER.serving(kind).observe(client, Ask(owner)))

    def only(self, kind: str = "server") -> Observed:
        (thing,) = self.seen(kind)
        return thing

    def apply(self, *resources: Resource) -> list[str]:
        """What a pass would do with these; the reasons of what failed, "" for what went well."""
        changes = [(change, resource) for resource in resources if (change := self.change(resource))]
        marked = [(change, mark_for(OWNER, resource)) for change, resource in changes]
        hand = DRIVER.serving(resources[0].kind)
        with self.writer() as client:
            if isinstance(hand, BatchHand):
                return [str(error or "") for error in hand.apply_together(client, marked)]
            for change, mark in marked:
                hand.apply(client, change, mark)
        return [""] * len(marked)

    def change(self, resource: Resource) -> Change | None:
        have = [thing for thing in self.seen(resource.kind) if thing.ref == resource.ref]
        if not have:
            return _change(resource, Action.CREATE)
        mark = mark_for(OWNER, resource)
        same = have[0].spec == resource.spec and have[0].mark == mark and have[0].state is State.READY
        return None if same else _change(resource, Action.UPDATE, have[0])

    def delete(self, thing: Observed) -> None:
        change = Change(thing.ref, thing.kind, thing.target, Action.DELETE, "Test", have=thing)
        with self.writer() as client:
            DRIVER.serving(thing.kind).delete(client, change)

    def root(self, thing: Observed) -> Path:
        return self.path / thing.uid.partition(":")[2].partition("/")[0] / "root"


def _change(resource: Resource, action: Action, have: Observed | None = None) -> Change:
    return Change(resource.ref, resource.kind, resource.target, action, "Test", want=resource, have=have)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    for name, text in (("main", NOTE), ("remove", REMOVE)):
        file = tmp_path / "roles/note/tasks" / f"{name}.yml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    settings = {"machines": "local", "path": "machines"}
    made = Lab(str(tmp_path), Target("here", "hosts", "here", settings))
    yield made
    for thing in made.seen():
        end_all(str(made.root(thing)))


def server(number: int = 0, **spec: Json) -> Resource:
    ref = Ref("Deployment", "cms", f"analysis-{number}", "node.server")
    whole = {
        "cores": 1,
        "memory": 10**6,
        "image": {},
        "ports": {"http": HTTP},
        "volumes": {},
        "users": [],
        **spec,
    }
    return Resource(ref, "server", "here", whole, HERE)


def volume(number: int = 0) -> Resource:
    ref = Ref("Deployment", "cms", f"analysis-{number}", "data.volume")
    return Resource(ref, "volume", "here", {"size": 10**9, "quality": ""}, HERE)


def note(number: int = 0, name: str = "note", **variables: Json) -> Resource:
    ref = Ref("Deployment", "cms", f"analysis-{number}", f"{name}.configuration")
    spec = {
        "role": "note",
        "content": "0123456789ab",
        "server": str(server(number).ref),
        "variables": {f"note_{key}": value for key, value in variables.items()},
    }
    return Resource(ref, "configuration", "here", spec, HERE)


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_ino) for path in folder.rglob("*")}


# ── machines ─────────────────────────────────────────────────────────────────────────────────────


def test_a_local_machine_is_a_private_directory_and_the_second_pass_is_silent(lab: Lab) -> None:
    assert lab.apply(server()) == [""]
    thing = lab.only()
    assert thing.state is State.READY
    assert thing.attributes["address"] == "127.0.0.1"
    assert thing.attributes["hostname"] == "analysis-0-node"
    assert lab.root(thing).parent.stat().st_mode & 0o777 == 0o700
    assert (lab.root(thing).parent / "machine.json").stat().st_mode & 0o777 == 0o600
    before = snapshot(lab.path)
    assert lab.apply(server()) == []
    assert snapshot(lab.path) == before


def test_ports_are_free_distinct_and_sticky(lab: Lab) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        first = taken.getsockname()[1]
        lab = lab.with_settings(ports={"first": first, "last": first + 3})
        lab.apply(server(0))
        port = lab.only().attributes["ports"]["http"]
        assert port != first
    lab.apply(server(0, cores=2, ports={"http": HTTP, "metrics": HTTP}))
    ports = lab.only().attributes["ports"]
    assert ports["http"] == port
    assert ports["metrics"] != port
    lab.apply(server(0, ports={"metrics": HTTP}))
    assert lab.only().attributes["ports"] == {"metrics": ports["metrics"]}


def test_a_used_up_range_of_ports_is_refused(lab: Lab) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        number = taken.getsockname()[1]
        with pytest.raises(Rejected, match="no port is free"):
            lab.with_settings(ports={"first": number, "last": number}).apply(server())
    assert lab.seen() == []


def test_ports_that_nobody_listens_on_yet_are_taken_all_the_same(lab: Lab) -> None:
    lab = lab.with_settings(
        ports={"first": 41000, "last": 41003}
    )  # fewer than twice as many as are asked for
    for number in range(3):
        lab.apply(server(number))
    assert len({thing.attributes["ports"]["http"] for thing in lab.seen()}) == 3


def test_machines_that_do_not_fit_are_refused_and_facts_say_what_is_free(lab: Lab) -> None:
    lab = lab.with_settings(capacity={"machines": 2, "cores": 3, "memory": "1GB"})
    lab.apply(server(0, cores=2))
    with lab.reader() as client:
        told = DRIVER.facts(client)
    assert told["free"] == {"machines": 1, "cores": 1, "memory": 10**9 - 10**6}
    assert (told["machines"], told["rootless"]) == ("local", True)
    with pytest.raises(Rejected, match="2 cores asked, 1 free"):
        lab.apply(server(1, cores=2))
    assert lab.apply(server(1, cores=1)) == [""]
    assert lab.apply(server(0, cores=2, memory=2)) == [""]  # itself does not count against itself


def test_200_machines_are_listed_in_well_under_a_second(lab: Lab) -> None:
    lab = lab.with_settings(capacity={"machines": 200, "cores": 200, "memory": "1TB"})
    lab.apply(server(0))
    _copies(lab, 200)
    started = time.monotonic()
    assert len(lab.seen()) == 200
    assert time.monotonic() - started < 0.5  # 0.02 s on an idle machine


def _copies(lab: Lab, count: int) -> None:
    record = json.loads(next(lab.path.glob("*/machine.json")).read_text())
    for number in range(1, count):
        resource = server(number)
        mark = mark_for(OWNER, resource)
        record["mark"] |= {"id": mark.id, "ref": str(resource.ref), "specHash": mark.spec_hash}
        (lab.path / mark.id / "root").mkdir(parents=True)
        (lab.path / mark.id / "machine.json").write_text(json.dumps(record))


def test_what_is_not_ours_stays_untouched(lab: Lab) -> None:
    lab.apply(server(1))
    place = lab.path / mark_for(OWNER, server()).id
    place.mkdir()
    (place / "theirs").write_text("x")
    before = snapshot(place)
    with pytest.raises(NotOurs):
        lab.apply(server())
    lab.delete(lab.only())
    assert snapshot(place) == before
    assert lab.seen() == []


def test_broken_records_are_nobodys(lab: Lab) -> None:
    lab.apply(server())
    file = next(lab.path.glob("*/machine.json"))
    file.write_text("{")
    assert lab.seen() == []
    with pytest.raises(NotOurs):
        lab.apply(server())
    assert file.read_text() == "{"


def test_a_damaged_machine_is_made_again(lab: Lab) -> None:
    lab.apply(server())
    lab.root(lab.only()).rmdir()
    assert (lab.only().state, lab.only().reason) == (State.FAILED, "Damaged")
    assert lab.apply(server()) == [""]
    assert lab.root(lab.only()).is_dir()
    assert lab.apply(server()) == []


def test_deleting_a_machine_ends_its_processes_and_nobody_elses(lab: Lab) -> None:
    lab.apply(server())
    root = lab.root(lab.only())
    (root / "run").mkdir()
    with _sleeping(RECONCILER_ROOT=str(root)) as ours, _sleeping(RECONCILER_ROOT=f"{root}2") as theirs:
        (root / "run/supervisord.pid").write_text(str(theirs.pid))  # stale: the number is somebody else's now
        lab.delete(lab.only())
        assert ours.wait(5) != 0
        assert theirs.poll() is None
    assert lab.seen() == []
    assert [path.name for path in lab.path.iterdir()] == []


@contextmanager
def _sleeping(**environment: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"], env={"PATH": os.environ["PATH"], **environment}) as process:
        try:
            yield process
        finally:
            process.kill()


def test_half_removed_is_partial_and_can_be_removed_or_made_whole(lab: Lab) -> None:
    lab.apply(server())
    file = next(lab.path.glob("*/machine.json"))
    file.write_text(file.read_text().replace('"state": "ready"', '"state": "removing"'))
    assert lab.only().partial
    assert lab.apply(server()) == [""]
    assert lab.only().state is State.READY
    file.write_text(file.read_text().replace('"state": "ready"', '"state": "removing"'))
    lab.delete(lab.only())
    assert lab.seen() == []


def test_while_somebody_works_on_it_it_is_progressing(lab: Lab) -> None:
    lab.apply(server())
    file = next(lab.path.glob("*/machine.json"))
    file.write_text(file.read_text().replace('"state": "ready"', '"state": "changing"'))
    assert lab.only().reason == "Interrupted"
    with Writing().lock(str(file.parent)):
        assert lab.only().state is State.PROGRESSING


def test_two_processes_make_one_machine_and_share_no_port(lab: Lab) -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[3:]\n"
        "from pathlib import Path\n"
        "from reconciler.model import Target\n"
        "from tests.unit.test_hosts_driver import Lab, server\n"
        "settings = {'machines': 'local', 'path': 'machines'}\n"
        "lab = Lab(sys.argv[1], Target('here', 'hosts', 'here', settings))\n"
        "for number in range(6): lab.apply(server(number))\n"
    )
    command = [sys.executable, "-c", code, lab.data, "", *filter(None, sys.path)]
    started = [subprocess.Popen(command, cwd=Path(__file__).parents[2]) for _ in range(2)]
    assert [process.wait(60) for process in started] == [0, 0]
    things = lab.seen()
    assert len(things) == 6
    assert len({thing.attributes["ports"]["http"] for thing in things}) == 6


# ── volumes ──────────────────────────────────────────────────────────────────────────────────────


def test_a_volume_outlives_the_machine_that_uses_it(lab: Lab) -> None:
    lab.apply(volume())
    with_volume = server(volumes={"/data": str(volume().ref)})
    assert lab.apply(with_volume) == [""]
    assert lab.only().uses == {lab.only("volume").uid}
    kept = Path(lab.only("volume").attributes["path"], "kept")
    kept.write_text("x")
    lab.delete(lab.only())
    assert kept.read_text() == "x"
    lab.delete(lab.only("volume"))
    assert not kept.exists()


def test_a_machine_waits_for_its_volume(lab: Lab) -> None:
    with pytest.raises(Conflict, match="is not there"):
        lab.apply(server(volumes={"/data": str(volume().ref)}))
    assert lab.only().partial
    lab.apply(volume())
    assert lab.apply(server(volumes={"/data": str(volume().ref)})) == [""]


# ── configurations ───────────────────────────────────────────────────────────────────────────────


def test_a_role_configures_machines_and_the_second_pass_is_silent(lab: Lab) -> None:
    lab.apply(volume())
    lab.apply(server(0, volumes={"/data": str(volume().ref)}))
    lab.apply(server(1))
    text = "{{ lookup('pipe', 'id') }} ünï $(id)"
    secret = {"$secret": "env:NOTE", "tag": "01234567"}
    wanted = [note(0, text=text, secret=secret), note(1, fail=True, secret=secret)]
    first, second = lab.apply(*wanted)
    assert first == ""
    assert "task Fail where asked" in second
    _expect_first(lab, text)
    _expect_second(lab)
    before = snapshot(lab.path)
    assert lab.apply(wanted[0]) == []
    assert snapshot(lab.path) == before
    assert not any(SECRET.encode() in path.read_bytes() for path in lab.path.rglob("*.json"))


def _expect_first(lab: Lab, text: str) -> None:
    thing = next(thing for thing in lab.seen("configuration") if thing.ref == note(0).ref)
    machine = next(thing for thing in lab.seen() if thing.ref == server(0).ref)
    assert (thing.state, thing.message) == (State.READY, "")
    assert thing.uses == {machine.uid}
    port = machine.attributes["ports"]["http"]
    assert thing.attributes["url"] == f"http://127.0.0.1:{port}/***"
    assert thing.attributes["volumes"] == {"/data": lab.only("volume").attributes["path"]}
    assert (lab.root(machine) / "note.txt").read_text() == f"{text} on analysis-0-node\n"


def _expect_second(lab: Lab) -> None:
    thing = next(thing for thing in lab.seen("configuration") if thing.ref == note(1).ref)
    assert (thing.state, thing.reason) == (State.FAILED, "RoleFailed")
    assert SECRET not in thing.message


def test_verify_sees_drift_and_an_update_heals_it(lab: Lab) -> None:
    lab.apply(server())
    assert lab.apply(note(text="hello")) == [""]
    file = lab.root(lab.only()) / "note.txt"
    assert _verified(lab).drift == ()
    file.write_text("other")
    drifted = _verified(lab)
    assert [entry.path for entry in drifted.drift] == ["tasks.Write the note"]
    assert (drifted.state, drifted.reason) == (State.FAILED, "Drifted")
    assert file.read_text() == "other"
    with lab.writer() as client:
        update = _change(note(text="hello"), Action.UPDATE, drifted)
        DRIVER.serving("configuration").apply(client, update, mark_for(OWNER, note(text="hello")))
    assert file.read_text() == "hello on analysis-0-node\n"


def _verified(lab: Lab) -> Observed:
    with lab.reader() as client:
        return DRIVER.serving("configuration").verify(client, lab.only("configuration"))


def test_a_configuration_that_goes_takes_away_what_its_role_did(lab: Lab) -> None:
    lab.apply(server())
    lab.apply(note(text="one"), note(name="second", file="two"))  # one machine, the same role twice
    root = lab.root(lab.only())
    assert {path.name for path in root.iterdir()} >= {"note.txt", "two.txt"}
    first = next(thing for thing in lab.seen("configuration") if thing.ref == note().ref)
    lab.delete(first)
    assert not (root / "note.txt").exists()
    assert (root / "two.txt").exists()
    lab.delete(first)
    assert [thing.ref for thing in lab.seen("configuration")] == [note(name="second").ref]
    lab.delete(lab.only())
    assert lab.seen("configuration") == []


@pytest.mark.parametrize(
    ("finished", "reason"), [("", "Partial"), ("2026-01-01T00:00:00+00:00", "Interrupted")]
)
def test_a_run_that_was_killed_is_run_again(lab: Lab, finished: str, reason: str) -> None:
    lab.apply(server())
    _put_receipt(lab, note(), state="begun", finished=finished)
    thing = lab.only("configuration")
    assert (thing.state, thing.reason) == (State.FAILED, reason)
    with Writing().lock(str(lab.root(lab.only()).parent)):
        assert lab.only("configuration").state is State.PROGRESSING


def _put_receipt(lab: Lab, resource: Resource, **fields: Json) -> None:
    mark = mark_for(OWNER, resource)
    said = {"owner": OWNER, "id": mark.id, "ref": str(resource.ref), "specHash": mark.spec_hash}
    receipt = {
        "mark": {**said, "lock": False, "keep": False},
        "spec": resource.spec,
        "state": "done",
        "created": "2026-01-01T00:00:00+00:00",
        "finished": "2026-01-01T00:00:00+00:00",
        "message": "",
        "outputs": {},
        "services": [],
        "released": False,
        **fields,
    }
    file = next(lab.path.glob("*/machine.json"))
    record = json.loads(file.read_text())
    record["configurations"][mark.id] = receipt
    file.write_text(json.dumps(record))


def test_a_service_that_died_makes_its_configuration_fail(lab: Lab) -> None:
    lab.apply(server())
    _put_receipt(lab, note(), services=["web"])
    root = lab.root(lab.only())
    with _service(root, "web") as process:
        assert services(str(root)) == {"web": True}
        assert lab.only("configuration").state is State.READY
        note_file = root / "services/web.json"
        told = json.loads(note_file.read_text())
        note_file.write_text(json.dumps({**told, "start": told["start"] - 1}))  # the number was given away
        assert lab.only("configuration").reason == "ServiceDown"
        note_file.write_text(json.dumps(told))
        process.kill()
        process.wait()
        thing = lab.only("configuration")
    assert (thing.state, thing.reason, thing.message) == (State.FAILED, "ServiceDown", "web does not run")


@contextmanager
def _service(root: Path, name: str) -> Iterator[subprocess.Popen[bytes]]:
    with _sleeping(RECONCILER_ROOT=str(root)) as process:
        start = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
        told = {"name": name, "pid": process.pid, "start": int(start), "supervisor": os.getpid()}
        (root / "services").mkdir(exist_ok=True)
        (root / "services" / f"{name}.json").write_text(json.dumps(told))
        yield process


def test_a_service_is_kept_by_the_role_that_started_it(lab: Lab) -> None:
    lab.apply(server())
    with _service(lab.root(lab.only()), "web") as process:
        assert lab.apply(note()) == [""]
        assert lab.only("configuration").state is State.READY
        process.kill()
        process.wait()
        assert lab.only("configuration").reason == "ServiceDown"
    assert lab.apply(note(text="again"))[0] == ""


def test_what_can_not_be_configured_says_so_and_writes_nothing(lab: Lab) -> None:
    lab.apply(server())
    before = snapshot(lab.path)
    gone = lab.apply(note(1))
    assert "server Deployment/cms/analysis-1/node.server is not there" in gone[0]
    assert "env:NO is not set" in lab.apply(note(secret={"$secret": "env:NO", "tag": "0"}))[0]
    with lab.reader() as client, pytest.raises(ReadOnly):
        DRIVER.serving("configuration").apply(client, _change(note(), Action.CREATE), mark_for(OWNER, note()))
    assert snapshot(lab.path) == before
    lab.root(lab.only()).rmdir()
    assert "is not ready: its directory is gone" in lab.apply(note())[0]


def test_secrets_are_opened_everywhere_and_kept_nowhere() -> None:
    value = {
        "a": [{"$secret": "env:X", "tag": "1"}],
        "b": {"$join": ["x-", {"$secret": "env:X"}]},
        "$secret": 1,
        "c": 2,
    }
    plain, texts = opened(value, lambda reference: f"<{reference}>")
    assert plain == {"a": ["<env:X>"], "b": "x-<env:X>", "$secret": 1, "c": 2}
    assert without({"u": ["y <env:X>"], "n": 5}, texts) == {"u": ["y ***"], "n": 5}


# ── settings and hosts ───────────────────────────────────────────────────────────────────────────


HOSTS = [
    {"name": f"node-{number}", "address": f"192.0.2.{number}", "hostKey": "ssh-ed25519 AAAA", "cores": number}
    for number in range(1, 4)
]


@pytest.mark.parametrize(
    ("settings", "fits"),
    [
        ({"machines": "local"}, True),
        ({"machines": "nspawn", "network": "10.90.0.0/24", "suite": "bookworm"}, True),
        ({"machines": "ssh", "hosts": HOSTS, "identity": "env:KEY"}, True),
        ({"machines": "ssh", "hosts": HOSTS}, False),
        ({"machines": "ssh", "identity": "env:KEY"}, False),
        ({"machines": "ssh", "hosts": HOSTS, "identity": "-----BEGIN"}, False),
        (
            {"machines": "ssh", "hosts": [{**HOSTS[0], "address": "-oProxyCommand=x"}], "identity": "env:K"},
            False,
        ),
        ({"machines": "cloud"}, False),
        ({"machines": "local", "other": 1}, False),
        ({}, False),
    ],
)
def test_the_schema_of_the_settings(settings: Mapping[str, Json], *, fits: bool) -> None:
    assert compiled(dict(DRIVER.settings))(settings) is fits


@pytest.fixture
def fleet(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Three static hosts; a directory each stands for what ssh would reach, the scripts are the real ones."""

    def run(host: Mapping[str, Any], identity: str, script: str, text: str = "") -> str:
        assert identity == SECRET
        folder = Path(lab.data, "fleet", host["name"])
        if not folder.is_dir():
            raise Transient(f"host {host['name']} can't be reached")
        here = script.replace("/var/lib/reconciler", str(folder / "reconciler"))
        done = subprocess.run(["sh", "-c", here], input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Rejected(done.stderr)
        return done.stdout

    for host in HOSTS:
        Path(lab.data, "fleet", str(host["name"])).mkdir(parents=True)
    monkeypatch.setattr(shell, "run", run)
    settings = {"machines": "ssh", "path": "machines", "hosts": HOSTS, "identity": "env:NOTE"}
    return replace(lab, target=replace(lab.target, settings=settings))


def test_a_server_claims_a_host_that_fits_and_stays_there(fleet: Lab) -> None:
    fleet.apply(server(0, cores=3))
    assert fleet.only().attributes == {
        "address": "192.0.2.3",
        "ports": {"http": 80},
        "hostname": "analysis-0-node",
    }
    with pytest.raises(Rejected, match="no host of target here is free and large enough"):
        fleet.apply(server(1, cores=3))
    with fleet.reader() as client:
        assert DRIVER.facts(client)["free"] == {"machines": 2, "cores": 3, "memory": None}
    assert fleet.apply(server(0, cores=3)) == []
    fleet.apply(server(0, cores=1))
    assert fleet.only().attributes["address"] == "192.0.2.3"
    fleet.delete(fleet.only())
    assert list(Path(fleet.data, "fleet").glob("*/reconciler/*")) == []


def test_lost_records_come_back_from_the_hosts(fleet: Lab) -> None:
    fleet.apply(server(0))
    fleet.apply(server(1))
    before = fleet.seen()
    subprocess.run(["rm", "-r", str(fleet.path)], check=True)
    assert fleet.seen() == before
    assert not fleet.path.exists()
    assert fleet.apply(server(2)) == [""]
    assert {thing.ref for thing in fleet.seen()} == {server(number).ref for number in range(3)}
    assert len({thing.attributes["address"] for thing in fleet.seen()}) == 3


def test_a_silent_host_makes_the_target_blind_when_the_records_are_lost(fleet: Lab) -> None:
    fleet.apply(server(0))
    silent = Path(fleet.data, "fleet/node-2")
    subprocess.run(["rm", "-r", str(silent)], check=True)
    assert len(fleet.seen()) == 1
    (fleet.path / "index.json").unlink()
    with pytest.raises(Transient, match="node-2"):
        fleet.seen()


def test_a_host_that_somebody_else_claimed_is_left_alone(fleet: Lab) -> None:
    for host in HOSTS:
        folder = Path(fleet.data, "fleet", str(host["name"]), "reconciler")
        folder.mkdir()
        (folder / "claim").write_text("other elsewhere abc\n")
    with pytest.raises(Rejected, match="it is claimed: other elsewhere"):
        fleet.apply(server())
    assert {path.read_text() for path in Path(fleet.data).glob("fleet/*/reconciler/*")} == {
        "other elsewhere abc\n"
    }


def test_static_hosts_have_no_volumes(fleet: Lab) -> None:
    with pytest.raises(Rejected, match="have no volumes"):
        fleet.apply(volume())
    with pytest.raises(Rejected, match="have no volumes"):
        fleet.apply(server(volumes={"/data": "Deployment/cms/a/data.volume"}))


def test_an_absolute_directory_that_is_not_there_makes_the_target_blind(lab: Lab) -> None:
    with pytest.raises(Denied, match="is not there"):
        lab.with_settings(path=os.path.join(lab.data, "absent")).seen()
    with suppress(Denied):
        lab.with_settings(path=os.path.join(lab.data, "absent")).apply(server())
    assert not Path(lab.data, "absent").exists()
