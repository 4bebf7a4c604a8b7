"""What tests work with: one Rucio, its storage elements, its transfer service, and the daemons on request.

Nothing happens in between: daemons run when a test says `pump`, and only then.
"""

from __future__ import annotations

import importlib
import json
import os
import secrets
import signal
import sys
import tempfile
import urllib.request
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import md5
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tests.live.rucio_bed.configuration import IDENTITY, PASSWORD, write_configuration
from tests.live.rucio_bed.database import open_database
from tests.live.rucio_bed.elements import ELEMENTS, ROOM, make_elements
from tests.live.rucio_bed.processes import ROOT, Process, folder_of_a_bed, free_port, kept
from tests.live.rucio_bed.programs import server_programs
from tests.live.rucio_bed.telling import Transfers

TEMPORARY: Final = Path(tempfile.gettempdir())
APPLICATION: Final = "rucio.web.rest.flaskapi.v1.main:application"
SECONDS: Final = 300  # for one request to the daemons


@dataclass(slots=True)
class Bed:
    """One Rucio on a database of its own. `url` is its REST interface, `fts` the transfer service."""

    database: str
    folder: Path
    url: str
    fts: Transfers
    daemons_url: str
    _server: Process
    _daemons: Process
    _passwords: dict[str, str] = field(default_factory=lambda: {"root": PASSWORD})

    # -- clients -----------------------------------------------------------------------------

    def client(self, account: str = "root", **told: Any) -> Any:
        """A client of Rucio's own (rucio.client.Client), logged in as an account that the bed made."""
        user = {"username": self.user(account), "password": self.password(account)}
        common = {"rucio_host": self.url, "auth_host": self.url, "auth_type": "userpass", "timeout": 60}
        return _client_class(self.folder / "tokens")(**common, account=account, creds=user, **told)

    def user(self, account: str) -> str:
        return IDENTITY if account == "root" else account

    def password(self, account: str) -> str:
        return self._passwords[account]

    def new_account(self, *, admin: bool = False, room: bool = True) -> str:
        """An account with a user and a password of its own, and room on every element."""
        account = f"a{secrets.token_hex(6)}"
        root = self.client()
        root.add_account(account, "USER", f"{account}@example.org")
        self._passwords[account] = secrets.token_urlsafe(12)
        root.add_identity(
            account, account, "USERPASS", f"{account}@example.org", password=self._passwords[account]
        )
        for element in ELEMENTS if room else ():
            root.set_account_limit(account, element, ROOM, "local")
        if admin:
            root.add_account_attribute(account, "admin", "True")
        return account

    def new_scope(self, account: str = "root") -> str:
        """A scope that only this test knows: what others do is not in it."""
        scope = f"s{secrets.token_hex(6)}"
        self.client().add_scope(account, scope)
        return scope

    # -- data --------------------------------------------------------------------------------

    def rse_folder(self, name: str) -> Path:
        """The directory that an element is."""
        return self.folder / "elements" / name

    def upload(self, scope: str, name: str, content: bytes, rse: str) -> Path:
        """Put a file on an element and tell Rucio; where it lies. No rule protects it."""
        path = self.path(scope, name, rse)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        sums = {"adler32": adler32(content), "md5": md5(content, usedforsecurity=False).hexdigest()}
        replica = {"scope": scope, "name": name, "bytes": len(content), **sums}
        self.client().add_replicas(rse, [replica])
        return path

    def upload_dataset(self, scope: str, name: str, files: Mapping[str, bytes], rse: str) -> dict[str, str]:
        """A data set of these files, all on one element. Its identifier, as rules want it."""
        for file, content in files.items():
            self.upload(scope, file, content, rse)
        root = self.client()
        root.add_dataset(scope, name)
        root.attach_dids(scope, name, [{"scope": scope, "name": file} for file in files])
        return {"scope": scope, "name": name}

    def path(self, scope: str, name: str, rse: str) -> Path:
        """Where Rucio has this file on an element, whether it is there or not."""
        found = self.client().lfns2pfns(rse, [f"{scope}:{name}"], operation="write")
        return Path(urllib.request.url2pathname(urlsplit(found[f"{scope}:{name}"]).path))

    def files(self, rse: str, scope: str = "") -> dict[str, bytes]:
        """What really lies on an element, or in one scope there: the name of the file → its bytes.

        Names of files under way begin with a dot. Without a scope, names are paths from the element's folder.
        """
        top = self.rse_folder(rse)
        found = sorted(path for path in (top / scope).rglob("*") if path.is_file())
        return {path.name if scope else str(path.relative_to(top)): path.read_bytes() for path in found}

    # -- daemons and server ------------------------------------------------------------------

    def pump(self, passes: int = 1, only: Collection[str] = ()) -> float:
        """Run every daemon once per pass, or those named (`pump.DAEMONS`). How many seconds it took.

        Raises AssertionError if a daemon failed.
        """
        body = json.dumps({"passes": passes, "only": sorted(only)}).encode()
        request = urllib.request.Request(self.daemons_url, data=body, method="POST")  # noqa: S310  our own
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310  ditto
            said = json.load(answer)
        assert not said["errors"], "\n".join(said["errors"])
        return float(said["seconds"])

    def stop_daemons(self) -> None:
        """As `kill -9` does it: what they were about is left as it was."""
        self._daemons.stop()

    def start_daemons(self) -> None:
        self._daemons.start()
        self._daemons.await_answer(self.daemons_url)

    def stop_server(self) -> None:
        """No REST interface; the database, the daemons and the transfers stay."""
        self._server.stop(signal.SIGTERM)

    def start_server(self) -> None:
        self._server.start()
        self._server.await_answer(f"{self.url}/ping")

    def log(self) -> str:
        """The ends of the logs of server and daemons."""
        return f"{self._server.log()}\n{self._daemons.log()}"


