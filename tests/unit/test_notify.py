"""Who is told what, and how: against real HTTP and mail servers on the loop-back interface."""

from __future__ import annotations

import email
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from reconciler.model import Condition, Record, Ref, Source, Word
from reconciler.settings import Notify
from reconciler.telling import notify as module
from reconciler.telling.notify import News, mail_text, news, notify, subject, webhook_body

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
A = Ref("DataRule", "cms", "higgs")
B = Ref("SoftwareUpload", "atlas", "root")
PART = A.with_part("recas-disk", "replica")
RECORD = Record("r-1", "c0ffee", "sha256:00", NOW, NOW, (), {}, {}, {}, 5)
Conditions = Mapping[Ref, Condition]


def standing(
    ref: Ref, word: Word = Word.READY, reason: str = "", message: str = "", who: str = ""
) -> Condition:
    return Condition(ref, word, reason, message, who, Source("data/higgs.yaml", 3), NOW)


def conditions(*entries: Condition) -> Conditions:
    return {entry.ref: entry for entry in entries}


READY = conditions(standing(A), standing(B))
FAILED = conditions(standing(A, Word.FAILED, "Denied", "403", "operator of the target"), standing(B))


@dataclass
class Web:
    """A web server that answers with `status` and keeps what it was told."""

    url: str = ""
    status: int = 204
    location: str = ""
    seconds: float = 0.0
    told: list[Any] = field(default_factory=list)


