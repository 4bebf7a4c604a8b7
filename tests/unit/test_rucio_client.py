"""The connection to a Rucio: whole answers or errors, who must act, tokens, and nobody else's configuration.

The server is a socket that says what a test wants, byte by byte. The real one: tests/live/test_rucio_bed.py.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.checks.schema import compiled
from reconciler.drivers.rucio.client import Reader, Writer
from reconciler.drivers.rucio.settings import SETTINGS
from reconciler.drivers.rucio.tokens import Token, TokenFile
from reconciler.drivers.rucio.translating import Exists, Missing
from reconciler.errors import BackendError, Denied, ReadOnly, Rejected, Transient
from reconciler.model import Target
from tests.places import NoSecrets

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:rucio")

PASSWORD = "canary-of-the-password"
ROOT = Path(__file__).parents[2]
STREAM = "application/x-json-stream"
RULES = [{"id": str(number), "account": "lake"} for number in range(3)]
LINES = "".join(json.dumps(rule) + "\n" for rule in RULES).encode()


class Secrets(NoSecrets):
    """What a driver is given: one password, one token."""

    data = "/nowhere"

    def secret(self, reference: str) -> str:
        return {"env:PASSWORD": PASSWORD, "env:TOKEN": "canary-of-the-token"}[reference]


@dataclass
class Asked:
    """One request that the server got."""

    method: str
    path: str
    headers: Mapping[str, str]


Answer = Callable[[Asked], bytes | Iterator[bytes]]


@dataclass
class Server:
    """Answers each request with the bytes that `answer` gives, and closes the connection."""

    answer: Answer
    tls: ssl.SSLContext | None = None
    asked: list[Asked] = field(default_factory=list)
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def url(self) -> str:
        scheme, host = ("https", "localhost") if self.tls else ("http", "127.0.0.1")
        return f"{scheme}://{host}:{self.listener.getsockname()[1]}"

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._serve_one, args=(connection,), daemon=True).start()

    def _serve_one(self, connection: socket.socket) -> None:
        with suppress(OSError, ValueError):
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb") as file:
                asked = _read(file)
                self.asked.append(asked)
                said = self.answer(asked)
                for part in (said,) if isinstance(said, bytes) else said:
                    connection.sendall(part)

    def logins(self) -> int:
        return sum(asked.path.startswith("/auth/") for asked in self.asked)

    def others(self) -> list[str]:
        return [f"{one.method} {one.path}" for one in self.asked if not one.path.startswith("/auth/")]


def _read(file: Any) -> Asked:
    method, path, _ = file.readline().decode().split()
    headers = {}
    while line := file.readline().decode().strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    file.read(int(headers.get("content-length", 0)))
    return Asked(method, path, headers)


def said(body: bytes, sort: str = STREAM, status: str = "200 OK", **headers: str) -> bytes:
    """A whole answer."""
    return head(sort, status, Content_Length=str(len(body)), **headers) + body


def head(sort: str = STREAM, status: str = "200 OK", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {sort}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def chunk(body: bytes) -> bytes:
    return f"{len(body):x}\r\n".encode() + body + b"\r\n"


def token(value: str = "token-1", hours: float = 1) -> bytes:
    end = (datetime.now(UTC) + timedelta(hours=hours)).strftime("%a, %d %b %Y %H:%M:%S UTC")
    return said(b"", "text/html", X_Rucio_Auth_Token=value, X_Rucio_Auth_Token_Expires=end)


def refused(name: str, status: str, message: str = "said by the server") -> bytes:
    """As Rucio says no (lib/rucio/web/rest/flaskapi/v1/common.py)."""
    body = json.dumps({"ExceptionClass": name, "ExceptionMessage": message}).encode()
    return said(body, "application/octet-stream", status, ExceptionClass=name, ExceptionMessage=message)


def after_login(answer: bytes | Iterator[bytes]) -> Answer:
    return lambda asked: token() if asked.path.startswith("/auth/") else answer


Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[Server] = []

    def start(answer: Answer, tls: ssl.SSLContext | None = None) -> Server:
        server = Server(answer, tls)
        servers.append(server)
        threading.Thread(target=server.serve, daemon=True).start()
        return server

    yield start
    for server in servers:
        server.listener.close()


USERPASS = {"type": "userpass", "username": "robot", "password": "env:PASSWORD"}


def target(url: str, timeout: float = 10, **more: Any) -> Target:
    settings = {"url": url, "account": "lake", "auth": USERPASS, **more}
    return Target("lake.bari", "rucio", "bari", settings=settings, timeout=timeout)


def rules(client: Reader) -> list[Any]:
    with client.rucio("rules of lake") as rucio:
        return list(rucio.list_replication_rules({"account": "lake"}))


def refusal(client: Reader) -> BackendError:
    """The error of a list; it must name the target, and no secret."""
    with pytest.raises(BackendError) as error:
        rules(client)
    message = f"{error.value} {error.value.hint}"
    assert "lake.bari" in message
    assert "canary" not in message
    return error.value


# --- whole answers, or errors ----------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        said(LINES),
        head(Transfer_Encoding="chunked") + chunk(LINES[:50]) + chunk(LINES[50:]) + b"0\r\n\r\n",
        said(LINES.rstrip()),
    ],
    ids=["length", "chunks", "no last newline"],
)
def test_a_whole_list_is_read(answer: bytes, serve: Serve) -> None:
    server = serve(after_login(answer))
    assert rules(Reader(target(server.url), Secrets())) == RULES
    assert server.others() == ["GET /rules/?account=lake"]


@pytest.mark.parametrize("answer", [said(b""), head(Transfer_Encoding="chunked") + b"0\r\n\r\n"])
def test_an_empty_list_is_one(answer: bytes, serve: Serve) -> None:
    assert rules(Reader(target(serve(after_login(answer)).url), Secrets())) == []


BROKEN = {
    "chunks without the last one": head(Transfer_Encoding="chunked") + chunk(LINES),
    "a chunk that ends early": head(Transfer_Encoding="chunked") + chunk(LINES)[:-60],
    "no chunk at all": head(Transfer_Encoding="chunked"),
    "less than the length, after a line": head(Content_Length=str(len(LINES)))
    + LINES[: LINES.index(b"\n") + 1],
    "nothing of the length": head(Content_Length=str(len(LINES))),
    "half a line": said(LINES[:-10]),
    "half a status line": b"HTTP/1.1 20",
    "nothing": b"",
    "half an object": said(b'{"id": "1"', "application/json"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_half_an_answer_is_no_shorter_list(how: str, serve: Serve) -> None:
    server = serve(after_login(BROKEN[how]))
    assert type(refusal(Reader(target(server.url), Secrets()))) is Transient
    assert len(server.others()) == 1  # trying again is the engine's matter


NOT_RUCIO = {
    "ends with its connection": head() + LINES,
    "empty, and ends with its connection": head(),
    "a page": said(b"<html>maintenance</html>", "text/html"),
    "an empty page": said(b"", "text/html"),
    "no type": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("how", NOT_RUCIO)
def test_what_can_not_be_known_to_be_a_whole_list_is_none(how: str, serve: Serve) -> None:
    error = refusal(Reader(target(serve(after_login(NOT_RUCIO[how])).url), Secrets()))
    assert type(error) is BackendError
    assert error.hint


def test_a_single_thing_that_is_not_whole_is_an_error_too(serve: Serve) -> None:
    client = Reader(target(serve(after_login(said(b""))).url), Secrets())
    with pytest.raises(Transient, match=r"half an answer"), client.rucio("one rule") as rucio:
        rucio.get_replication_rule("1")


def _dripping() -> Iterator[bytes]:
    yield head(Transfer_Encoding="chunked")
    for _ in range(200):
        time.sleep(0.05)
        yield chunk(b'{"id": "1"}\n' * 10_000)


def _silent() -> Iterator[bytes]:
    time.sleep(5)
    yield said(LINES)


@pytest.mark.parametrize("answer", [_dripping, _silent])
def test_an_answer_that_takes_too_long_is_given_up(
    answer: Callable[[], Iterator[bytes]], serve: Serve
) -> None:
    client = Reader(target(serve(after_login(answer())).url, timeout=0.5), Secrets())
    began = time.monotonic()
    assert type(refusal(client)) is Transient
    assert time.monotonic() - began < 4


# --- who must act ----------------------------------------------------------------------------

REFUSED = {
    "AccessDenied": ("401 Unauthorized", Denied),
    "InsufficientAccountLimit": ("409 Conflict", Denied),
    "RSEWriteBlocked": ("403 Forbidden", Denied),
    "DuplicateRule": ("409 Conflict", Exists),
    "DataIdentifierAlreadyExists": ("409 Conflict", Exists),
    "RuleNotFound": ("404 Not Found", Missing),
    "DataIdentifierNotFound": ("404 Not Found", Missing),
    "InvalidRSEExpression": ("400 Bad Request", Rejected),
    "InsufficientTargetRSEs": ("409 Conflict", Rejected),
    "InvalidObject": ("400 Bad Request", Rejected),
    "UnsupportedOperation": ("409 Conflict", Rejected),
    "DatabaseException": ("500 Internal Server Error", Transient),
    "RucioException": ("500 Internal Server Error", Transient),
    "NobodyKnowsThisOne": ("400 Bad Request", Rejected),
    "NoSuchClassAtAll": ("500 Internal Server Error", Transient),
}


@pytest.mark.parametrize("name", REFUSED)
def test_errors_say_who_must_act(name: str, serve: Serve) -> None:
    status, sort = REFUSED[name]
    server = serve(after_login(refused(name, status, "the reason\nis \x1b[31mthis")))
    error = refusal(Reader(target(server.url), Secrets()))
    assert type(error) is sort
    assert str(error).isprintable()
    assert "the reason" in str(error)
    assert str(error).startswith("rules of lake: ")
    assert (server.logins(), len(server.others())) == (1, 1)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("DataIdentifierNotFound", "correct `dataset`, name a folder in `source`, or declare a Dataset"),
        ("ScopeNotFound", "declares a Scope"),
        ("AccountNotFound", "declares a DataAccount"),
        ("RSENotFound", "declares a StorageElement"),
    ],
)
def test_what_is_missing_can_be_declared(name: str, words: str, serve: Serve) -> None:
    error = refusal(Reader(target(serve(after_login(refused(name, "404 Not Found", "x"))).url), Secrets()))
    assert words in error.hint


def test_a_server_that_wants_to_be_left_alone_is(serve: Serve) -> None:
    server = serve(after_login(said(b"", "text/html", "503 Service Unavailable", Retry_After="7")))
    error = refusal(Reader(target(server.url), Secrets()))
    assert isinstance(error, Transient)
    assert error.wait == 7
    assert len(server.others()) == 1


@pytest.mark.parametrize("status", ["429 Too Many Requests", "500 Internal Server Error", "502 Bad Gateway"])
def test_a_server_in_trouble_is_a_matter_of_time(status: str, serve: Serve) -> None:
    server = serve(after_login(said(b"<html/>", "text/html", status)))
    assert type(refusal(Reader(target(server.url), Secrets()))) is Transient


def test_nobody_there_is_a_matter_of_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    error = refusal(Reader(target(url), Secrets()))
    assert type(error) is Transient
    assert "Connection refused" in str(error)


def test_a_token_is_not_taken_to_another_server(serve: Serve) -> None:
    other = serve(after_login(said(LINES)))
    moved = said(b"", "text/html", "302 Found", Location=f"{other.url}/rules/")
    error = refusal(Reader(target(serve(after_login(moved)).url), Secrets()))
    assert type(error) is BackendError
    assert ("redirection (302)" in str(error), error.hint) == (True, "is `url` right?")
    assert other.asked == []


# --- tokens ----------------------------------------------------------------------------------


def kept(home: Path) -> list[Path]:
    return sorted((home / ".cache" / "reconciler" / "rucio").glob("*.token"))


def test_a_token_is_kept_for_the_next_run(serve: Serve, home: Path) -> None:
    server = serve(after_login(said(LINES)))
    for _ in range(2):
        client = Reader(target(server.url), Secrets())
        rules(client)
        rules(client)
        client.close()
    assert server.logins() == 1
    assert server.asked[0].headers["x-rucio-username"] == "robot"
    assert server.asked[0].headers["x-rucio-password"] == PASSWORD
    assert {one.headers["x-rucio-auth-token"] for one in server.asked[1:]} == {"token-1"}
    assert {one.headers["x-rucio-account"] for one in server.asked} == {"lake"}
    (file,) = kept(home)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert PASSWORD not in file.read_text()


def test_connections_that_begin_together_log_in_once(serve: Serve, home: Path) -> None:
    def answer(asked: Asked) -> bytes:
        if not asked.path.startswith("/auth/"):
            return said(LINES)
        time.sleep(0.2)
        return token()

    server = serve(answer)
    readers = [Reader(target(server.url), Secrets()) for _ in range(8)]
    threads = [threading.Thread(target=rules, args=(reader,)) for reader in readers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (server.logins(), len(server.others()), len(kept(home))) == (1, 8, 1)


def test_without_a_cache_folder_each_logs_in(serve: Serve, home: Path) -> None:
    (home / ".cache" / "reconciler").mkdir(parents=True, exist_ok=True)
    (home / ".cache" / "reconciler" / "rucio").write_text("no folder")
    server = serve(after_login(said(LINES)))
    for _ in range(2):
        assert rules(Reader(target(server.url), Secrets())) == RULES
    assert server.logins() == 2


def test_logins_do_not_share_tokens(serve: Serve, home: Path) -> None:
    server = serve(after_login(said(LINES)))
    for more in ({}, {"account": "other"}, {"vo": "tst"}, {"auth": USERPASS | {"username": "else"}}):
        rules(Reader(target(server.url, **more), Secrets()))
    rules(Reader(target(serve(after_login(said(LINES))).url), Secrets()))
    assert (server.logins(), len(kept(home))) == (4, 5)


def test_a_token_that_is_refused_is_thrown_away(serve: Serve) -> None:
    tokens = iter(["old", "new"])

    def answer(asked: Asked) -> bytes:
        if asked.path.startswith("/auth/"):
            return token(next(tokens))
        if asked.headers["x-rucio-auth-token"] == "old":
            return refused("CannotAuthenticate", "401 Unauthorized")
        return said(LINES)

    server = serve(answer)
    for _ in range(2):
        assert rules(Reader(target(server.url), Secrets())) == RULES
    assert server.logins() == 2


def test_after_one_new_login_it_is_denied(serve: Serve) -> None:
    server = serve(after_login(said(LINES)))
    client = Reader(target(server.url), Secrets())
    rules(client)
    server.answer = after_login(refused("CannotAuthenticate", "401 Unauthorized"))
    assert type(refusal(client)) is Denied
    assert server.logins() == 2


def test_a_token_that_is_refused_is_not_kept_where_there_is_no_other(serve: Serve, home: Path) -> None:
    server = serve(after_login(said(LINES)))
    rules(Reader(target(server.url), Secrets()))
    server.answer = lambda _: refused("CannotAuthenticate", "401 Unauthorized")
    assert type(refusal(Reader(target(server.url), Secrets()))) is Denied
    assert kept(home) == []


def test_a_login_that_is_refused_is_denied(serve: Serve, home: Path) -> None:
    server = serve(lambda _: refused("CannotAuthenticate", "401 Unauthorized"))
    error = refusal(Reader(target(server.url), Secrets()))
    assert type(error) is Denied
    assert "robot" in str(error)
    assert (server.logins(), server.others(), kept(home)) == (1, [], [])


def test_a_login_that_breaks_is_a_matter_of_time(serve: Serve) -> None:
    assert type(refusal(Reader(target(serve(lambda _: b"").url), Secrets()))) is Transient
    in_trouble = serve(lambda _: said(b"", "text/html", "500 Internal Server Error"))
    assert type(refusal(Reader(target(in_trouble.url), Secrets()))) is Transient


@pytest.mark.parametrize("spoil", ["others can read it", "half a file", "soon over"])
def test_a_kept_token_that_can_not_be_used_is_asked_for_anew(spoil: str, serve: Serve, home: Path) -> None:
    server = serve(after_login(said(LINES)))
    rules(Reader(target(server.url), Secrets()))
    (file,) = kept(home)
    if spoil == "others can read it":
        file.chmod(0o644)
    elif spoil == "half a file":
        file.write_text(file.read_text()[:20])
    else:
        TokenFile(file).keep(Token("token-1", time.time() + 5))
    assert rules(Reader(target(server.url), Secrets())) == RULES
    assert server.logins() == 2


def test_a_given_token_is_used_as_it_is(serve: Serve, home: Path) -> None:
    server = serve(lambda _: said(LINES))
    oidc = target(server.url, auth={"type": "oidc", "token": "env:TOKEN"})
    assert rules(Reader(oidc, Secrets())) == RULES
    assert server.asked[0].headers["x-rucio-auth-token"] == "canary-of-the-token"
    assert kept(home) == []
    server.answer = lambda _: refused("CannotAuthenticate", "401 Unauthorized")
    assert type(refusal(Reader(oidc, Secrets()))) is Denied
    assert len(server.asked) == 2


def test_a_token_is_not_shown() -> None:
    assert "canary" not in f"{Token('canary')!r} {Token('canary')}"


# --- readers and writers ---------------------------------------------------------------------


def test_a_reader_sends_nothing_that_could_write(serve: Serve) -> None:
    server = serve(after_login(said(LINES)))
    client = Reader(target(server.url), Secrets())
    for method, arguments in {
        "add_replication_rule": ([{"scope": "s", "name": "n"}], 1, "A"),
        "update_replication_rule": ("1", {"comment": "x"}),
        "delete_replication_rule": ("1",),
        "add_dataset": ("s", "n"),
        "declare_bad_file_replicas": ([{"scope": "s", "name": "n"}], "x"),
    }.items():
        with pytest.raises(ReadOnly), client.rucio("a write") as rucio:
            getattr(rucio, method)(*arguments)
    assert server.asked == []


def test_what_is_posted_to_be_read_is_read(serve: Serve) -> None:
    server = serve(after_login(said(LINES)))
    with Reader(target(server.url), Secrets()).rucio("replicas") as rucio:
        assert list(rucio.list_replicas([{"scope": "s", "name": "n"}])) == RULES
    assert server.others() == ["POST /replicas/list"]


def test_a_writer_writes(serve: Serve) -> None:
    server = serve(after_login(said(b'["1"]', "application/json", "201 Created")))
    with Writer(target(server.url), Secrets()).rucio("a rule") as rucio:
        assert rucio.add_replication_rule([{"scope": "s", "name": "n"}], 1, "A") == ["1"]
    assert server.others() == ["POST /rules/"]


# --- TLS -------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for localhost, and its key beside it, that nobody signed."""
    file = tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-keyout", str(tmp_path / "key.pem"), "-out", str(file), "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    (tmp_path / "key.pem").chmod(0o600)
    return file


