"""One lock per owner, that dies with its holder. What a database server does is in tests/live."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.errors import ExitCode, Locked
from reconciler.store import Lease, Store, open_store
from reconciler.store.lease import lock_key, session_name
from tests.unit.test_store import NOW, change, plan

HOLDER = """
import subprocess, sys, time
from reconciler.store import open_store
store = open_store(sys.argv[1], sys.argv[2])
with store.lease():
    children = [subprocess.Popen(["sleep", "60"], close_fds=False) for _ in sys.argv[3:]]
    print(*(child.pid for child in children), flush=True)
    time.sleep(60)
"""


@pytest.fixture
def location(tmp_path: Path) -> str:
    return str(tmp_path / "state" / "store.sqlite")


@contextmanager
def holder(location: str, owner: str, *children: str) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """Another process that holds the lock, and the children it started."""
    command = [sys.executable, "-c", HOLDER, location, owner, *children]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process, [int(word) for word in process.stdout.readline().split()]
        finally:
            process.kill()


# --- what both databases do ---


def test_one_run_at_a_time(location: str) -> None:
    with open_store(location, "lab") as first, open_store(location, "lab") as second:
        with first.lease() as lease:
            assert lease.held()
            with pytest.raises(Locked) as error:
                second.lease()
            assert error.value.exit_code == ExitCode.LOCKED
        assert not lease.held()
        with second.lease() as lease:
            assert lease.held()


def test_the_refusal_says_who_holds_it_since_when(location: str) -> None:
    with holder(location, "lab") as (process, _), pytest.raises(Locked) as error:
        open_store(location, "lab").lease()
    said = str(error.value)
    assert socket.gethostname()[:40] in said
    assert f"process {process.pid}" in said
    assert "since 20" in said
    assert error.value.hint


def test_two_owners_do_not_clash(location: str) -> None:
    other = location.replace("store.sqlite", "other.sqlite")
    with open_store(location, "lab") as first, open_store(other, "other-lab") as second:
        with first.lease(), second.lease():
            first.begin("c0ffee", NOW)
            second.begin("beef", NOW)
        assert first.history(NOW).rows("SELECT revision FROM runs") == [("c0ffee",)]
        assert second.history(NOW).rows("SELECT revision FROM runs") == [("beef",)]


def test_the_lock_dies_with_its_holder(location: str) -> None:
    with holder(location, "lab") as (process, _):
        process.send_signal(signal.SIGKILL)
        process.wait()
    for _ in range(2):
        with open_store(location, "lab") as store, soon(store) as lease:
            assert lease.held()


def test_children_do_not_inherit_the_lock(location: str) -> None:
    with holder(location, "lab", "a child") as (process, children):
        process.kill()
        process.wait()
        try:
            with open_store(location, "lab") as store, soon(store) as lease:
                assert lease.held()
        finally:
            for child in children:
                os.kill(child, signal.SIGKILL)


def soon(store: Store) -> Lease:
    """The lock, as soon as the server has noticed that its holder is dead: within 10 seconds."""
    for _ in range(100):
        try:
            return store.lease()
        except Locked:
            time.sleep(0.1)
    return store.lease()


def test_the_lock_is_freed_when_the_run_fails(location: str) -> None:
    with open_store(location, "lab") as store:
        with pytest.raises(RuntimeError), store.lease():
            raise RuntimeError("a defect")
        with store.lease() as lease:
            assert lease.held()
            lease.release()
            lease.release()


# --- what only files do ---


@pytest.mark.parametrize("name", ["store.sqlite", "store.sqlite.lock"])
@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_what_is_deleted_or_replaced_is_lost(location: str, name: str, how: str) -> None:
    path = Path(location).parent / name
    with open_store(location, "lab") as store, store.lease() as lease:
        run = store.begin("c0ffee", NOW)
        store.record_plan(run, plan(change()))
        assert lease.held()
        content = path.read_bytes()
        path.unlink()
        if how == "replaced":
            path.write_bytes(content)
        assert not lease.held()
        with pytest.raises(Locked, match="lost"):
            lease.require()
        with pytest.raises(Locked, match="lost"):
            store.attempt(run, [change()], NOW)
    assert path.exists() == (how == "replaced")


def test_a_lost_lock_can_be_taken_by_another_run(location: str) -> None:
    with open_store(location, "lab") as first, first.lease():
        first.begin("c0ffee", NOW)
        Path(f"{location}.lock").unlink()
        with open_store(location, "lab") as second, second.lease() as lease:
            assert lease.held()
            with pytest.raises(Locked, match="lost"):
                first.begin("c0ffee", NOW)


def test_the_lock_file_stays_and_holds_nobody_up(location: str) -> None:
    lock = Path(f"{location}.lock")
    with open_store(location, "lab") as store:
        with store.lease():
            inode = lock.stat().st_ino
        assert lock.stat().st_ino == inode
        lock.write_text("not what we write")
        with store.lease(), pytest.raises(Locked):
            open_store(location, "lab").lease()


def test_a_lock_file_that_is_a_link_is_refused(location: str, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    Path(location).parent.mkdir()
    Path(f"{location}.lock").symlink_to(precious)
    with open_store(location, "lab") as store, pytest.raises(Exception, match=r"store\.sqlite"):
        store.lease()
    assert precious.read_text() == "precious"


RACE = """
import sys
from pathlib import Path
from reconciler.errors import Locked
from reconciler.store import open_store
location, shared = sys.argv[1], Path(sys.argv[2])
store = open_store(location, "lab")
for _ in range(150):
    try:
        with store.lease() as lease:
            inside = shared / "inside"
            inside.touch(exist_ok=False)
            assert lease.held()
            inside.unlink()
            print("in", end=" ")
    except Locked:
        pass
"""


def test_never_two_at_once(location: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", RACE, location, str(tmp_path)]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [racer.communicate(timeout=60)[0] for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0, 0]
    assert "in" in "".join(said)


REPLACED = """
import sys
from pathlib import Path
from reconciler.store import open_store
lock = Path(sys.argv[1] + ".lock")
times = []
def replace(event, _):
    if event == "fcntl.flock" and not times:
        times.append(event)
        lock.unlink()
        lock.touch()
sys.addaudithook(replace)
with open_store(sys.argv[1], "lab").lease() as lease:
    assert times and lease.held()
"""


def test_a_lock_file_replaced_while_it_is_taken_is_taken_again(location: str) -> None:
    subprocess.run([sys.executable, "-c", REPLACED, location], check=True, timeout=30)


def test_a_lock_key_is_a_postgresql_bigint() -> None:
    keys = {lock_key(owner) for owner in ("lab", "lab2", "x" * 30)}
    assert len(keys) == 3
    assert all(0 <= key < 2**63 for key in keys)
    assert len(session_name()) <= 63
