"""Section 14 and the commands that tell: pages on a branch, receivers, status and explain."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from reconciler.cli import main
from reconciler.errors import ExitCode
from tests.laws.lab import GENEROUS, Lab, base, rule
from tests.semantics.hands import patient, quiet, uploads


@contextmanager
def receiver() -> Iterator[tuple[str, list[Any]]]:
    """A loopback server that takes what it is posted."""
    got: list[Any] = []

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Taking)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_receivers_hear_of_changes_only(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as (url, got), Lab() as lab:
        monkeypatch.setenv("HOOK", url)
        lab.commit(
            {**base(settings=GENEROUS + "notify: [{webhook: 'env:HOOK'}]\n"), **uploads("u")}, whole=True
        )
        lab.apply()
        lab.apply()
        assert not got
        lab.weather("alba", unauthorized=True)
        lab.apply()
        lab.apply()
        assert len(got) == 1
        assert "Provider/alba" in json.dumps(got[0])
        lab.clear()
        lab.apply()
        quiet(lab)
        assert len(got) == 2


def test_pages_go_to_their_branch_once() -> None:
    with Lab() as lab:
        settings = GENEROUS + "publish: {branch: status}\n"
        lab.commit({**base(settings=settings), **uploads("u")}, whole=True)
        head = lab.git("rev-parse", "main")
        lab.apply()
        files = lab.git("ls-tree", "-r", "--name-only", "status").split()
        assert {"index.md", "status.json"} <= {name.rsplit("/", 1)[-1] for name in files}
        assert "Ready" in lab.git("show", f"status:{files[0]}") + lab.git("show", f"status:{files[-1]}")
        assert lab.git("rev-parse", "main") == head
        assert lab.git("status", "--porcelain") == ""
        quiet(lab)
        count = int(lab.git("rev-list", "--count", "status"))
        quiet(lab)
        assert int(lab.git("rev-list", "--count", "status")) <= count + 1


def test_status_and_explain_say_why_since_when_who_and_where(capsys: pytest.CaptureFixture[str]) -> None:
    with Lab({**uploads("ready"), **uploads("locked", "going", group="b", metadata="locked: true")}) as lab:
        lab.apply()
        lab.drop("software/b-locked.yaml")
        lab.commit(
            {
                **uploads("asleep", metadata="suspend: {reason: summer break}"),
                **uploads("bad", sha256="short"),
                **uploads("refused"),
                "data/few.yaml": rule("few", copies=9),
                **uploads("unseen", target="cnaf"),
            }
        )
        lab.weather("alba", failures=[{"error": "Rejected", "operation": "create", "ref": "*/refused"}])
        lab.weather("cnaf", unauthorized=True)
        assert patient(lab).exit_code is ExitCode.INVALID
        expected = {
            "SoftwareUpload/a/asleep": ("Suspended", "summer break", "software/a-asleep.yaml:1"),
            "SoftwareUpload/a/bad": ("Invalid", "author", "software/a-bad.yaml:"),
            "SoftwareUpload/a/refused": ("Rejected", "author", "next try", "software/a-refused.yaml:1"),
            "SoftwareUpload/b/locked": ("Locked", "operator"),
            "DataRule/a/few": ("Waiting", "9 copies", "author", "data/few.yaml:1"),
            "SoftwareUpload/a/unseen": (
                "Blind",
                "TargetBlind",
                "operator of the target",
                "software/a-unseen.yaml:1",
            ),
        }
        for name, said in expected.items():
            for command in ("status", "explain"):
                assert main([command, name, "--repo", str(lab.repository)]) == 0
                out = capsys.readouterr().out
                assert not [piece for piece in said if piece not in out], (command, name, out)
                assert "since 20" in out, (command, name, out)
