"""Storage elements of a Rucio as objects of kind StorageElement, for the import. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from reconciler.drivers.rucio.import_entries import Draft, Entry, element_label
from reconciler.drivers.rucio.import_yaml import document
from reconciler.drivers.rucio.importing import Element
from reconciler.printable import shown

MARK: Final = "reconciler"
_SECRET: Final = re.compile(
    r"(password|passwd|secret|token|passphrase|credentials?|_key|apikey)$", re.IGNORECASE
)
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LONGEST: Final = 255
_SMALL: Final = re.compile(r"[a-z0-9-]+")
_UNITS: Final = tuple(
    (f"{letter}{binary}B", (1024 if binary else 1000) ** power)
    for power, letter in ((5, "P"), (4, "T"), (3, "G"), (2, "M"), (1, "k"))
    for binary in ("i", "")
)


def add_element(draft: Draft, element: Element, target: str) -> None:
    """One element: a file, or why there is none."""
    origin = f"storage element {element.name}"
    marked = element.attributes.get(MARK)
    if marked:
        return draft.leave_out(origin, f"a reconciler keeps it ({shown(str(marked))})")
    attributes, unsaid = _attributes(element)
    told = element.told
    if not (attributes or unsaid or told["protocols"] or element.limits):
        why = "it has nothing but its name: whoever declares it takes it for unfinished work"
        return draft.leave_out(origin, why)
    name = element_label(element.name)
    spec: dict[str, Any] = {"target": target}
    if name.upper() != element.name:
        spec["rse"] = element.name
    spec |= _columns(told)
    limits, more = _limits(element.limits)
    distances, far = _distances(element.distances)
    protocols = [_protocol(entry) for entry in told["protocols"]]
    lists = {"attributes": attributes, "limits": limits, "distances": distances}
    spec |= {key: value for key, value in (lists | {"protocols": protocols}).items() if value}
    comments = (*_standing(told), *_not_here((*unsaid, *more, *far)))
    draft.add(Entry(f"data/elements/{name}.yaml", "StorageElement", {"name": name}, spec, origin, comments))
    return None


def _columns(told: Mapping[str, Any]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    if told["rse_type"] in ("DISK", "TAPE"):
        columns["type"] = told["rse_type"].lower()
    if told.get("qos_class"):
        columns["quality"] = told["qos_class"]
    columns["deterministic"] = told["deterministic"]
    return columns | ({"volatile": True} if told["volatile"] else {})


def _attributes(element: Element) -> tuple[dict[str, Any], list[str]]:
    """Those that a file can say, and the names of the others. One that is called like it is Rucio's own."""
    said: dict[str, Any] = {}
    unsaid = []
    for key, value in sorted(element.attributes.items()):
        if key == element.name or value is None:
            continue
        if _SECRET.search(key) or not _NAME.fullmatch(key) or len(str(value)) > _LONGEST:
            unsaid.append(f"attribute {key}")
        else:
            said[key] = value if isinstance(value, bool) else str(value)
    return said, unsaid


def _limits(limits: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    known = {"MinFreeSpace": "minFreeSpace", "MaxBeingDeletedFiles": "maxBeingDeletedFiles"}
    said = {known[key]: value for key, value in sorted(limits.items()) if key in known}
    if "minFreeSpace" in said:
        said["minFreeSpace"] = size_text(said["minFreeSpace"])
    return said, [f"limit {key} = {value}" for key, value in sorted(limits.items()) if key not in known]


def size_text(count: int) -> str:
    """A number of bytes with the largest unit of which it is a whole number."""
    for unit, size in sorted(_UNITS, key=lambda entry: -entry[1]):
        if count and count % size == 0:
            return f"{count // size}{unit}"
    return f"{count}B"


def _distances(distances: Mapping[str, int]) -> tuple[dict[str, int], list[str]]:
    """To elements whose name a file takes for what it is: small letters mean a name in git."""
    said = {name: value for name, value in distances.items() if not _SMALL.fullmatch(name)}
    return said, [f"distance to {name}" for name in distances if name not in said]


def _protocol(told: Mapping[str, Any]) -> dict[str, Any]:
    spec = {key: told[key] for key in ("scheme", "hostname", "port", "prefix", "impl")}
    spec["domains"] = {
        domain: {key: value for key, value in told["domains"][domain].items() if value is not None}
        for domain in sorted(told["domains"])
    }
    extended = told.get("extended_attributes")
    if isinstance(extended, Mapping) and _can_be_written(extended):
        spec["extendedAttributes"] = dict(extended)
    return spec


def _can_be_written(extended: Mapping[str, Any]) -> bool:
    """Has it a form in YAML, and looks like no secret?"""
    try:
        document(extended)
    except TypeError:
        return False
    return not any(_SECRET.search(key) for key in extended)


def _standing(told: Mapping[str, Any]) -> list[str]:
    ways = {"read": "reading", "write": "writing", "delete": "deleting"}
    closed = [word for way, word in ways.items() if not told[f"availability_{way}"]]
    said = []
    if closed:
        what = " and ".join(closed)
        said.append(
            f"closed for {what} when it was read: a matter of Rucio's operators without `availability`"
        )
    if any(entry.get("extended_attributes") for entry in told["protocols"]):
        said.append("look through extended attributes of protocols: they are no place for secrets")
    return said


def _not_here(unsaid: Iterable[str]) -> list[str]:
    listed = ", ".join(unsaid)
    return [f"not in this file, and left as it is: {listed}"] if listed else []
