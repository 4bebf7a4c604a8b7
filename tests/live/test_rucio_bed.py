"""The Rucio that other tests stand on: rules really move files, and what is told to go wrong does so."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reconciler.drivers.rucio.client import Writer
from reconciler.drivers.rucio.translating import Exists, Missing
from reconciler.errors import BackendError, Denied, Rejected, Transient
from reconciler.model import Target
from tests.live.rucio_bed import programs
from tests.live.rucio_bed.bed import Bed, adler32
from tests.live.rucio_bed.database import DATABASES
from tests.live.rucio_bed.fixture import bed, started_bed  # noqa: F401  fixtures
from tests.live.rucio_bed.processes import ROOT, wait_until
from tests.places import NoSecrets

pytestmark = [
    pytest.mark.live,
    pytest.mark.machines,
    pytest.mark.network,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:rucio"),
]

FILES = {"one": b"first file", "two": bytes(range(256)) * 5000}
HERE, THERE = "BARI-DISK", "LYON-DISK"
MOVING = ("conveyor-submitter", "conveyor-poller", "conveyor-finisher")
ATTEMPTS = 4  # Rucio submits a transfer again three times


class Lake:
    """One data set on one element, in a scope of its own, and the rules about it."""

    def __init__(self, bed: Bed) -> None:  # noqa: F811  the fixture's value
        self.bed = bed
        self.client = bed.client()
        self.scope = bed.new_scope()
        self.did = bed.upload_dataset(self.scope, "set", FILES, HERE)

    def declare(self, expression: str = THERE, copies: int = 1) -> str:
        (rule,) = self.client.add_replication_rule([self.did], copies, expression)
        return str(rule)

    def rule(self, identity: str) -> Any:
        return self.client.get_replication_rule(identity)

    def state(self, identity: str) -> str:
        return str(self.rule(identity)["state"])

    def at(self, rse: str) -> dict[str, bytes]:
        return self.bed.files(rse, self.scope)

    def jobs(self) -> list[dict[str, Any]]:
        return self.bed.fts.jobs(f"/{self.scope}/")


@pytest.fixture
def lake(bed: Bed) -> Lake:  # noqa: F811  the fixture
    return Lake(bed)


def test_a_rule_puts_true_copies_on_two_elements(lake: Lake) -> None:
    rule = lake.declare("tier=1&QoS=disk", copies=2)
    assert lake.state(rule) == "REPLICATING"
    assert lake.at("CNAF-DISK") == lake.at(THERE) == {}
    lake.bed.pump()
    assert lake.state(rule) == "OK"
    assert lake.at("CNAF-DISK") == lake.at(THERE) == lake.at(HERE) == FILES
    assert lake.at("CNAF-TAPE") == {}
    known = {one["name"]: one["adler32"] for one in lake.client.list_files(lake.scope, "set")}
    assert known == {name: adler32(content) for name, content in lake.at(THERE).items()}
    lake.bed.pump()
    assert len(lake.jobs()) == 4  # nothing is copied a second time


def test_copies_that_no_rule_wants_are_removed(lake: Lake) -> None:
    rule = lake.declare()
    lake.bed.pump(only=MOVING)
    assert lake.at(THERE) == FILES
    lake.client.delete_replication_rule(rule, purge_replicas=True)
    lake.client.update_replication_rule(rule, {"lifetime": 0})
    lake.bed.pump(only=("judge-cleaner", "reaper"))
    assert lake.at(THERE) == {}
    assert lake.at(HERE) == FILES


def test_tape_takes_copies_too(lake: Lake) -> None:
    rule = lake.declare("QoS=tape")
    lake.bed.pump(1, MOVING)
    assert (lake.state(rule), lake.at("CNAF-TAPE")) == ("OK", FILES)


def test_held_transfers_wait_until_they_are_let_go(lake: Lake) -> None:
    lake.bed.fts.hold(f"{THERE}/{lake.scope}/.*/two$")
    rule = lake.declare()
    lake.bed.pump(2, MOVING)
    assert (lake.state(rule), lake.at(THERE)) == ("REPLICATING", {"one": FILES["one"]})
    assert {job["file_state"] for job in lake.jobs()} == {"FINISHED", "SUBMITTED"}
    lake.bed.fts.clear()
    lake.bed.pump(1, MOVING)
    assert (lake.state(rule), lake.at(THERE)) == ("OK", FILES)


def test_delayed_transfers_are_under_way_for_a_while(lake: Lake) -> None:
    lake.bed.fts.delay(f"/{lake.scope}/", seconds=6)
    rule = lake.declare()
    lake.bed.pump(1, MOVING)
    assert (lake.state(rule), lake.at(THERE)) == ("REPLICATING", {})
    assert {job["file_state"] for job in lake.jobs()} == {"ACTIVE"}
    wait_until(lambda: lake.at(THERE) == FILES)
    lake.bed.pump(1, MOVING)
    assert lake.state(rule) == "OK"


def test_a_rule_whose_transfers_fail_is_stuck_and_says_why(lake: Lake) -> None:
    lake.bed.fts.fail(f"/{lake.scope}/", "TRANSFER [28] No space left on device")
    rule = lake.declare()
    lake.bed.pump(ATTEMPTS, MOVING)
    assert lake.state(rule) == "STUCK"
    assert "No space left on device" in lake.rule(rule)["error"]
    assert lake.at(THERE) == {}
    assert len(lake.jobs()) == ATTEMPTS * len(FILES)
    lake.bed.fts.clear()
    lake.client.update_replication_rule(rule, {"boost_rule": True})
    lake.bed.pump(2)
    assert (lake.state(rule), lake.at(THERE)) == ("OK", FILES)


def test_what_arrives_spoilt_is_found_by_its_checksum(lake: Lake) -> None:
    lake.bed.fts.corrupt(f"/{lake.scope}/.*/one$")
    rule = lake.declare()
    lake.bed.pump(ATTEMPTS, MOVING)
    assert lake.state(rule) == "STUCK"
    assert "CHECKSUM MISMATCH" in lake.rule(rule)["error"]
    assert lake.at(THERE) == {"two": FILES["two"]}  # and no half-made file either


def test_what_is_spoilt_later_is_not(lake: Lake) -> None:
    lake.bed.fts.corrupt(f"/{lake.scope}/.*/one$", silently=True)
    rule = lake.declare()
    lake.bed.pump(1, MOVING)
    there = lake.at(THERE)
    assert lake.state(rule) == "OK"
    assert there["one"] != FILES["one"]
    assert (len(there["one"]), there["two"]) == (len(FILES["one"]), FILES["two"])


def test_a_source_that_is_not_what_rucio_knows_is_not_copied(lake: Lake) -> None:
    lake.bed.path(lake.scope, "one", HERE).write_bytes(b"other file")
    rule = lake.declare()
    lake.bed.pump(ATTEMPTS, MOVING)
    assert lake.state(rule) == "STUCK"
    assert "SOURCE CHECKSUM MISMATCH" in lake.rule(rule)["error"]
    assert lake.at(THERE) == {"two": FILES["two"]}


def test_another_source_helps_out(lake: Lake) -> None:
    lake.declare("CNAF-DISK")
    lake.bed.pump(1, MOVING)
    lake.bed.path(lake.scope, "one", "CNAF-DISK").unlink()
    rule = lake.declare()
    lake.bed.pump(1, MOVING)
    assert (lake.state(rule), lake.at(THERE)) == ("OK", FILES)
    states = {
        name: sorted(job["file_state"] for job in lake.jobs() if job["dest_surl"].endswith(name))
        for name in FILES
    }
    assert states["two"] == ["FINISHED", "FINISHED", "NOT_USED"]  # to CNAF-DISK, and from one of two sources
    assert states["one"].count("FINISHED") == 2


def test_transfers_of_a_rule_that_is_gone_are_canceled(lake: Lake) -> None:
    lake.bed.fts.hold(f"/{lake.scope}/")
    rule = lake.declare()
    lake.bed.pump(1, MOVING)
    lake.client.delete_replication_rule(rule)
    lake.client.update_replication_rule(rule, {"lifetime": 0})
    lake.bed.pump(1, ("judge-cleaner",))
    assert {job["file_state"] for job in lake.jobs()} == {"CANCELED"}
    lake.bed.fts.clear()
    lake.bed.pump()
    assert lake.at(THERE) == {}


def test_daemons_that_were_killed_go_on_where_they_were(lake: Lake) -> None:
    lake.bed.fts.hold(f"/{lake.scope}/")
    rule = lake.declare()
    lake.bed.pump(1, MOVING)
    lake.bed.stop_daemons()
    try:
        lake.bed.fts.clear()
        wait_until(lambda: lake.at(THERE) == FILES)  # the transfer service goes on without them
        assert lake.state(rule) == "REPLICATING"
    finally:
        lake.bed.start_daemons()
    lake.bed.pump()
    assert lake.state(rule) == "OK"
    assert len(lake.jobs()) == len(FILES)


def test_a_server_that_was_restarted_knows_what_it_knew(lake: Lake) -> None:
    rule = lake.declare()
    lake.bed.stop_server()
    try:
        lake.bed.pump(1, MOVING)
        with pytest.raises(Exception, match=r"[Cc]onnect"):
            lake.rule(rule)
    finally:
        lake.bed.start_server()
    assert (lake.state(rule), lake.at(THERE)) == ("OK", FILES)


def test_accounts_of_tests_are_told_apart(bed: Bed) -> None:  # noqa: F811  the fixture
    one, other = bed.new_account(), bed.new_account(admin=True)
    assert bed.client(one).whoami()["account"] == one
    assert bed.client(other).whoami()["account"] == other
    scope = bed.new_scope(one)
    did = bed.upload_dataset(scope, "set", FILES, HERE)
    (rule,) = bed.client(one).add_replication_rule([did], 1, THERE)
    assert [found["id"] for found in bed.client(other).list_replication_rules({"account": one})] == [rule]
    assert list(bed.client(other).list_replication_rules({"account": other})) == []


# --- the driver's connection -----------------------------------------------------------------


@dataclass
class Secrets(NoSecrets):
    """The password of one account."""

    password: str
    data: str = "/nowhere"

    def secret(self, reference: str) -> str:
        return self.password


def client_of(
    bed: Bed,  # noqa: F811  the fixture's value
    account: str,
    password: str = "",
) -> Writer:
    auth = {"type": "userpass", "username": bed.user(account), "password": "env:PASSWORD"}
    settings = {"url": bed.url, "account": account, "auth": auth}
    target = Target("lake.bari", "rucio", "bari", settings=settings, timeout=30)
    return Writer(target, Secrets(password or bed.password(account)))


def test_a_connection_reads_and_writes(lake: Lake) -> None:
    client = client_of(lake.bed, lake.bed.new_account(admin=True))
    with client.rucio("a rule") as rucio:
        (rule,) = rucio.add_replication_rule([lake.did], 1, THERE, comment="ours")
    lake.bed.pump(1, MOVING)
    with client.rucio("rules") as rucio:
        assert list(rucio.list_replication_rules({"account": "nobody"})) == []
        (found,) = rucio.list_replication_rules({"comments": "ours", "scope": lake.scope})
        replicas = list(rucio.list_replicas([lake.did]))
    assert (found["id"], found["state"]) == (rule, "OK")
    assert {one["name"]: sorted(one["rses"]) for one in replicas} == {name: [HERE, THERE] for name in FILES}
    client.close()


def test_a_long_list_is_whole(bed: Bed) -> None:  # noqa: F811  the fixture
    account = bed.new_account(admin=True)
    scope, client = bed.new_scope(account), client_of(bed, account)
    names = [f"set-{number:03}" for number in range(150)]
    with client.rucio("many") as rucio:
        rucio.add_datasets([{"scope": scope, "name": name} for name in names])
        rucio.add_replication_rule([{"scope": scope, "name": name} for name in names], 1, THERE)
        assert sorted(rule["name"] for rule in rucio.list_replication_rules({"account": account})) == names


def test_errors_of_a_real_server_say_who_must_act(lake: Lake) -> None:
    account = lake.bed.new_account()
    client = client_of(lake.bed, account)
    with client.rucio("a rule") as rucio:
        (rule,) = rucio.add_replication_rule([lake.did], 1, THERE)
    for sort, method, arguments in (
        (Exists, "add_replication_rule", ([lake.did], 1, THERE)),
        (Denied, "delete_replication_rule", (rule,)),  # ordinary accounts may not, not even their own
        (Denied, "add_replication_rule", ([lake.did], 1, THERE, 3, None, "DATASET", "N", None, None, "root")),
        (Missing, "get_replication_rule", ("0" * 32,)),
        (Missing, "add_replication_rule", ([{"scope": lake.scope, "name": "none"}], 1, THERE)),
        (Missing, "get_rse", ("NOWHERE",)),
        (Rejected, "add_replication_rule", ([lake.did], 1, "country=")),
        (Rejected, "add_replication_rule", ([lake.did], 1, "country=XY")),
        (Rejected, "add_replication_rule", ([lake.did], 9, THERE)),
    ):
        with pytest.raises(BackendError) as error, client.rucio("something") as rucio:
            getattr(rucio, method)(*arguments)
        assert type(error.value) is sort, (method, arguments, error.value)


def test_a_wrong_password_is_denied_whatever_others_have_cached(lake: Lake) -> None:
    account = lake.bed.new_account()
    client_of(lake.bed, account)
    lake.bed.client(account).whoami()
    with (
        pytest.raises(Denied, match=account),
        client_of(lake.bed, account, "wrong").rucio("rules") as rucio,
    ):
        rucio.whoami()


def test_a_connection_outlives_a_server(lake: Lake) -> None:
    client = client_of(lake.bed, "root")
    rule = lake.declare()
    with client.rucio("a rule") as rucio:
        assert rucio.get_replication_rule(rule)["id"] == rule
    lake.bed.stop_server()
    try:
        with pytest.raises(Transient), client.rucio("a rule") as rucio:
            rucio.get_replication_rule(rule)
    finally:
        lake.bed.start_server()
    with client.rucio("a rule") as rucio:
        assert rucio.get_replication_rule(rule)["id"] == rule


# --- what only concerns a bed of its own -----------------------------------------------------


def test_programs_are_installed_once_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = tmp_path / "requirements.lock"
    nothing.write_text("# nothing\n")
    monkeypatch.setattr(programs, "LOCK", nothing)
    monkeypatch.setattr(programs, "CACHE", tmp_path)
    installed = []

    def install(folder: Path) -> None:
        installed.append(folder)
        time.sleep(0.2)
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "python").touch()

    monkeypatch.setattr(programs, "_install", install)
    with ThreadPoolExecutor(4) as pool:
        (found,) = set(pool.map(lambda _: programs.server_programs(), range(4)))
    assert len(installed) == 1
    (found.parent / programs.COMPLETE).unlink()  # as a killed installation leaves it
    (found / "half").touch()
    assert programs.server_programs() == found
    assert (len(installed), (found / "half").exists()) == (2, False)
    nothing.write_text("# other pins\n")
    assert programs.server_programs() != found


BED = """
import sys, time
from tests.live.rucio_bed import programs
from tests.live.rucio_bed.bed import opened
with opened(sys.argv[1]) as bed:
    print(bed.folder, flush=True)
    time.sleep(300)
"""


@contextmanager
def _another_process(kind: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    command = [sys.executable, "-c", BED, kind]
    same_programs = {**os.environ, "XDG_CACHE_HOME": str(programs.CACHE.parent)}  # not those of a new home
    with subprocess.Popen(command, cwd=ROOT, env=same_programs, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def _working_below(folder: Path) -> list[str]:
    """Whoever has its working directory in there, or names the folder in its command."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(folder) in f"{os.readlink(entry / 'cwd')} {command}":
                found.append(command)
        except OSError:
            continue
    return found


@pytest.mark.parametrize("kind", DATABASES)
def test_nothing_is_left_of_a_process_that_was_killed(kind: str) -> None:
    with _another_process(kind) as (process, folder):
        assert re.search(r"rucio-bed-\d+-\d+$", str(folder))
        working = " ".join(_working_below(folder))
        assert "gunicorn" in working
        assert ("postgres" in working) == (kind == "postgresql")
        process.send_signal(signal.SIGKILL)
        wait_until(
            lambda: not folder.exists() and not _working_below(folder), lambda: str(_working_below(folder))
        )