@contextmanager
def web() -> Iterator[Web]:
    kept = Web()

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.told.append((self.path, self.headers["Content-Type"], json.loads(body)))
            time.sleep(kept.seconds)
            self.send_response(kept.status, "the server repeats s3cret-token")
            if kept.location:
                self.send_header("Location", kept.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST  # noqa: N815  the name that the library looks for

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    kept.url = f"http://127.0.0.1:{server.server_port}/hooks/s3cret-token"
    try:
        yield kept
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def mail_server(refusal: str = "") -> Iterator[tuple[int, list[str]]]:
    """A mail server without encryption: (port, the messages it took). It refuses one command, if told."""
    listener = socket.create_server(("127.0.0.1", 0))
    messages: list[str] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb", buffering=0) as stream:
                converse(stream)

    def converse(stream: Any) -> None:
        stream.write(b"220 here\r\n")
        while line := stream.readline():
            verb = line[:4].decode().upper()
            if refusal and verb == refusal:
                stream.write(b"550 no such user s3cret-token\r\n")
            elif verb == "DATA":
                stream.write(b"354 go on\r\n")
                lines = iter(stream.readline, b".\r\n")
                messages.append(b"".join(lines).decode())
                stream.write(b"250 taken\r\n")
            elif verb == "QUIT":
                stream.write(b"221 bye\r\n")
                return
            else:
                stream.write(b"250 yes\r\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], messages
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def tell(receiver: Notify, old: Conditions = READY, new: Conditions = FAILED) -> tuple[str, ...]:
    return notify([receiver], RECORD, old, new, owner="lab")


# --- what is news ---


def test_only_changes_are_news() -> None:
    assert [one.ref for one in news(READY, FAILED)] == [A]
    assert news(FAILED, FAILED) == ()


def test_another_message_is_no_news() -> None:
    other = {**FAILED, A: replace(FAILED[A], message="401", attempts=7)}
    assert news(FAILED, other) == ()
    assert [one.ref for one in news(FAILED, {**FAILED, A: replace(FAILED[A], reason="Rejected")})] == [A]


def test_what_comes_and_goes_is_news() -> None:
    only_a = conditions(standing(A))
    assert news(only_a, READY) == (News(B, None, READY[B]),)
    assert news(READY, only_a) == (News(B, READY[B], None),)


def test_a_lost_store_tells_only_what_is_not_ready() -> None:
    assert [one.ref for one in news({}, FAILED)] == [A]
    assert news({}, READY) == ()


def test_an_object_speaks_for_its_parts() -> None:
    new = {**FAILED, PART: standing(PART, Word.FAILED, "Denied")}
    assert [one.ref for one in news({**READY, PART: standing(PART)}, new)] == [A]
    alone = {**READY, PART: standing(PART, Word.FAILED, "Denied")}
    assert [one.ref for one in news(READY, alone)] == [PART]
    assert [one.ref for one in news({**READY, PART: standing(PART)}, conditions(standing(B)))] == [A]


# --- webhooks ---


def test_a_webhook_hears_of_a_change_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with web() as server:
        monkeypatch.setenv("HOOK", server.url)
        assert tell(Notify(webhook="env:HOOK")) == ()
        assert tell(Notify(webhook="env:HOOK"), FAILED, FAILED) == ()
    ((path, kind, body),) = server.told
    assert (path, kind) == ("/hooks/s3cret-token", "application/json")
    assert body["schemaVersion"] == 1
    assert (body["owner"], body["run"], body["revision"], body["exitCode"]) == ("lab", "r-1", "c0ffee", 5)
    assert (body["summary"], body["more"]) == ({"Failed": 1}, 0)
    assert body["changes"] == [
        {
            "ref": "DataRule/cms/higgs",
            "group": "cms",
            "before": {"status": "Ready", "reason": ""},
            "after": {"status": "Failed", "reason": "Denied"},
            "message": "403",
            "who": "operator of the target",
            "since": "2026-03-01T12:00:00+00:00",
            "nextTry": None,
            "source": {"path": "data/higgs.yaml", "line": 3},
        }
    ]


def test_a_receiver_hears_of_its_groups_only(monkeypatch: pytest.MonkeyPatch) -> None:
    both = conditions(standing(A, Word.FAILED), standing(B, Word.HELD))
    with web() as server:
        monkeypatch.setenv("HOOK", server.url)
        assert tell(Notify(webhook="env:HOOK", groups=("atlas",)), READY, both) == ()
        assert tell(Notify(webhook="env:HOOK", groups=("other",)), READY, both) == ()
    assert [change["ref"] for *_, body in server.told for change in body["changes"]] == [str(B)]


def test_many_changes_are_one_bounded_message(monkeypatch: pytest.MonkeyPatch) -> None:
    refs = [Ref("DataRule", "cms", f"rule-{number}") for number in range(5000)]
    new = conditions(*(standing(ref, Word.FAILED, "Denied", "x" * 9000) for ref in refs))
    with web() as server:
        monkeypatch.setenv("HOOK", server.url)
        assert tell(Notify(webhook="env:HOOK"), READY, {**READY, **new}) == ()
    ((_, _, body),) = server.told
    assert (len(body["changes"]), body["more"]) == (module.LISTED, 5000 - module.LISTED)
    assert len(json.dumps(body)) < 250_000
    assert len(mail_text(RECORD, "lab", news(READY, {**READY, **new}))) < 250_000


@pytest.mark.parametrize("status", [301, 302, 307, 308, 403, 500])
def test_a_refusal_is_one_line_without_the_address(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    with web() as server, web() as elsewhere:
        server.status, server.location = status, elsewhere.url if status < 400 else ""
        monkeypatch.setenv("HOOK", server.url)
        (line,) = tell(Notify(webhook="env:HOOK"))
    assert elsewhere.told == []
    assert len(server.told) == 1
    assert line.startswith("notify env:HOOK: answered with status ")
    assert str(status) in line
    assert "s3cret" not in line
    assert "127.0.0.1" not in line


def test_who_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("HOOK", f"http://127.0.0.1:{port}/s3cret")
    monkeypatch.setenv("SMTP", f"smtp://127.0.0.1:{port}")
    assert tell(Notify(webhook="env:HOOK")) == ("notify env:HOOK: Connection refused",)
    receiver = Notify(mail="ops@example.org", smtp="env:SMTP")
    assert tell(receiver) == ("notify ops@example.org: Connection refused",)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "s3cret", "http://[s3cret", "", "http://127.0.0.1:s3cret/"]
)
def test_what_is_no_url_is_one_line_without_it(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("HOOK", url)
    (line,) = tell(Notify(webhook="env:HOOK"))
    assert line.startswith("notify env:HOOK: ")
    assert "s3cret" not in line


def test_an_address_in_git_is_refused() -> None:
    (line,) = tell(Notify(webhook="http://127.0.0.1:1/s3cret-token"))
    assert "expected a reference" in line
    assert "s3cret" not in line


def test_who_never_answers_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEADLINE", 0.3)
    with web() as slow, web() as quick:
        slow.seconds = 2.0
        monkeypatch.setenv("SLOW", slow.url)
        monkeypatch.setenv("QUICK", quick.url)
        started = time.monotonic()
        receivers = [Notify(webhook="env:SLOW"), Notify(webhook="env:QUICK")]
        (line,) = notify(receivers, RECORD, READY, FAILED, owner="lab")
        assert time.monotonic() - started < 1.5
    assert line.startswith("notify env:SLOW: no answer")
    assert len(quick.told) == 1


@pytest.mark.parametrize(
    "text",
    ['{"hook": "URL", "other": 1}', "# comment\nother: 1\nhook: URL\n", "other=1\nhook=URL\n", 'hook: "URL"'],
)
def test_an_address_from_a_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "secrets"
    with web() as server:
        file.write_text(text.replace("URL", server.url + "?a=b"))
        assert tell(Notify(webhook=f"file:{file}#hook")) == ()
        file.write_text(server.url + "\n")
        assert tell(Notify(webhook=f"file:{file}")) == ()
        (line,) = tell(Notify(webhook=f"file:{file}#missing"))
        assert "no entry of that name" in line
        (line,) = tell(Notify(webhook=f"file:{tmp_path}/nowhere#hook"))
        assert "can't be read" in line
    assert len(server.told) == 2


# --- mail ---


def test_a_mail_says_what_changed_and_who_must_act(monkeypatch: pytest.MonkeyPatch) -> None:
    with mail_server() as (port, messages):
        monkeypatch.setenv("SMTP", f"smtp://127.0.0.1:{port}")
        receiver = Notify(mail="ops@example.org", smtp="env:SMTP", sender="reconciler@example.org")
        assert tell(receiver) == ()
        assert tell(receiver, FAILED, FAILED) == ()
    (message,) = (email.message_from_string(text, policy=default) for text in messages)
    assert (message["To"], message["From"]) == ("ops@example.org", "reconciler@example.org")
    assert message["Subject"] == "[reconciler lab] 1 Failed"
    text = message.get_content()
    assert "Failed (was Ready): DataRule/cms/higgs Denied" in text
    assert "    403" in text
    assert "written in data/higgs.yaml:3" in text
    assert "who must act: operator of the target" in text


@pytest.mark.parametrize("refusal", ["MAIL", "RCPT", "DATA"])
def test_a_mail_server_that_refuses_is_one_line(monkeypatch: pytest.MonkeyPatch, refusal: str) -> None:
    with mail_server(refusal) as (port, messages):
        monkeypatch.setenv("SMTP", f"127.0.0.1:{port}")
        (line,) = tell(Notify(mail="ops@example.org", smtp="env:SMTP"))
    assert line.startswith("notify ops@example.org: the mail server ")
    assert "s3cret" not in line
    assert messages == []


def test_a_password_is_never_sent_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    with mail_server() as (port, messages):
        monkeypatch.setenv("SMTP", f"smtp://lab:s3cret@127.0.0.1:{port}")
        (line,) = tell(Notify(mail="ops@example.org", smtp="env:SMTP"))
    assert "no encryption" in line
    assert "s3cret" not in line
    assert messages == []


def test_hostile_text_begins_no_line_and_no_header() -> None:
    message = "boom\nSubject: fake\r\n\x1b[31mReady: 0 Failed\u202e"
    told = news({}, conditions(standing(A, Word.FAILED, "Denied", message)))
    lines = mail_text(RECORD, "lab", told).splitlines()
    assert not [line for line in lines if line.startswith(("Subject", "Ready", "\x1b"))]
    assert all(line.isprintable() for line in lines)
    assert subject("lab", told) == "[reconciler lab] 1 Failed"
    assert webhook_body(RECORD, "lab", told)["changes"][0]["message"] == message
