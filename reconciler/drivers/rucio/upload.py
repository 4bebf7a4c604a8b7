"""The hand for uploads: the files of a folder become a data set of Rucio, on one storage element.

An upload is a snapshot. Its data set is closed when every file is on the element, known to Rucio, and
attached. Closed once is complete, also if somebody opens it again. So one call tells of all uploads, and the
folder is not looked at any more, and may go. Nothing is ever deleted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from reconciler.drivers.rucio.client import Reader, Writer
from reconciler.drivers.rucio.dataset_reading import Did, did_of, dids, in_pieces, is_ours
from reconciler.drivers.rucio.translating import Exists
from reconciler.drivers.rucio.upload_source import (
    KNOWN_BY,
    UploadFile,
    files_of,
    open_source,
    opened_file,
    read,
    same_sums,
)
from reconciler.drivers.rucio.upload_writing import Element, open_element, places, put, sums_at
from reconciler.errors import Conflict, NotOurs, Rejected
from reconciler.kind import Ask
from reconciler.model import PARTIAL, Change, FieldChange, Mark, Observed, Ref, Resource, State
from reconciler.printable import shown

UPLOAD: Final = "upload"
_DATASET: Final = re.compile(r"[A-Za-z0-9_.-]{1,25}:[/A-Za-z0-9][/A-Za-z0-9._-]{0,249}")
_FILES: Final = 100  # registered and attached in one go; a run that is killed copies so many again


class UploadHand:
    """Stateless. The natural key of an upload is its data set, `scope:name`."""

    def observe(self, client: Reader, ask: Ask) -> Iterable[Observed]:
        """One call for a thousand data sets; those that nobody asks for are not looked at.

        Keys of other parts of the same objects are asked here too, and are no data sets.
        """
        found = dids(client, [key for key in ask.natural if _DATASET.fullmatch(key)])
        return [_seen(client, ask, key, found[key]) for key in sorted(found)]

    def verify(self, client: Reader, thing: Observed) -> Observed:
        """What was uploaded is complete; whether its copies are good is what rules verify."""
        return thing

    def apply(self, client: Writer, change: Change, mark: Mark) -> None:
        """Whatever is still missing. A data set that is complete is left as it is."""
        resource = _wanted(change)
        if _complete(dids(client, [resource.spec["dataset"]]).get(resource.spec["dataset"])):
            return
        with ExitStack() as stack:
            source = open_source(stack, resource, Path(client.places.data))
            files = files_of(source, resource.spec["dataset"])
            element = open_element(stack, client, resource)
            Uploading(client, resource, source, element).all(files)

    def release(self, client: Writer, change: Change) -> None:
        """Nothing of ours is on it."""

    def delete(self, client: Writer, change: Change) -> None:
        """Raises Rejected: data sets are never deleted by us."""
        raise Rejected(f"{change.ref}: data sets of Rucio are never deleted by us")


def _wanted(change: Change) -> Resource:
    if change.want is None:
        raise Rejected(f"{change.ref}: nothing is wanted")
    return change.want


def _complete(did: Did | None) -> bool:
    """Closed at least once, with something in it."""
    if did is None or did["did_type"] != "DATASET":
        return False
    return bool((not did["is_open"] or did["closed_at"]) and did["length"])


def _seen(client: Reader, ask: Ask, key: str, did: Did) -> Observed:
    """What is complete is nobody's: there is nothing that we could want of it. The other says whose it is."""
    ref, spec = Ref(UPLOAD, "", key), {"dataset": key}
    if _complete(did):
        attributes = {"files": did["length"], "bytes": did["bytes"] or 0}
        return Observed(ref, UPLOAD, client.target, spec, key, attributes=attributes)
    mark = Mark(ask.owner, "") if is_ours(client, did) else None
    reason, message = _why(key, did)
    drift = (FieldChange("files", "not all", "all"),)
    thing = Observed(ref, UPLOAD, client.target, spec, key, mark, State.FAILED, reason, message)
    return replace(thing, drift=drift)


def _why(key: str, did: Did) -> tuple[str, str]:
    """What is wrong with a data set that is not complete: reason and message."""
    if did["did_type"] != "DATASET":
        return "OtherType", f"{key} is a {str(did['did_type']).lower()}, no data set"
    if not did["is_open"]:
        return "ClosedEmpty", f"{key} is closed, and has no files"
    return PARTIAL, "not all files are in it yet"


