"""The cases of store and lease on a real PostgreSQL, which is started for them and ended after them."""

from __future__ import annotations

import inspect
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from reconciler.errors import Locked, Transient, UsageError
from reconciler.store import open_store
from tests.unit import test_lease, test_store
from tests.unit.test_store import LATER, NOW, OBJECT, one_run, standing

pytestmark = pytest.mark.live

PROGRAMS = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/nowhere"))
SECONDS = 60


class Server:
    """One cluster in a folder of its own, on a free port of the loop-back interface."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        self._as_user = _as_postgres(folder)
        self._run("initdb", "--auth=trust", "--username=lab", "--encoding=UTF8", "--no-sync", "-D", self.data)
        self.start()

    @property
    def data(self) -> str:
        return str(self.folder / "data")

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", self.data, "-w", "-t", str(SECONDS), "-l", log, "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "-t", str(SECONDS), "stop")

    def execute(self, statement: str, database: str = "postgres") -> str:
        address = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "lab", "-d", database]
        return self._run("psql", *address, "-v", "ON_ERROR_STOP=1", "-Atc", statement)

    def location(self, database: str, user: str = "lab") -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def _run(self, program: str, *arguments: str) -> str:
        # Not through a pipe: the server inherits it and never closes it.
        with (self.folder / "output").open("w+") as output:
            subprocess.run(
                [*self._as_user, str(PROGRAMS / program), *arguments],
                check=True,
                cwd=self.folder,
                timeout=SECONDS + 30,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            output.seek(0)
            return output.read().strip()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _as_postgres(folder: Path) -> list[str]:
    """PostgreSQL refuses to be root; then it is the user that Debian made for it."""
    if os.getuid() != 0:
        return []
    user = pwd.getpwnam("postgres")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    if not (PROGRAMS / "initdb").exists():
        pytest.skip("no PostgreSQL here: install the package `postgresql`")
    if os.getuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("PostgreSQL refuses to be root, and setpriv is not here")
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    try:
        server = Server(folder)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def location(server: Server) -> Iterator[str]:
    """A database of its own for each test."""
    server.execute("CREATE DATABASE store")
    try:
        yield server.location("store")
    finally:
        server.execute("DROP DATABASE store WITH (FORCE)")


def shared(module: ModuleType) -> list[Callable[[str], None]]:
    """The cases that stand before `what only …` and take nothing but a location."""
    end = inspect.getsource(module).index("\n# --- what only ")
    line = inspect.getsource(module)[:end].count("\n")
    functions = [value for name, value in vars(module).items() if name.startswith("test_")]
    return [function for function in functions if function.__code__.co_firstlineno <= line]


CASES = [*shared(test_store), *shared(test_lease)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_it_does_what_sqlite_does(case: Callable[[str], None], location: str) -> None:
    case(location)


def test_the_cases_are_there() -> None:
    assert len(CASES) > 20


def test_another_schema_is_set_aside(location: str, server: Server) -> None:
    for number in (1, 2):
        with open_store(location, "lab") as store:
            one_run(store, standing())
        server.execute("UPDATE reconciler_lab.meta SET value = '0' WHERE key = 'schema'", "store")
        with open_store(location, "lab") as store:
            assert dict(store.history(NOW).conditions) == {}
            one_run(store, standing(), at=LATER)
            assert [line for line in store.notices if f"reconciler_lab_old_{number}" in line]
            assert list(store.history(NOW).conditions) == [OBJECT]
        kept = f"SELECT schema_name FROM information_schema.schemata WHERE schema_name ~ '_old_{number}$'"  # noqa: S608  a number
        assert server.execute(kept, "store") == f"reconciler_lab_old_{number}"


def test_tables_of_somebody_else_are_left_alone(location: str, server: Server) -> None:
    server.execute("CREATE SCHEMA reconciler_lab CREATE TABLE theirs (a int)", "store")
    with open_store(location, "lab") as store, store.lease(), pytest.raises(UsageError, match="not ours"):
        store.begin("c0ffee", NOW)
    tables = "SELECT string_agg(tablename, ',') FROM pg_tables WHERE schemaname = 'reconciler_lab'"
    assert server.execute(tables, "store") == "theirs"


def test_a_user_without_rights_is_told_what_is_missing(location: str, server: Server) -> None:
    server.execute("CREATE ROLE guest LOGIN")
    try:
        guest = server.location("store", "guest")
        with open_store(guest, "lab") as store, store.lease(), pytest.raises(UsageError) as error:
            store.begin("c0ffee", NOW)
        assert "CREATE SCHEMA" in error.value.hint
        server.execute("CREATE SCHEMA reconciler_lab AUTHORIZATION guest", "store")
        with open_store(guest, "lab") as store:
            one_run(store, standing())
            assert list(store.history(NOW).conditions) == [OBJECT]
        server.execute("DROP SCHEMA reconciler_lab CASCADE", "store")
    finally:
        server.execute("DROP ROLE guest")


def test_a_session_that_the_server_ended_is_a_lost_lock(location: str, server: Server) -> None:
    with open_store(location, "lab") as store, store.lease() as lease:
        store.begin("c0ffee", NOW)
        assert lease.held()
        locks = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
        assert server.execute(locks) == "t"
        assert not lease.held()
        with pytest.raises(Locked, match="lost"):
            store.begin("c0ffee", NOW)
        with open_store(location, "lab") as second, second.lease() as other:
            assert other.held()
            assert not lease.held()


def test_asking_whether_it_is_held_is_cheap(location: str) -> None:
    with open_store(location, "lab") as store, store.lease() as lease:
        started = time.perf_counter()
        assert all(lease.held() for _ in range(200))
        assert (time.perf_counter() - started) / 200 < 0.01


def test_a_dead_server_is_said_without_the_url(location: str, server: Server) -> None:
    with open_store(location, "lab") as store:
        one_run(store, standing())
    with open_store(location, "lab") as store, store.lease() as lease:
        server.stop()
        try:
            assert not lease.held()
            with pytest.raises(Transient) as error:
                open_store(location, "lab")
            assert "server" in error.value.hint
            assert "postgresql://" not in str(error.value)
        finally:
            server.start()
    with open_store(location, "lab") as store:
        assert list(store.history(NOW).conditions) == [OBJECT]


def test_no_password_is_taken_from_a_url(server: Server) -> None:
    with pytest.raises(UsageError) as error:
        open_store(f"postgresql://lab:hunter2@127.0.0.1:{server.port}/postgres", "lab")
    assert "hunter2" not in f"{error.value} {error.value.hint}"