def _tls(certificate: Path) -> ssl.SSLContext:
    """A server that also asks its clients for a certificate, and takes the same one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def test_a_server_that_can_not_be_trusted_gets_nothing(certificate: Path, serve: Serve, home: Path) -> None:
    _netrc(home, "localhost")
    server = serve(after_login(said(LINES)), _tls(certificate))
    error = refusal(Reader(target(server.url), Secrets()))
    assert type(error) is Denied
    assert "`ca`" in error.hint
    assert server.asked == []
    assert rules(Reader(target(server.url, ca=str(certificate)), Secrets())) == RULES
    assert not [asked for asked in server.asked if "authorization" in asked.headers]
    gone = refusal(Reader(target(server.url, ca=str(certificate) + ".gone"), Secrets()))
    assert type(gone) is Denied


@pytest.mark.parametrize(
    ("answer", "sort"),
    [(b"", Transient), (b"HTTP/1.1 400 Bad Request\r\n\r\n", Denied)],
    ids=["none", "plain"],
)
def test_a_server_that_does_not_speak_tls(answer: bytes, sort: type[BackendError]) -> None:
    """Who hangs up may be starting; who answers without TLS is the wrong one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve_one() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(answer)

        threading.Thread(target=serve_one, daemon=True).start()
        url = f"https://localhost:{listener.getsockname()[1]}"
        assert type(refusal(Reader(target(url), Secrets()))) is sort


