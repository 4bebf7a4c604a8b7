"""A repository whose targets are one Rucio, worked on in this process: its children apply, and may be killed.

A run happens in a forked child, so that it costs no start and can be ended by SIGKILL before or after any of
its writes. Sorts of writes: requests to Rucio, and what the kernel is asked to change on this machine.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import yaml

import reconciler.run
from reconciler import registry
from reconciler.line.session import Request
from reconciler.model import Plan, Word
from tests.kill.sample import CALLS
from tests.live.lake_at_rucio import OWNER, Lake
from tests.live.rucio_bed.bed import Bed

READINGS: Final = ("/replicas/list", "/replicas/datasets_bulk", "/dids/bulkmeta", "/dids/bulkfiles")
AT_RUCIO, HERE = "rucio", "here"  # sorts of writes
Row = dict[str, Any]
Approval = Callable[[Plan], tuple[str, ...]]  # a plan → the digests that are approved


@dataclass(frozen=True, slots=True)
class Ran:
    """How a run ended. `held`: Ref → why; `left`: what could still be done; `waiting`: Ref → how it stands.

    `code` is None where it was killed. What is Ready is not in `waiting`. `writes` counts by sort.
    """

    code: int | None
    held: Mapping[str, str] = field(default_factory=dict)
    left: tuple[str, ...] = ()
    blind: tuple[str, ...] = ()
    waiting: Mapping[str, str] = field(default_factory=dict)
    writes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Death:
    """The so-many-th write of a sort at which a run dies: before it, or after it when nobody knows yet."""

    sort: str
    number: int
    after: bool = False


class Lab(Lake):
    """A lake whose repository is the clone itself. `url` is where the targets say that their Rucio is."""

    def __init__(self, bed: Bed, root: Path, account: str, owner: str = OWNER) -> None:
        preload()
        super().__init__(bed, root, account)
        self.url, self.owner = bed.url, owner
        self.uploads = self.home / ".local/share/reconciler" / owner / "uploads"
        self.password = bed.password(account)
        self.client = bed.client()

    # -- authors -----------------------------------------------------------------------------

    def declare(self, path: str, kind: str, name: str, spec: Mapping[str, Any], **metadata: Any) -> None:
        """Write one object."""
        head = {"apiVersion": "reconciler/v1", "kind": kind, "metadata": {"name": name, **metadata}}
        self.write(path, yaml.safe_dump({**head, "spec": dict(spec)}))

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "url": self.url}

    def commit(self, message: str = "change") -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)

    # -- runs --------------------------------------------------------------------------------

    def applied(self, *, approve: Approval | None = None, death: Death | None = None) -> Ran:
        """One apply. `approve` says what a person agrees to, who has seen the plan."""
        return in_child(lambda: self._apply(approve), death)

    def looked(self) -> Ran:
        """One plan."""
        return in_child(self._plan, None)

    def _request(self, **more: Any) -> Request:
        for name in [name for name in os.environ if name.startswith(("XDG_", "RUCIO"))]:
            del os.environ[name]
        os.environ |= {"HOME": str(self.home), "RUCIO_PASSWORD": self.password}
        return Request(str(self.clone), retry=True, wait=timedelta(seconds=20), **more)

    def _plan(self) -> dict[str, Any]:
        planned = reconciler.run.plan(self._request())
        return {**_told(planned.plan, planned.conditions), "code": int(planned.exit_code)}

    def _apply(self, approve: Approval | None) -> dict[str, Any]:
        digests: tuple[str, ...] = ()
        if approve:
            digests = approve(reconciler.run.plan(self._request()).plan)
        if digests:  # what is approved is all that such a run does
            reconciler.run.apply(self._request(approve=digests))
        applied = reconciler.run.apply(self._request())
        return {**_told(applied.left, applied.record.conditions), "code": int(applied.exit_code)}

    def forget(self) -> None:
        """The store is lost."""
        for path in (self.home / ".local/state").rglob("*.sqlite*"):
            path.unlink()

    # -- the world ---------------------------------------------------------------------------

    def rows(self) -> dict[str, Row]:
        """All rules of this Rucio, by their ids, in every field."""
        return {rule["id"]: rule for rule in self.client.list_replication_rules()}

    def is_ours(self, rule: Row) -> bool:
        return bool(rule["comments"] == f"rc1.{self.owner}")

    def standing(self) -> list[Row]:
        """Our rules that are not on their way out."""
        found = [rule for rule in self.rows().values() if self.is_ours(rule) and rule["expires_at"] is None]
        return sorted(found, key=lambda rule: rule["id"])


def meta_of(rule: Row) -> dict[str, Any]:
    """What one of our rules says of itself."""
    text: Any = rule["meta"]
    while isinstance(text, str):
        text = json.loads(text)
    return dict(text)


def _told(plan: Any, conditions: Any) -> dict[str, Any]:
    return {
        "held": {str(change.ref): change.hold.reason for change in plan.held},
        "left": [f"{change.action} {change.ref}" for change in plan.open],
        "blind": sorted(plan.blind),
        "waiting": {
            str(ref): f"{one.word} {one.reason}: {one.message}"
            for ref, one in conditions.items()
            if one.word is not Word.READY
        },
    }


def preload() -> None:
    """Import in the parent what every child would import again."""
    for name in ("rule", "rse", "upload"):
        assert name in registry.primitives()
    registry.driver("rucio")
    importlib.import_module("reconciler.drivers.rucio.connection")


def in_child(work: Callable[[], dict[str, Any]], death: Death | None) -> Ran:
    """Do the work in a forked child, which dies there."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside the threads of pytest-xdist
        child = os.fork()
    if child == 0:
        os.close(reading)
        _child(work, death, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as answers:
        said = answers.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return Ran(None)
    told = json.loads(said)
    assert "error" not in told, told["error"]
    return Ran(**{**told, "left": tuple(told["left"]), "blind": tuple(told["blind"])})


def _child(work: Callable[[], dict[str, Any]], death: Death | None, answers: int) -> None:
    writes = Writes(death)
    try:
        writes.begin()
        told = {**work(), "writes": writes.counted}
    except BaseException as error:  # noqa: BLE001  the parent is told
        told = {"error": f"{error!r}\n{traceback.format_exc()}"}
    with os.fdopen(answers, "wb") as file:
        file.write(json.dumps(told).encode())
    os._exit(0)


class Writes:
    """Counts writes, by sort, and kills at one of them."""

    def __init__(self, death: Death | None) -> None:
        self.death = death
        self.counted = {AT_RUCIO: 0, HERE: 0}

    def begin(self) -> None:
        sys.addaudithook(self._event)
        session = importlib.import_module("requests").Session
        send = session.request

        def counting(its: Any, method: str, url: str, **told: Any) -> Any:
            if method == "GET" or url.partition("?")[0].endswith(READINGS):
                return send(its, method, url, **told)
            number = self._one(AT_RUCIO)
            answer = send(its, method, url, **told)
            self._die(AT_RUCIO, number, after=True)
            return answer

        session.request = counting

    def _event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in CALLS or (event == "open" and _writes(arguments)):
            self._one(HERE)

    def _one(self, sort: str) -> int:
        self.counted[sort] += 1
        number = self.counted[sort]
        self._die(sort, number, after=False)
        return number

    def _die(self, sort: str, number: int, *, after: bool) -> None:
        if self.death == Death(sort, number, after=after):
            os.kill(os.getpid(), signal.SIGKILL)


def _writes(arguments: tuple[Any, ...]) -> bool:
    path, mode, flags = arguments
    if isinstance(path, int) or str(path).startswith("/dev/null"):
        return False
    if mode is not None:
        return any(letter in mode for letter in "wax+")
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
