"""One storage element as Rucio has it, in the words of a wish. Four calls, and one per distance asked for.

Formats: rucio/client/rseclient.py and core/rse.py (_format_get_rse_protocols). All of it may be read by any
account.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.drivers.rucio.client import Reader
from reconciler.drivers.rucio.element_marks import OWNER, read_element_mark
from reconciler.drivers.rucio.translating import Missing
from reconciler.model import Json, Mark


@dataclass(frozen=True, slots=True)
class Element:
    """One RSE. `mark` is anybody's. `files` and `size` (bytes) are what Rucio has counted on it."""

    name: str
    spec: Mapping[str, Json]
    mark: Mark | None
    written_mark: str
    files: int = 0
    size: int = 0

    @property
    def bare(self) -> bool:
        """Nothing but its name: as it was made."""
        spec = self.spec
        told = spec["attributes"] or spec["protocols"] or spec["limits"] or self.written_mark
        return not (told or self.files or self.size)


def read_element(client: Reader, name: str, destinations: Iterable[str]) -> Element | None:
    """What Rucio says of it now, with its distances to some others; None: there is no such RSE."""
    try:
        with client.rucio(f"storage element {name}") as rucio:
            about = rucio.get_rse(name)
            attributes = rucio.list_rse_attributes(name)
            limits = rucio.get_rse_limits(name)
            usage = list(rucio.get_rse_usage(name))
    except Missing:
        return None
    written = str(attributes.pop(OWNER, ""))
    attributes.pop(name, None)  # Rucio's own
    spec = _spec(about, attributes, limits, _distances(client, name, destinations))
    counted: Mapping[str, Any] = next((entry for entry in usage if entry["source"] == "rucio"), {})
    mark = read_element_mark(written)
    used, files = counted.get("used") or 0, counted.get("files") or 0
    return Element(name, spec, mark, written, files, used)


def _spec(
    about: Mapping[str, Any],
    attributes: Mapping[str, Json],
    limits: Mapping[str, int],
    distances: Mapping[str, int],
) -> dict[str, Json]:
    spec: dict[str, Json] = {
        "type": about["rse_type"],
        "deterministic": about["deterministic"],
        "volatile": about["volatile"],
        "availability": {way: about[f"availability_{way}"] for way in ("read", "write", "delete")},
        "attributes": dict(attributes),
        "limits": dict(limits),
        "distances": dict(distances),
        "protocols": dict(_protocol(entry) for entry in about["protocols"]),
    }
    return spec | ({"quality": about["qos_class"]} if about.get("qos_class") else {})


def _protocol(entry: Mapping[str, Any]) -> tuple[str, dict[str, Json]]:
    domains = {domain: _without_none(entry["domains"][domain]) for domain in sorted(entry["domains"])}
    told = {"prefix": entry["prefix"], "impl": entry["impl"], "domains": domains}
    if entry.get("extended_attributes") is not None:
        told["extendedAttributes"] = entry["extended_attributes"]
    return f"{entry['scheme']}://{entry['hostname']}:{entry['port']}", told


def _without_none(values: Mapping[str, Any]) -> dict[str, Json]:
    return {key: value for key, value in values.items() if value is not None}


def _distances(client: Reader, name: str, destinations: Iterable[str]) -> dict[str, int]:
    found = {}
    for destination in destinations:
        distance = _distance(client, name, destination)
        if distance is not None:
            found[destination] = distance
    return found


def _distance(client: Reader, name: str, destination: str) -> int | None:
    """None: there is none, or no such destination."""
    try:
        with client.rucio(f"distance from {name} to {destination}") as rucio:
            answer = rucio.get_distance(name, destination)
    except Missing:
        return None
    return next((entry["distance"] for entry in answer), None)
