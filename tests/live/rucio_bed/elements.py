"""Four storage elements: directories that Rucio knows as RSEs, among which every transfer is possible.

What an RSE needs before a rule can move a file to it: a protocol with both directions of third-party
copies, a distance from every other one, and the transfer service as the attribute `fts` (Rucio's
transfertool/fts3.py and core/distance.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Element:
    """One RSE: what it is, and the attributes by which expressions select it."""

    type: str
    attributes: Mapping[str, str]


ELEMENTS: Final[Mapping[str, Element]] = {
    "BARI-DISK": Element("DISK", {"site": "BARI", "country": "IT", "tier": "2", "QoS": "disk"}),
    "CNAF-DISK": Element("DISK", {"site": "CNAF", "country": "IT", "tier": "1", "QoS": "disk"}),
    "CNAF-TAPE": Element("TAPE", {"site": "CNAF", "country": "IT", "tier": "1", "QoS": "tape"}),
    "LYON-DISK": Element("DISK", {"site": "LYON", "country": "FR", "tier": "1", "QoS": "disk"}),
}
ROOM: Final = 10**12  # bytes that an account may have on each
_DIRECTIONS: Final = {"read": 1, "write": 1, "delete": 1}
_THIRD_PARTY: Final = {"third_party_copy_read": 1, "third_party_copy_write": 1}


def make_elements(client: Any, folder: Path, transfers: str) -> None:
    """Make them with Rucio's client, each in a folder of its name. `transfers` is the service's URL."""
    for name, element in ELEMENTS.items():
        (folder / name).mkdir(parents=True)
        client.add_rse(name, deterministic=True, rse_type=element.type)
        client.add_protocol(name, _protocol(folder / name))
        # greedyDeletion: what no rule protects any more goes at once, and not when room is needed
        for key, value in {**element.attributes, "fts": transfers, "greedyDeletion": True}.items():
            client.add_rse_attribute(name, key, value)
        client.set_account_limit("root", name, ROOM, "local")
    for source, destination in permutations(ELEMENTS, 2):
        client.add_distance(source, destination, {"distance": 1})


def _protocol(folder: Path) -> dict[str, Any]:
    return {
        "scheme": "file",
        "hostname": "localhost",
        "port": 0,
        "prefix": str(folder),
        "impl": "rucio.rse.protocols.posix.Default",
        "extended_attributes": None,
        "domains": {"lan": _DIRECTIONS, "wan": {**_DIRECTIONS, **_THIRD_PARTY}},
    }
