"""What a test tells the transfer service, and what it asks of it."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import asdict, dataclass, field
from typing import Any, cast

from tests.live.rucio_bed.jobs import CORRUPT, CORRUPT_SILENTLY, DELAY, FAIL, HOLD, Wish

REASON = "TRANSFER [5] Input/output error: a test wants it so"


@dataclass(slots=True)
class Transfers:
    """The transfer service at `url`. A `pattern` is a regular expression, looked for in destinations' URLs.

    What is told holds from then on, for running transfers too, until `clear`.
    """

    url: str
    _wishes: list[Wish] = field(default_factory=list)

    def hold(self, pattern: str) -> None:
        """They wait until this is cleared."""
        self._wish(Wish(HOLD, pattern))

    def delay(self, pattern: str, seconds: float) -> None:
        """They are under way for so long."""
        self._wish(Wish(DELAY, pattern, seconds=seconds))

    def fail(self, pattern: str, reason: str = REASON) -> None:
        """Nothing is copied, and this is said."""
        self._wish(Wish(FAIL, pattern, reason=reason))

    def corrupt(self, pattern: str, *, silently: bool = False) -> None:
        """Other bytes of the same number arrive. The checksum shows it, unless it happens after the check."""
        self._wish(Wish(CORRUPT_SILENTLY if silently else CORRUPT, pattern))

    def clear(self, pattern: str | None = None) -> None:
        """Forget what was told of this pattern, or all."""
        self._wishes = [wish for wish in self._wishes if pattern is not None and wish.pattern != pattern]
        self._tell()

    def jobs(self, words: str = "") -> list[dict[str, Any]]:
        """All files that it was asked to copy, oldest first, as FTS3 shows them, with their `job_id`.

        `words` is a part of the destination's URL.
        """
        jobs = cast(list[dict[str, Any]], _asked("GET", f"{self.url}/jobs"))
        files = [file | {"job_id": job["job_id"]} for job in jobs for file in job["files"]]
        return [file for file in files if words in file["dest_surl"]]

    def _wish(self, wish: Wish) -> None:
        self._wishes.append(wish)
        self._tell()

    def _tell(self) -> None:
        _asked("PUT", f"{self.url}/wishes", [asdict(wish) for wish in self._wishes])


def _asked(method: str, url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method)  # noqa: S310  our own service, by http
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  ditto
        return json.load(answer)