def test_a_certificate_is_a_login(certificate: Path, serve: Serve) -> None:
    server = serve(after_login(said(LINES)), _tls(certificate))
    key = certificate.with_name("key.pem")
    auth = {"type": "x509", "certificate": str(certificate), "key": str(key)}
    settings = target(server.url, ca=str(certificate), auth=auth)
    assert rules(Reader(settings, Secrets())) == RULES
    assert server.asked[0].path == "/auth/x509"
    key.chmod(0o644)
    with pytest.raises(Denied, match=r"others can read"):
        rules(Reader(target(server.url, ca=str(certificate), auth=auth, vo="tst"), Secrets()))
    key.unlink()
    with pytest.raises(Denied, match=r"there is no file"):
        rules(Reader(target(server.url, ca=str(certificate), auth=auth, vo="tst"), Secrets()))


# --- nobody else's configuration -------------------------------------------------------------

ELSEWHERE = """
import json, os, sys
from reconciler.drivers.rucio.client import Reader
from tests.unit.test_rucio_client import Secrets, rules, target
client = Reader(target(sys.argv[1]), Secrets())
assert not {"rucio", "requests"} & {*sys.modules}, "loaded before it is used"
before = list(sys.argv)
found = rules(client)
assert sys.argv == before
print(json.dumps(found))
"""
CONFIGURATION = """
[client]
rucio_host = http://127.0.0.1:9
auth_host = http://127.0.0.1:9
account = somebody
username = somebody
password = something
auth_type = x509
ca_cert = /nowhere
auth_token_file_path = {folder}/their-token
[policy]
package = no_such_package
[database]
default = sqlite:////nowhere
"""


