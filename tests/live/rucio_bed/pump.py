"""Rucio's daemons, a pass at a time, as one process: run by the server's interpreter, told over HTTP.

`python pump.py <port> [--new]`; `--new` makes the tables, the VO and the account root first. `POST /` with
`{"passes": 1, "only": [names]}` runs every daemon once per pass, in the order in which a rule needs them, and
answers `{"seconds": …, "errors": [...]}` when all is done. The released daemons are called, with `once=True`.
"""

from __future__ import annotations

import functools
import importlib
import json
import logging
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Final

# name of the daemon → its module below rucio.daemons, and what its `run` is told beside `once`
DAEMONS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "transmogrifier": ("transmogrifier.transmogrifier", {}),
    "judge-injector": ("judge.injector", {}),
    "judge-evaluator": ("judge.evaluator", {}),
    "judge-cleaner": ("judge.cleaner", {}),
    "judge-repairer": ("judge.repairer", {}),
    "conveyor-submitter": ("conveyor.submitter", {"group_bulk": 100}),
    "conveyor-poller": ("conveyor.poller", {"older_than": 0}),
    "conveyor-finisher": ("conveyor.finisher", {}),
    "abacus-account": ("abacus.account", {}),
    "abacus-rse": ("abacus.rse", {}),
    "abacus-collection-replica": ("abacus.collection_replica", {}),
    "undertaker": ("undertaker.undertaker", {}),
    "reaper": ("reaper.reaper", {}),
}
_QUEUE: Final = "db_workqueue"


def make_database() -> None:
    """The tables, the default VO, and the account root with the identity that the configuration names."""
    database = importlib.import_module("rucio.db.sqla.util")
    database.build_database()
    database.create_base_vo()
    database.create_root_account()


def loaded() -> Mapping[str, Callable[[], None]]:
    """Every daemon as something to call."""
    common = importlib.import_module("rucio.daemons.common")
    modules = {name: importlib.import_module(f"rucio.daemons.{path}") for name, (path, _) in DAEMONS.items()}
    queue = _without_waiting(getattr(common, _QUEUE))
    for module in (common, *modules.values()):
        if hasattr(module, _QUEUE):
            setattr(module, _QUEUE, queue)
    return {
        name: functools.partial(modules[name].run, once=True, **told) for name, (_, told) in DAEMONS.items()
    }


def _without_waiting(queue: Callable[..., Any]) -> Callable[..., Any]:
    """Daemons wait 1 to 10 seconds for peers to share work with, also when they run once; here is none."""

    @functools.wraps(queue)
    def without_waiting(**told: Any) -> Any:
        return queue(**{**told, "partition_wait_time": 0})

    return without_waiting


class Criticals(logging.Handler):
    """What daemons log as critical: an exception in one of their threads."""

    def __init__(self) -> None:
        super().__init__(logging.CRITICAL)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(logging.Formatter().format(record))


@contextmanager
def _listening() -> Iterator[list[str]]:
    handler = Criticals()
    logging.getLogger().addHandler(handler)
    try:
        yield handler.said
    finally:
        logging.getLogger().removeHandler(handler)


def run(daemons: Mapping[str, Callable[[], None]], passes: int, only: Collection[str]) -> dict[str, Any]:
    """Passes over all daemons, or over those named. `errors` is what went wrong in which."""
    errors: list[str] = []
    began = time.monotonic()
    for name in [name for _ in range(passes) for name in DAEMONS if not only or name in only]:
        with _listening() as said:
            try:
                daemons[name]()
            except Exception as error:  # noqa: BLE001  whatever it is, the test is told
                said.append(f"{type(error).__name__}: {error}")
        errors += [f"{name}: {line}" for line in said]
    return {"seconds": round(time.monotonic() - began, 3), "errors": errors}


def serve(port: int, daemons: Mapping[str, Callable[[], None]]) -> None:
    """Answer until killed, one request after the other."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps(run(daemons, asked["passes"], asked["only"])).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  the name of the base class
            """The log is for the daemons."""

    HTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    if "--new" in sys.argv:
        make_database()
    serve(int(sys.argv[1]), loaded())
