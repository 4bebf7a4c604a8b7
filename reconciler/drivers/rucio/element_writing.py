"""How a storage element becomes what is wanted, step by step; every step may be done again.

First the element itself, then our mark, so that what a kill leaves is known as ours; the protocols come last:
without them nothing is moved there. What the wish does not name is left as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from reconciler.drivers.rucio.client import Writer
from reconciler.drivers.rucio.element_marks import OWNER, differing, element_mark
from reconciler.drivers.rucio.element_reading import Element, read_element
from reconciler.drivers.rucio.translating import Exists, Missing
from reconciler.errors import Conflict, Rejected, Transient
from reconciler.model import Json, Mark, Spec

_ALL_WAYS: Final = {"read": 1, "write": 1, "delete": 1}
_THIRD_PARTY: Final = {"third_party_copy_read": 1, "third_party_copy_write": 1}
_EVERYWHERE: Final[Mapping[str, Mapping[str, int]]] = {
    "lan": _ALL_WAYS,
    "wan": {**_ALL_WAYS, **_THIRD_PARTY},
}
_NOTHING: Final[Mapping[str, Json]] = {}


def make_element(client: Writer, name: str, spec: Spec) -> Element:
    """A new RSE without anything. Raises Rejected where one of that name was deleted at Rucio."""
    columns = {key: value for key, value in _columns(spec, _NOTHING).items() if key != "qos_class"}
    try:
        with client.rucio(f"making storage element {name}") as rucio:
            rucio.add_rse(name, **columns)
    except Exists as error:
        if read_element(client, name, ()) is not None:
            raise
        said = f"storage element {name} was deleted at Rucio, which keeps the name of what it deletes"
        raise Rejected(said, hint="an operator of Rucio restores it, or choose another `rse`") from error
    made = read_element(client, name, ())
    if made is None:
        raise Conflict(f"storage element {name} was deleted while it was being made")
    return made


def write_element(client: Writer, spec: Spec, have: Element, mark: Mark) -> None:
    """Bring an element to what is wanted. Raises Transient where a distance leads to what is not there."""
    name = have.name
    with client.rucio(f"storage element {name}") as rucio:
        if have.written_mark != element_mark(mark):
            rucio.add_rse_attribute(name, OWNER, element_mark(mark))
        if columns := _columns(spec, have.spec):
            rucio.update_rse(name, columns)
        for key, value in differing(spec.get("attributes", {}), have.spec["attributes"]):
            rucio.add_rse_attribute(name, key, value)  # takes the place of what is there
        for key, value in differing(spec.get("limits", {}), have.spec["limits"]):
            rucio.set_rse_limits(name, key, value)
    missing = _write_distances(client, name, spec.get("distances", {}), have.spec["distances"])
    for key, wish in spec.get("protocols", {}).items():
        _write_protocol(client, name, key, wish, have.spec["protocols"].get(key))
    if missing:
        said = f"storage element {name} has distances to what is not at Rucio: {', '.join(missing)}"
        raise Transient(said, hint="they are written when these elements are there", wait=0.5)


def _columns(spec: Spec, have: Spec) -> dict[str, Json]:
    """What is a column of Rucio's, as add_rse and update_rse want it, where it differs."""
    names = {"type": "rse_type", "deterministic": "deterministic", "volatile": "volatile"}
    names["quality"] = "qos_class"
    columns = {
        names[key]: spec[key] for key in names if key in spec and (key not in have or have[key] != spec[key])
    }
    for way, value in differing(spec.get("availability", {}), have.get("availability", {})):
        columns[f"availability_{way}"] = value
    return columns


def _write_distances(
    client: Writer, name: str, wish: Mapping[str, int], have: Mapping[str, int]
) -> list[str]:
    """The destinations that are not there."""
    missing = []
    for destination, distance in differing(wish, have):
        try:
            with client.rucio(f"distance from {name} to {destination}") as rucio:
                write = rucio.update_distance if destination in have else rucio.add_distance
                write(name, destination, {"distance": distance})
        except Missing:
            missing.append(destination)
    return missing


def _write_protocol(client: Writer, name: str, key: str, wish: Spec, have: Spec | None) -> None:
    if have is not None and _has(wish, have):
        return
    scheme, _, place = key.partition("://")
    hostname, _, port = place.rpartition(":")
    with client.rucio(f"protocol {key} of storage element {name}") as rucio:
        if have is None:
            named = {"scheme": scheme, "hostname": hostname, "port": int(port)}
            rucio.add_protocol(name, {**_protocol(wish, _EVERYWHERE), **named})
        else:
            # the library leaves a port out that is 0; as text it does not
            rucio.update_protocols(name, scheme, _protocol(wish, have["domains"]), hostname, port)


def _protocol(wish: Spec, usual: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    told = {"prefix": wish["prefix"], "impl": wish["impl"]}
    domains = {domain: dict(ways) for domain, ways in wish.get("domains", usual).items()}
    extended = {"extended_attributes": wish["extendedAttributes"]} if "extendedAttributes" in wish else {}
    return {**told, "domains": domains, **extended}


def _has(wish: Json, have: Json) -> bool:
    """Is all of the wish there already?"""
    if isinstance(wish, Mapping) and isinstance(have, Mapping):
        return all(key in have and _has(wish[key], have[key]) for key in wish)
    return bool(wish == have)