class Uploading:
    """One upload while it is made: every step looks first, so it can be killed anywhere and run again."""

    def __init__(self, client: Writer, resource: Resource, source: int, element: Element) -> None:
        self.client = client
        self.resource = resource
        self.did = did_of(resource.spec["dataset"])
        self.source = source
        self.element = element

    def all(self, files: Sequence[UploadFile]) -> None:
        """The data set, its files, and its end."""
        self._begin()
        for some in in_pieces(files, _FILES):
            self._some(some)
        self._end()

    def _begin(self) -> None:
        """An open data set that we may fill; made before its files, so that Rucio can refuse it before."""
        key = self.resource.spec["dataset"]
        found = dids(self.client, [key]).get(key)
        if found is None:
            try:
                with self.client.rucio(f"data set {key}") as rucio:
                    rucio.add_dataset(**self.did)
            except Exists:
                raise Conflict(f"somebody else just made {key}") from None
            return
        if found["did_type"] != "DATASET":
            raise Rejected(
                f"{key} is a {str(found['did_type']).lower()}, no data set", hint="take another name"
            )
        if not is_ours(self.client, found) and not self.resource.metadata.adopt:
            raise NotOurs(f"data set {key} belongs to account {found['account']}")
        if not found["is_open"]:
            hint = "open it again, or take another name"
            raise Rejected(f"data set {key} is closed, and has no files", hint=hint)

    def _some(self, files: Sequence[UploadFile]) -> None:
        names = {file: self._text(file) for file in files}
        known = dids(self.client, names.values())
        at = places(self.client, self.element, list(names.values()))
        here = self._replicas([name for name in names.values() if name in known])
        new = [
            told
            for file, name in names.items()
            for told in self._one(file, known.get(name), at[name], here.get(name, ""))
        ]
        what = f"files of {self.resource.spec['dataset']}"
        with self.client.rucio(f"{what} on {self.element.name}") as rucio:
            if new:
                rucio.add_replicas(self.element.name, new)
            children = [{"scope": self.did["scope"], "name": file.name} for file in files]
            rucio.attach_dids_to_dids([{**self.did, "dids": children}], ignore_duplicate=True)

    def _one(self, file: UploadFile, known: Did | None, pfn: str, state: str) -> Iterator[dict[str, Any]]:
        """Bring one file there; what is to be registered."""
        told = {"scope": self.did["scope"], "name": file.name, "pfn": pfn}
        if known is None:
            yield {**told, **put(self.element, pfn, self.source, file.path)}
            return
        expected = self._as_known(file, known)
        if state not in ("", "AVAILABLE"):
            raise Conflict(f"Rucio itself is at work on {file.name} on {self.element.name} ({state})")
        if not state:
            yield {**told, **put(self.element, pfn, self.source, file.path, expected)}
        elif not same_sums(sums_at(self.element, pfn), expected):  # spoilt since, or never whole
            put(self.element, pfn, self.source, file.path, expected)

    def _as_known(self, file: UploadFile, known: Did) -> Did:
        """Raises Conflict where Rucio knows another file by that name."""
        if known["did_type"] != "FILE":
            raise Conflict(f"{self._text(file)} is a {str(known['did_type']).lower()} in Rucio, no file")
        with opened_file(self.source, file.path) as opened:
            sums = read(opened)
        if not same_sums(sums, known):
            raise _other(file, sums, known)
        return known

    def _replicas(self, names: Sequence[str]) -> dict[str, str]:
        """The states of those that Rucio has on the element."""
        if not names:
            return {}
        asked, on = [did_of(name) for name in names], self.element.name
        with self.client.rucio(f"files on {on}") as rucio:
            found = list(rucio.list_replicas(asked, rse_expression=on, all_states=True))
        return {f"{one['scope']}:{one['name']}": str(one["states"].get(on, "")) for one in found}

    def _end(self) -> None:
        key = self.resource.spec["dataset"]
        try:
            with self.client.rucio(f"closing {key}") as rucio:
                rucio.set_status(**self.did, open=False)
        except Rejected:
            if not _complete(dids(self.client, [key]).get(key)):
                raise

    def _text(self, file: UploadFile) -> str:
        return f"{self.did['scope']}:{file.name}"


def _other(file: UploadFile, sums: Did, known: Did) -> Conflict:
    mine, its = (", ".join(f"{key} {one[key]}" for key in KNOWN_BY) for one in (sums, known))
    hint = "put the former file back, or upload to a data set of another name"
    return Conflict(f"{shown(file.path, 200)} is not the file that Rucio has: {mine}; there {its}", hint=hint)