def _netrc(home: Path, host: str) -> None:
    (home / ".netrc").write_text(f"machine {host} login somebody password something\n")
    (home / ".netrc").chmod(0o600)


@pytest.mark.parametrize("configuration", [CONFIGURATION, "this is no configuration"])
def test_the_configuration_of_a_person_is_not_ours(
    configuration: str, tmp_path: Path, serve: Serve, home: Path
) -> None:
    server = serve(after_login(said(LINES)))
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "rucio.cfg").write_text(configuration.format(folder=tmp_path))
    (tmp_path / "their-token").write_text("their-token")
    _netrc(home, "127.0.0.1")
    theirs = {
        "RUCIO_HOME": str(tmp_path),
        "RUCIO_CONFIG": str(tmp_path / "etc" / "rucio.cfg"),
        "RUCIO_ACCOUNT": "somebody",
        "RUCIO_AUTH_TYPE": "gss",
        "RUCIO_VO": "their",
        "RUCIO_CLIENT_MODE": "",
        "BEARER_TOKEN": "their-token",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "TMPDIR": str(tmp_path / "temporary"),
    }
    (tmp_path / "temporary").mkdir()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ELSEWHERE, server.url],
        cwd=ROOT,
        env={**os.environ, **theirs},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == RULES
    sent = [" ".join(asked.headers.values()) for asked in server.asked]
    assert len(sent) == 2
    assert not [line for line in sent if "somebody" in line or "their" in line]
    assert {asked.headers["x-rucio-vo"] for asked in server.asked} == {"def"}
    assert list((tmp_path / "temporary").iterdir()) == []


