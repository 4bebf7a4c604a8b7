"""What goes wrong in a simulated world, and when. Pure: chance comes from hashes.

The same seed, operation, thing and number of the request give the same failure, whatever the order
of threads and processes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from reconciler.errors import BackendError, Conflict, Denied, Rejected, Transient
from reconciler.model import NOTHING, Json

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_REFUSALS: Final[Mapping[str, tuple[type[BackendError], str]]] = {
    "Transient": (Transient, "503: the service is not available, try again"),
    "Denied": (Denied, "401: the credentials were not accepted"),
    "Rejected": (Rejected, "400: the request was understood and refused"),
    "Conflict": (Conflict, "409: the thing changed meanwhile"),
}


@dataclass(frozen=True, slots=True)
class Request:
    """One request to the world. `ref` is the Ref of the thing, or the page of a list."""

    operation: str
    kind: str = "-"
    ref: str = "-"

    @property
    def writes(self) -> bool:
        """Can something have changed when the answer is lost?"""
        return self.operation in ("create", "update", "release", "delete")


@dataclass(frozen=True, slots=True)
class Failure:
    """One chosen failure: which requests it hits, and what they end with."""

    error: str
    operation: str = ""
    kind: str = ""
    ref: str = "*"
    times: int = 0
    share: int = 100

    def hits(self, request: Request, number: int, seed: str) -> bool:
        """`number` counts the earlier requests of the same operation, kind and Ref."""
        if self.operation not in ("", request.operation) or self.kind not in ("", request.kind):
            return False
        if self.times and number >= self.times:
            return False
        chosen = self.share == 100 or draw(seed, "share", request.ref) < self.share
        return chosen and fnmatchcase(request.ref, self.ref)


@dataclass(frozen=True, slots=True)
class Weather:
    """The settings of a simulated target, read. Times are seconds, rates are percent."""

    latency: float = 0.0
    page_size: int = 500
    failure_rate: int = 0
    seed: str = ""
    failures: tuple[Failure, ...] = ()
    hang: str = ""  # "" | "hang" | "hang-hard"
    hang_seconds: float = 3600.0
    truncated_pages: bool = False
    lost_answers: int = 0
    unauthorized: bool = False
    rate_limit: int = 0
    build_seconds: float = 0.0
    facts: Mapping[str, Json] = NOTHING

    @property
    def counts(self) -> bool:
        """Does what happens depend on how often the same was asked before?"""
        return bool(self.failure_rate or self.lost_answers or any(entry.times for entry in self.failures))


def weather_of(settings: Mapping[str, Json]) -> Weather:
    """Read the settings of a target, checked against the schema before. Other keys don't matter here."""
    hang = settings.get("hang", False)
    return Weather(
        latency=seconds(settings.get("latency", 0)),
        page_size=settings.get("pageSize", 500),
        failure_rate=settings.get("failureRate", 0),
        seed=str(settings.get("failureSeed", "")),
        failures=tuple(Failure(**entry) for entry in settings.get("failures", ())),
        hang="hang-hard" if hang == "hard" else "hang" if hang else "",
        hang_seconds=seconds(settings.get("hangSeconds", "1h")),
        truncated_pages=settings.get("truncatedPages", False),
        lost_answers=settings.get("lostAnswers", 0),
        unauthorized=settings.get("unauthorized", False),
        rate_limit=settings.get("rateLimit", 0),
        build_seconds=seconds(settings.get("buildSeconds", 0)),
        facts=settings.get("facts", NOTHING),
    )


def seconds(text: str | float) -> float:
    """Read `50ms`, `1.5s`, `2m`, `1h`, or a plain number of seconds."""
    if not isinstance(text, str):
        return float(text)
    digits = text.rstrip("mhs")
    return float(digits) * _UNITS[text[len(digits) :] or "s"]


def draw(*what: object) -> int:
    """A number from 0 to 99, the same for the same arguments."""
    text = "\n".join(str(entry) for entry in what)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) % 100


def fate(weather: Weather, request: Request, number: int) -> str:
    """How this request ends: the empty string when well, else one of settings.ERRORS."""
    if weather.hang:
        return weather.hang
    if weather.unauthorized:
        return "Denied"
    for failure in weather.failures:
        if failure.hits(request, number, weather.seed):
            return failure.error
    drawn = (weather.seed, request.operation, request.kind, request.ref, number)
    if weather.failure_rate and draw("failure", *drawn) < weather.failure_rate:
        return "Transient"
    if request.writes and weather.lost_answers and draw("lost", *drawn) < weather.lost_answers:
        return "LostAnswer"
    return ""


def refusal(error: str) -> BackendError | None:
    """The error that a request ends with before it does anything; None when it is done first."""
    if error not in _REFUSALS:
        return None
    sort, message = _REFUSALS[error]
    return sort(message)
