"""What the transfer service has to do, and what becomes of it: jobs, and the wishes of tests.

States and the shape of a job are those of FTS3 (fts-rest, docs/api.md; Rucio's transfertool/fts3.py says
which keys it reads). A file with several sources has a row for each: the first that succeeds wins, as
docs/bulk.md says.
"""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from tests.live.rucio_bed.copying import Order, copy

HOLD: Final = "hold"
DELAY: Final = "delay"
FAIL: Final = "fail"
CORRUPT: Final = "corrupt"
CORRUPT_SILENTLY: Final = "corrupt silently"
WAITING: Final = ("SUBMITTED", "ACTIVE")
_SETTLING: Final = 30.0  # seconds that a question waits for copying under way


@dataclass(frozen=True, slots=True)
class Wish:
    """What a test wants of transfers whose destination holds a match of `pattern`, a regular expression.

    `what` is hold, delay (by `seconds`), fail (with `reason`), corrupt (other bytes arrive, which the
    checksum shows), or corrupt silently (they do after it was checked).
    """

    what: str
    pattern: str
    seconds: float = 0.0
    reason: str = ""

    def __post_init__(self) -> None:
        re.compile(self.pattern)


@dataclass(slots=True)
class Row:
    """One way to make one copy. Times are seconds since the epoch; 0: not yet."""

    job: str
    index: int
    source: str
    destination: str
    wanted: Mapping[str, Any]
    submitted: float
    state: str = "SUBMITTED"
    reason: str = ""
    began: float = 0.0
    ended: float = 0.0

    def end(self, state: str, reason: str = "") -> None:
        self.state, self.reason, self.ended = state, reason, time.time()
        self.began = self.began or self.ended

    def told(self) -> dict[str, Any]:
        """As FTS3 shows a file of a job."""
        return {
            "file_index": self.index,
            "source_surl": self.source,
            "dest_surl": self.destination,
            "file_state": self.state,
            "reason": self.reason or None,
            "file_metadata": self.wanted["metadata"],
            "start_time": _moment(self.began),
            "finish_time": _moment(self.ended),
            "staging_start": None,
            "staging_finished": None,
        }


@dataclass(slots=True)
class Job:
    """What was submitted together."""

    id: str
    params: dict[str, Any]
    rows: list[Row]

    @property
    def state(self) -> str:
        files = {index: {row.state for row in self.rows if row.index == index} for index in self._indexes()}
        states = {_state_of(rows) for rows in files.values()}
        if len(states) == 1:
            return states.pop()
        return "ACTIVE" if states & {*WAITING} else "FINISHEDDIRTY"

    def _indexes(self) -> list[int]:
        return sorted({row.index for row in self.rows})

    def told(self) -> dict[str, Any]:
        """As FTS3 shows a job."""
        return {
            "job_id": self.id,
            "job_state": self.state,
            "job_type": "N",
            "job_metadata": self.params.get("job_metadata") or {},
            "priority": self.params.get("priority", 3),
            "http_status": "200 Ok",
            "files": [row.told() for row in self.rows],
        }


def _state_of(rows: set[str]) -> str:
    """What became of one file, by the states of its rows."""
    order = ("ACTIVE", "SUBMITTED", "FINISHED", "FAILED", "CANCELED")
    return next(state for state in order if state in rows)


def _moment(seconds: float) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") if seconds else None


