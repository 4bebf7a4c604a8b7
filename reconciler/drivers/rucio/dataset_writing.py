"""Converging one data set or container of Rucio. WRITES.

Each step looks first and does only what is missing, so it can be killed anywhere and run again. What is
closed is not changed: Rucio itself would detach from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from reconciler.drivers.rucio.client import Writer
from reconciler.drivers.rucio.dataset_reading import (
    COLUMNS,
    TYPE,
    Did,
    contents_of,
    day_of,
    did_of,
    dids,
    in_pieces,
    is_ours,
    matching,
    own_metadata,
    seconds_to,
)
from reconciler.drivers.rucio.translating import Exists, Missing
from reconciler.errors import Conflict, NotOurs, Rejected
from reconciler.model import Json, Resource

_AT_ONCE: Final = 500  # DIDs that are attached or detached in one go


class Converging:
    """One data set while it is brought to what is wanted: each step looks first."""

    def __init__(self, client: Writer, resource: Resource) -> None:
        self.client = client
        self.resource = resource
        self.spec = resource.spec
        self.key = str(resource.spec["dataset"])
        self.did = did_of(self.key)

    def all(self) -> None:
        """In this order: it stands, it is open if it has to be, contents, metadata, end, closed."""
        found = self._there()
        is_open = bool(found["is_open"])
        if not is_open and self.spec.get("closed") is False:
            self._set_open(to=True)
            is_open = True
        if "contents" in self.spec:
            self._contents(is_open=is_open)
        self._metadata(found)
        self._until(found)
        if is_open and self.spec.get("closed"):
            self._set_open(to=False)

    def _there(self) -> Did:
        found = dids(self.client, [self.key]).get(self.key)
        if found is None:
            self._make()
            found = dids(self.client, [self.key])[self.key]
        if TYPE.get(found["did_type"]) != self.spec["type"]:
            raise Rejected(f"{self.key} is a {str(found['did_type']).lower()}, no {self.spec['type']}")
        if not is_ours(self.client, found) and not self.resource.metadata.adopt:
            raise NotOurs(f"{self.spec['type']} {self.key} belongs to account {found['account']}")
        return found

    def _make(self) -> None:
        try:
            with self.client.rucio(f"{self.spec['type']} {self.key}") as rucio:
                rucio.add_did(**self.did, did_type=str(self.spec["type"]).upper())
        except Exists:
            raise Conflict(f"somebody else just made {self.key}") from None

    def _set_open(self, *, to: bool) -> None:
        with self.client.rucio(f"{'opening' if to else 'closing'} {self.key}") as rucio:
            rucio.set_status(**self.did, open=to)

    def _contents(self, *, is_open: bool) -> None:
        there, wanted = contents_of(self.client, self.key), self._wanted()
        missing, surplus = sorted(wanted - there), sorted(there - wanted)
        if not is_open and ((not missing and not surplus) or "pattern" in self.spec["contents"]):
            return  # a pattern counts until the data set is closed
        if not is_open:
            said = f"{self.key} is closed: what is in it can't change ({_told(missing, surplus)})"
            raise Rejected(said, hint="`closed: false` opens it again, if the account may")
        if there and not wanted:
            hint = "list what it is to hold, or take `contents` out"
            raise Rejected(f"nothing fits {self.spec['contents']['pattern']}: it is not emptied", hint=hint)
        self._attach(missing)
        self._detach(surplus)

    def _wanted(self) -> set[str]:
        contents: Mapping[str, Any] = self.spec["contents"]
        if "list" in contents:
            return set(contents["list"])
        return matching(self.client, self.key, str(self.spec["type"]), str(contents["pattern"]))

    def _attach(self, names: Sequence[str]) -> None:
        for some in in_pieces(names, _AT_ONCE):
            attachment = {**self.did, "dids": [did_of(name) for name in some]}
            try:
                with self.client.rucio(f"contents of {self.key}") as rucio:
                    rucio.attach_dids_to_dids([attachment], ignore_duplicate=True)
            except Missing as error:
                gone = sorted({*some} - dids(self.client, some).keys())
                if not gone:
                    raise
                raise Missing(f"{self.key} can't hold what is not in Rucio: {_names(gone)}") from error

    def _detach(self, names: Sequence[str]) -> None:
        """Rucio detaches from closed data sets too, so whether it is open is looked at again just before."""
        for some in in_pieces(names, _AT_ONCE):
            if not dids(self.client, [self.key])[self.key]["is_open"]:
                raise Conflict(f"somebody closed {self.key} meanwhile")
            with self.client.rucio(f"contents of {self.key}") as rucio:
                rucio.detach_dids(**self.did, dids=[did_of(name) for name in some])

    def _metadata(self, found: Did) -> None:
        wanted: Mapping[str, Json] = self.spec.get("metadata", {})
        own = wanted.keys() - {*COLUMNS}
        have = own_metadata(self.client, [self.key]).get(self.key) if own else found
        if have is None:
            said = f"this Rucio keeps no metadata of one's own ({_names(sorted(own))})"
            hint = f"its database can't (PostgreSQL can); there are {', '.join(COLUMNS)}"
            raise Rejected(said, hint=hint)
        differing = {name: value for name, value in wanted.items() if have.get(name) != value}
        if differing:
            with self.client.rucio(f"metadata of {self.key}") as rucio:
                rucio.set_metadata_bulk(**self.did, meta=differing)

    def _until(self, found: Did) -> None:
        day = self.spec.get("until")
        if day is None or (found["expired_at"] is not None and day_of(found["expired_at"]) == day):
            return
        with self.client.rucio(f"end of {self.key}") as rucio:
            rucio.set_metadata(**self.did, key="lifetime", value=seconds_to(day, datetime.now(UTC)))


def _told(missing: Sequence[str], surplus: Sequence[str]) -> str:
    pairs = (("missing", missing), ("too much", surplus))
    return "; ".join(f"{what}: {_names(names)}" for what, names in pairs if names)


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
