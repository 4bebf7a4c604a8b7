"""What is really there: which files of a data set lie whole on which elements, and which of them rules keep.

Files are read from the elements' folders and compared byte by byte; locks are what Rucio says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.live.lake_at_rucio import ELEMENTS
from tests.live.rucio_lab import Lab, Row

Places = Mapping[str, frozenset[str]]  # file → the elements that have it


@dataclass(frozen=True, slots=True)
class Standing:
    """One data set at one moment. `whole`: where files lie whole. `kept`: where our rules keep these.

    `rules` are ours, and not on their way out. `loose`: one of them puts files where there is room.
    """

    whole: Places
    kept: Places
    rules: tuple[Row, ...]

    @property
    def loose(self) -> bool:
        return any(rule["grouping"] == "NONE" for rule in self.rules)


def copies(places: Places, *, loose: bool) -> int:
    """On how many elements all files are; `loose`: on how many at least any one of them is."""
    if loose:
        return min(len(elements) for elements in places.values())
    return len(together(places))


def together(places: Places) -> frozenset[str]:
    """The elements that have all files."""
    return frozenset.intersection(*places.values())


def standings(lab: Lab, datasets: Mapping[str, Mapping[str, bytes]], scope: str) -> dict[str, Standing]:
    """Every data set (name → its files and their bytes) as it is now."""
    rules: dict[str, list[Row]] = {name: [] for name in datasets}
    for rule in lab.standing():
        if rule["scope"] == scope and rule["name"] in rules:
            rules[rule["name"]].append(rule)
    there = _files(lab.elements)
    return {name: _standing(lab, scope, files, tuple(rules[name]), there) for name, files in datasets.items()}


def _standing(
    lab: Lab,
    scope: str,
    files: Mapping[str, bytes],
    rules: tuple[Row, ...],
    there: Mapping[tuple[str, str], bytes],
) -> Standing:
    whole = {
        name: frozenset(element for element in ELEMENTS if there.get((element, name)) == content)
        for name, content in files.items()
    }
    locked = _locked(lab, scope, rules)
    kept = {name: elements & locked.get(name, frozenset()) for name, elements in whole.items()}
    return Standing(whole, kept, rules)


def _locked(lab: Lab, scope: str, rules: Iterable[Row]) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for rule in rules:
        for lock in lab.client.list_replica_locks(rule["id"]):
            if lock["scope"] == scope and lock["state"] == "OK":
                found[lock["name"]] = found.get(lock["name"], frozenset()) | {lock["rse"]}
    return found


def _files(elements: Path) -> dict[tuple[str, str], bytes]:
    """(element, name of the file) → its bytes."""
    return {
        (path.relative_to(elements).parts[0], path.name): path.read_bytes()
        for path in elements.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
