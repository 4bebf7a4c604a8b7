"""A transfer service for tests: what Rucio uses of FTS3's REST interface, and a way to tell it things.

`python -m tests.live.rucio_bed.transfers <port>`. It really copies, between `file://` URLs. The interface is
that of FTS3 (https://fts3-docs.web.cern.ch, "FTS3 REST": docs/api.md and docs/bulk.md of fts-rest), as far as
Rucio's transfertool/fts3.py asks for it:

    GET /                 version            POST   /jobs         submit → {"job_id"}
    GET /whoami           who asks           GET    /jobs/<ids>   jobs with their files; 207 or 404 if unknown
    POST /jobs/<id>       new priority       DELETE /jobs/<id>    cancel

Ours are `PUT /wishes` (a list of `Wish`, which replaces the last one), and `GET /jobs`: all there ever was.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.live.rucio_bed.jobs import Table, Wish

_WHO = {
    "user_dn": "/CN=tests",
    "vos": ["tests"],
    "delegation_id": "0" * 16,
    "base_id": "00000000-0000-0000-0000-000000000000",
}
_VERSION = {"api": {"major": 3, "minor": 12, "patch": 0}, "schema": {"major": 8, "minor": 0, "patch": 0}}


class Service(ThreadingHTTPServer):
    """The service on a port of the loop-back interface."""

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.table = Table()
        threading.Thread(target=self.table.work, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Service
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = urlsplit(self.path).path.strip("/")
        if path == "jobs":
            self._answer(
                200, [job.told() | {"params": job.params} for job in list(self.server.table.jobs.values())]
            )
        elif path.startswith("jobs/"):
            self._answer_jobs(self.server.table.look(self._identities()))
        else:
            self._answer(200, _WHO if path == "whoami" else _VERSION)

    def do_POST(self) -> None:
        asked = self._asked()
        try:
            if self._identities():
                said = self.server.table.modify(self._identities()[0], asked.get("params") or {})
            else:
                said = {"job_id": self.server.table.submit(asked)}
        except (KeyError, IndexError, ValueError) as error:
            self._answer(400, {"status": "400 Bad Request", "message": repr(error)})
        else:
            self._answer(200, said)

    def do_DELETE(self) -> None:
        self._answer_jobs(self.server.table.cancel(self._identities()))

    def do_PUT(self) -> None:
        self.server.table.wish([Wish(**wish) for wish in self._asked()])
        self._answer(200, [asdict(wish) for wish in self.server.table.wishes])

    def _identities(self) -> list[str]:
        return [one for one in urlsplit(self.path).path.removeprefix("/jobs").strip("/").split(",") if one]

    def _asked(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer_jobs(self, jobs: list[dict[str, Any]]) -> None:
        """One job stands alone; several are a list, in which unknown ones say so."""
        known = [job["http_status"] == "200 Ok" for job in jobs]
        if len(jobs) == 1:
            self._answer(200 if all(known) else 404, jobs[0])
        else:
            self._answer(200 if all(known) else 207, jobs)

    def _answer(self, status: int, said: Mapping[str, Any] | list[Any]) -> None:
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  the name of the base class
        """GET /jobs tells what was done."""


if __name__ == "__main__":
    Service(int(sys.argv[1])).serve_forever()
