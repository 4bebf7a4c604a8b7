"""A proxy before a Rucio that does harm on request: errors, too many requests, answers that break off."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import urlsplit

ERROR, BUSY, HALF, SILENT, LOST = "500", "429", "half", "silent", "lost"
FAULTS: Final = (ERROR, BUSY, HALF, SILENT, LOST)
_SECONDS: Final = 60
_OURS: Final = ("transfer-encoding", "content-length", "connection", "server", "date")


class Proxy:
    """Listens at `url`. `fault` says of each request (method, path) what happens; empty: it is passed on.

    ERROR and BUSY are answered by the proxy itself, and SILENT closes the connection: Rucio never hears of
    it. HALF and LOST are done by Rucio, and the answer breaks off, or is another one.
    """

    def __init__(self, upstream: str) -> None:
        self.fault: Callable[[str, str], str] = lambda _method, _path: ""
        self.done: list[str] = []  # the faults that happened
        self.host = urlsplit(upstream).netloc
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def clear(self) -> None:
        self.fault = lambda _method, _path: ""

    def ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any, bytes]:
        """Pass a request on: status, headers and the whole body."""
        connection = http.client.HTTPConnection(self.host, timeout=_SECONDS)
        try:
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()


@contextmanager
def proxy(upstream: str) -> Iterator[Proxy]:
    """One that listens until the end."""
    made = Proxy(upstream)
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
        thread.join()


def _handler(made: Proxy) -> type[BaseHTTPRequestHandler]:
    methods = {f"do_{method}": _Handler.handle_any for method in ("GET", "POST", "PUT", "DELETE")}
    return type("Handler", (_Handler,), {"made": made, **methods})


class _Handler(BaseHTTPRequestHandler):
    """One connection to the proxy `made`."""

    protocol_version = "HTTP/1.1"
    made: Proxy

    def handle_any(self) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # who asked was killed, or gave up
            self._one(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def _one(self, body: bytes) -> None:
        fault = self.made.fault(self.command, self.path)
        if fault:
            self.made.done.append(fault)
        if fault == SILENT:
            self.close_connection = True
        elif fault in (ERROR, BUSY):
            self._say(int(fault), [("Retry-After", "0"), ("Content-Type", "text/html")], b"<h1>no</h1>")
        else:
            self._passed(body, fault)

    def _passed(self, body: bytes, fault: str) -> None:
        headers = {name: text for name, text in self.headers.items() if name.lower() != "host"}
        status, told, answer = self.made.ask(self.command, self.path, body, headers)
        kept = [(name, text) for name, text in told if name.lower() not in _OURS]
        if fault == LOST:
            self._say(500, [("Content-Type", "text/html")], b"<h1>lost</h1>")
        else:
            self._say(status, kept, answer, half=fault == HALF)

    def _say(self, status: int, headers: list[tuple[str, str]], body: bytes, *, half: bool = False) -> None:
        self.send_response(status)
        for name, text in headers:
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(body) + half))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if half else body)
        self.close_connection = half

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  the name of the base class
        """Nobody reads it."""