@dataclass
class Table:
    """All jobs since the start. One thread copies (`work`), any number of others ask."""

    jobs: dict[str, Job] = field(default_factory=dict)
    wishes: list[Wish] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def submit(self, document: Mapping[str, Any]) -> str:
        """Take a job in, and say its id. Raises ValueError where it is one that we do not do."""
        params = document.get("params") or {}
        if params.get("multihop"):
            raise ValueError("multihop: this stand-in copies from a source to a destination only")
        job = Job(str(uuid.uuid4()), params, [])
        for index, wanted in enumerate(document["files"]):
            destination = wanted["destinations"][0]
            for source in wanted["sources"]:
                job.rows.append(Row(job.id, index, source, destination, wanted, time.time()))
        with self.changed:
            self.jobs[job.id] = job
            self.changed.notify_all()
        return job.id

    def look(self, identities: Iterable[str]) -> list[dict[str, Any]]:
        """Jobs as they are once all that can be copied now is copied, so that a look is worth its while."""
        with self.changed:
            self.changed.wait_for(lambda: not any(self._due()), _SETTLING)
            self._begin_delayed()
            return [self.jobs[one].told() if one in self.jobs else _unknown(one) for one in identities]

    def cancel(self, identities: Iterable[str]) -> list[dict[str, Any]]:
        with self.changed:
            for row in [row for one in identities if one in self.jobs for row in self.jobs[one].rows]:
                if row.state in WAITING:
                    row.end("CANCELED", "Job canceled by the user")
            self.changed.notify_all()
        return self.look(identities)

    def modify(self, identity: str, params: Mapping[str, Any]) -> dict[str, Any]:
        with self.changed:
            self.jobs[identity].params.update(params)
        return self.look([identity])[0]

    def wish(self, wishes: Iterable[Wish]) -> None:
        """These wishes, and no others any more."""
        with self.changed:
            self.wishes = list(wishes)
            self.changed.notify_all()

    def work(self) -> None:
        """Copy what is due, for good. Only this thread changes rows to FINISHED, FAILED and NOT_USED."""
        while True:
            with self.changed:
                self.changed.wait_for(lambda: any(self._due()), 0.02)
                row = next(self._due(), None)
            if row:
                reason = self._copied(row)
                with self.changed:
                    self._conclude(row, reason)
                    self.changed.notify_all()

    def _due(self) -> Iterator[Row]:
        for job in list(self.jobs.values()):
            for row in job.rows:
                if row.state in WAITING and not self._must_wait(row):
                    yield row

    def _must_wait(self, row: Row) -> bool:
        delay = self._wished(row, DELAY)
        late = delay is not None and time.time() < row.submitted + delay.seconds
        return late or self._wished(row, HOLD) is not None

    def _begin_delayed(self) -> None:
        """A delayed transfer takes long: it is under way from the beginning."""
        for row in [row for job in self.jobs.values() for row in job.rows if row.state == "SUBMITTED"]:
            if self._wished(row, DELAY) and not self._wished(row, HOLD):
                row.state, row.began = "ACTIVE", row.submitted

    def _wished(self, row: Row, what: str) -> Wish | None:
        fitting = (wish for wish in self.wishes if wish.what == what)
        return next((wish for wish in fitting if re.search(wish.pattern, row.destination)), None)

    def _copied(self, row: Row) -> str:
        """Why it was not copied; empty: it was."""
        row.began = row.began or time.time()
        fail = self._wished(row, FAIL)
        if fail:
            return fail.reason
        try:
            return copy(self._order(row))
        except OSError as error:
            return f"TRANSFER [{error.errno}] {error.strerror}: {error.filename}"

    def _order(self, row: Row) -> Order:
        params = self.jobs[row.job].params
        return Order(
            row.source,
            row.destination,
            checksum=str(row.wanted.get("checksum") or ""),
            verify=str(params.get("verify_checksum", "both")),
            overwrite=bool(params.get("overwrite")),
            spoil_before=self._wished(row, CORRUPT) is not None,
            spoil_after=self._wished(row, CORRUPT_SILENTLY) is not None,
        )

    def _conclude(self, row: Row, reason: str) -> None:
        if row.state not in WAITING:
            return  # canceled while it was copied
        row.end("FAILED" if reason else "FINISHED", reason)
        others = [one for one in self.jobs[row.job].rows if one.index == row.index and one.state in WAITING]
        for other in others if not reason else ():
            other.end("NOT_USED")


def _unknown(identity: str) -> dict[str, Any]:
    return {
        "job_id": identity,
        "http_status": "404 Not Found",
        "http_message": f"No job with the id {identity}",
    }