def adler32(content: bytes) -> str:
    """As Rucio writes it: 8 hex digits."""
    return f"{zlib.adler32(content):08x}"


@contextmanager
def opened(kind: str, *, elements: bool = True) -> Iterator[Bed]:
    """A new Rucio, ready, with four storage elements (or none) and no more. `kind` is one of DATABASES."""
    importlib.import_module("rucio.client")  # needed by all that tests do with a bed
    programs = server_programs()
    folder = folder_of_a_bed(TEMPORARY)
    with kept(folder):
        bed = _started(kind, folder, programs)
        if elements:
            make_elements(bed.client(), folder / "elements", bed.fts.url)
        yield bed


def _started(kind: str, folder: Path, programs: Path) -> Bed:
    """Server, daemons and transfers start at the same time; each loads for a second or two."""
    home = folder / "rucio"
    site_packages = next(programs.parent.glob("lib/python3*/site-packages"))
    write_configuration(home, open_database(kind, folder), site_packages)
    ports = {name: free_port() for name in ("server", "daemons", "transfers")}
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    threads = 1 if kind == "sqlite" else 8  # SQLite has one writer; a second one gets an error, or waits long
    server, daemons, transfers = _processes(folder, home, programs, ports, threads)
    for process, options in ((transfers, ()), (daemons, ("--new",)), (server, ())):
        process.start(*options)
    for process, url in ((transfers, urls["transfers"]), (daemons, urls["daemons"])):
        process.await_answer(url)
    bed = Bed(kind, folder, urls["server"], Transfers(urls["transfers"]), urls["daemons"], server, daemons)
    server.await_answer(f"{bed.url}/ping")
    return bed


def _processes(
    folder: Path, home: Path, programs: Path, ports: Mapping[str, int], threads: int
) -> tuple[Process, Process, Process]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("RUCIO", "PYTHON"))}
    rucio = {
        **kept,
        "RUCIO_HOME": str(home),
        "HOME": str(folder),
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    ours = {**kept, "PYTHONPATH": str(ROOT)}
    python = str(programs / "python")
    # One worker: it is loaded once. gunicorn's control socket would be in the home of the person.
    serving = (
        "--no-control-socket",
        "--workers",
        "1",
        "--threads",
        str(threads),
        "--timeout",
        "0",
        "--log-level",
        "warning",
    )
    bound = ("--bind", f"127.0.0.1:{ports['server']}", "--worker-tmp-dir", str(folder))
    stand_in = (sys.executable, "-m", "tests.live.rucio_bed.transfers", str(ports["transfers"]))
    pump = (python, str(Path(__file__).with_name("pump.py")), str(ports["daemons"]))
    gunicorn = (python, "-m", "gunicorn", *serving, *bound, APPLICATION)
    return (
        Process("server", gunicorn, folder, rucio),
        Process("daemons", pump, folder, rucio),
        Process("transfers", stand_in, folder, ours),
    )


def _client_class(tokens: Path) -> type[Any]:
    """Rucio's client, with its tokens in a folder of the bed; its own place is one for all servers."""
    client: Any = importlib.import_module("rucio.client").Client

    class Client(client):  # type: ignore[misc]  # Rucio has no types
        def _get_auth_tokens(self) -> tuple[None, str, str, str]:
            file = tokens / f"{self.account}"
            return None, str(file.with_suffix(".expires")), str(file), str(tokens)

    return Client