# --- settings --------------------------------------------------------------------------------

X509 = {"type": "x509", "certificate": "/a/cert.pem", "key": "/a/key.pem"}
GOOD = {
    "userpass": {},
    "oidc": {"auth": {"type": "oidc", "token": "file:/run/token"}},
    "x509": {"auth": X509, "ca": "/etc/grid-security/certificates"},
    "all": {"authUrl": "https://auth.example.org:443/rucio", "vo": "cms"},
    "this machine": {"url": "http://127.0.0.1:8080"},
}
BAD = {
    "no account": {"account": None},
    "in the clear": {"url": "http://rucio.example.org"},
    "a password in the address": {"url": "https://me:secret@rucio.example.org"},
    "a password that is none": {"auth": USERPASS | {"password": "secret"}},
    "a generated password": {"auth": USERPASS | {"password": "generated:password:a/b#c:1"}},
    "no password": {"auth": {"type": "userpass", "username": "robot"}},
    "two logins": {"auth": USERPASS | X509 | {"type": "userpass"}},
    "no key": {"auth": {"type": "x509", "certificate": "/a/cert.pem"}},
    "another login": {"auth": {"type": "gss"}},
    "another word": {"colour": "green"},
}


def settings(changes: Mapping[str, Any]) -> dict[str, Any]:
    whole = {"url": "https://rucio.example.org", "account": "lake", "auth": USERPASS, **changes}
    return {name: value for name, value in whole.items() if value is not None}


@pytest.mark.parametrize("case", [*GOOD, *BAD])
def test_settings_are_checked(case: str) -> None:
    changes: Any = {**GOOD, **BAD}[case]
    assert compiled(SETTINGS)(settings(changes)) == (case in GOOD)
