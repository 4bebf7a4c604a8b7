"""Where things lie in a lake, and what our receipts say. The one place that knows the layout on disk.

    <lake>/<element>/.reconciler/receipt.json                                       a storage element
    <lake>/<element>/<scope>/<name>/<group>.<rule>/                                 the files of one replica,
    <lake>/<element>/<scope>/<name>/<group>.<rule>/.reconciler/receipt.json         its mark,
    <lake>/<element>/<scope>/<name>/<group>.<rule>/.reconciler/manifest.json        and what its files are
    <lake>/<element>/.reconciler/new~<owner>~<kind>~<group>~<name>~<part>/          a replica being made
    <lake>/<element>/.reconciler/old~<owner>~<kind>~<group>~<name>~<part>/          a replica being removed
    <lake>/.reconciler/new~… and old~…                                              the same for elements

A thing appears and disappears by one rename. Half-made things carry their mark in their name, so that the
call that makes them marks them too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from reconciler.model import Json, Mark, Ref, Resource

OURS: Final = ".reconciler"
RECEIPT: Final = "receipt.json"
MANIFEST: Final = "manifest.json"
NEW: Final = "new"
OLD: Final = "old"
ELEMENT: Final = "StorageElement"
REPLICA: Final = "replica"
Names = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a finished thing says of itself. Times are ISO 8601 UTC; `content` is the manifest's digest.

    `target` is the target by which it was made: two targets that share a directory do not share things.
    `repairing` stands while files are being replaced.
    """

    mark: Mark
    spec: Mapping[str, Json]
    target: str
    created: str
    verified: str = ""
    content: str = ""
    size: int = 0
    files: int = 0
    repairing: bool = False

    @property
    def ref(self) -> Ref:
        """The Ref that the mark names; receipts always have room for it."""
        if self.mark.ref is None:
            raise ValueError("a receipt names its Ref")
        return self.mark.ref

    def dump(self) -> bytes:
        """The file's bytes."""
        mark = self.mark
        marked = {"owner": mark.owner, "id": mark.id, "ref": str(self.ref), "specHash": mark.spec_hash}
        told = {"version": 1, "mark": {**marked, "lock": mark.lock, "keep": mark.keep}, "spec": self.spec}
        content = {"content": self.content, "bytes": self.size, "files": self.files}
        times = {"created": self.created, "verified": self.verified, "repairing": self.repairing}
        whole = {**told, "target": self.target, **times, **content}
        return json.dumps(whole, sort_keys=True, indent=1, default=dict).encode() + b"\n"


def read_receipt(content: bytes) -> Receipt:
    """Raises ValueError when it is not a receipt of ours."""
    try:
        told = json.loads(content)
        mark = told["mark"]
        ref = Ref.parse(mark["ref"])
        return Receipt(
            Mark(mark["owner"], mark["id"], ref, mark["specHash"], mark["lock"], mark["keep"]),
            told["spec"],
            told["target"],
            told["created"],
            told["verified"],
            told["content"],
            told["bytes"],
            told["files"],
            told["repairing"],
        )
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a receipt: {type(error).__name__} {error}") from error


@dataclass(frozen=True, slots=True)
class HalfMade:
    """What the name of a half-made thing says: being made or being removed, whose, and which."""

    stage: str
    owner: str
    ref: Ref

    def __str__(self) -> str:
        ref = self.ref
        return f"{self.stage}~{self.owner}~{ref.kind}~{ref.group}~{ref.name}~{ref.part}"


def read_half_made(name: str) -> HalfMade | None:
    """None for names of other things."""
    pieces = name.split("~")
    if len(pieces) != 6 or pieces[0] not in (NEW, OLD) or not pieces[2] or not pieces[4]:
        return None
    return HalfMade(pieces[0], pieces[1], Ref(*pieces[2:]))


def element_names(resource: Resource) -> Names:
    """Where an element lies, below the lake."""
    return (_piece(resource.ref.name),)


def element_of(resource: Resource) -> str:
    """The element that a replica belongs to."""
    return _piece(resource.spec["element"])


def replica_names(ref: Ref, dataset: str) -> Names:
    """Where a replica lies, below its element. Raises ValueError for names that can't be directories."""
    scope, _, name = dataset.partition(":")
    return _piece(scope), _piece(name), _piece(f"{ref.group}.{ref.name}")


def natural_key(names: Names) -> str:
    """What a kind calls this place when it asks for unmarked things."""
    return "/".join(names)


def uid_of(target: str, names: Names) -> str:
    """The uid of what lies at a place: unique over all targets."""
    return f"{target}:{'/'.join(names)}"


def names_of(uid: str) -> Names:
    """The place below the lake that a uid means. Raises ValueError when it leads out of it."""
    _, _, path = uid.partition(":")
    names = tuple(path.split("/"))
    for name in names:
        if name != OURS and read_half_made(name) is None:
            _piece(name)
    return names


def _piece(name: str) -> str:
    """One directory's name from outside: never empty, hidden, a way up, or longer than 255 bytes."""
    bad = not name or name.startswith(".") or "/" in name or "\0" in name or len(name.encode()) > 255
    if bad:
        raise ValueError(f"'{name[:60]}' can't be the name of a directory in a lake")
    return name
