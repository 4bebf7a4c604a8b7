"""Kind SoftwareUpload: this tarball, or directory, appears at that path of a repository of software.

One object is one primitive thing of the same name. Another path is another place: the new one appears before
the old one goes. Everything else changes in place, in one step for those who read it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import ClassVar, Final

from reconciler.kind import Kind, Primitive, World
from reconciler.library import Library
from reconciler.model import Condition, Declared, Json, Observed, Resource, State, Word
from reconciler.units import duration

RESERVED: Final = ".reconciler"  # what begins like this in the top folder of a repository is ours
_LONGEST: Final = 1024  # bytes of a path
_PIECE: Final = 255  # bytes of a name in it
_OFTENEST: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Verify:
    """How published content is proved, and how often.

    `checksum`: sha256 of every byte; `size`: size and time of change only.
    """

    how: str = "checksum"
    every: str = "7d"


@dataclass(frozen=True, slots=True)
class SoftwareUploadSpec:
    """`source` lies below the target's `uploads`; `path` is where its content appears in `repository`.

    `keep_previous` counts earlier contents that stay readable beside the current one.
    """

    target: str
    repository: str
    path: str
    source: str
    sha256: str
    keep_previous: int = 0
    verify: Verify = field(default_factory=Verify)


class SoftwareUpload(Kind[SoftwareUploadSpec]):
    """Declared by software librarians; grouped."""

    name: ClassVar[str] = "SoftwareUpload"
    grouped: ClassVar[bool] = True
    spec = SoftwareUploadSpec
    parts: ClassVar[tuple[Primitive, ...]] = (
        Primitive(
            "SoftwareUpload",
            immutable=frozenset({"repository", "path"}),
            replace_order="create-first",
            computed={"size": "integer", "files": "integer"},
            marked="atomic",
            listed="full",
            holds_data=False,  # the upload is the original
            cadence=timedelta(days=7),
        ),
    )

    def targets(self, declared: Declared) -> Iterable[tuple[str, str]]:
        """The one target it names."""
        return (("spec.target", declared.spec["target"]),)

    def check(self, declared: Declared) -> Iterable[tuple[str, str, str]]:
        """Paths and durations that a schema can't judge."""
        spec = declared.spec
        yield from _check_path("spec.path", spec["path"])
        yield from _check_path("spec.source", spec["source"])
        if spec["path"].startswith(RESERVED):
            hint = "choose another name for the first folder"
            yield "spec.path", f"paths that begin with {RESERVED} are ours", hint
        yield from _check_every(spec["verify"]["every"])

    def check_together(self, declared: Collection[Declared]) -> Iterable[tuple[Declared, str, str, str]]:
        """No two uploads at one path, nor one inside the other, whoever owns them."""
        places: dict[tuple[str, str], list[Declared]] = defaultdict(list)
        for upload in declared:
            places[upload.spec["target"], upload.spec["repository"]].append(upload)
        for place in sorted(places):
            yield from _clashes(places[place])

    def natural_keys(self, declared: Declared, primitive: str) -> Iterable[str]:
        """`<repository>:<path>`."""
        return (_natural_key(declared),)

    def expand(self, declared: Declared, world: World) -> Iterable[Resource | Condition]:
        """The publication, or why its target can't have it; what is published is then left as it is."""
        refusal = _refusal(declared, world)
        if refusal is not None:
            return (refusal,)
        spec = {key: value for key, value in declared.spec.items() if key != "target"}
        resource = Resource(
            declared.ref,
            self.name,
            declared.spec["target"],
            spec,
            declared.source,
            declared.metadata,
            facts={"natural": _natural_key(declared)},
        )
        return (resource,)

    def outputs(
        self,
        declared: Declared,
        parts: Collection[Observed],
        library: Library,
    ) -> Mapping[str, Json]:
        """Where the software is, once it is there: repository, path and the sha256 of its upload."""
        keys = ("repository", "path", "sha256")
        ready = (part for part in parts if part.state is State.READY)
        return next(({key: part.spec[key] for key in keys if key in part.spec} for part in ready), {})


def _natural_key(declared: Declared) -> str:
    return f"{declared.spec['repository']}:{declared.spec['path']}"


def _check_path(field_path: str, path: str) -> Iterator[tuple[str, str, str]]:
    hint = "a relative path like root/6.32"
    pieces = path.split("/")
    if path.startswith("/"):
        yield field_path, "an absolute path can't be meant here", hint
    elif any(piece in ("", ".", "..") for piece in pieces):
        yield field_path, "a path has no '..', '.' or empty pieces", hint
    elif not path.isprintable() or "\\" in path or path != path.strip():
        yield field_path, "a path has no control characters, '\\' or white space at its ends", hint
    elif len(path.encode()) > _LONGEST or any(len(piece.encode()) > _PIECE for piece in pieces):
        yield field_path, f"a path has at most {_LONGEST} bytes, and {_PIECE} in each piece", "shorten it"


def _check_every(every: str) -> Iterator[tuple[str, str, str]]:
    try:
        too_often = duration(every) < _OFTENEST
    except ValueError as error:
        yield "spec.verify.every", str(error), "write like 6h, 7d or 2w"
        return
    if too_often:
        yield "spec.verify.every", f"'{every}' is too short", "at least 1h"


def _clashes(uploads: Collection[Declared]) -> Iterator[tuple[Declared, str, str, str]]:
    """In the order of their paths, what is inside another comes after it: one look back is enough."""
    above: list[tuple[tuple[str, ...], Declared]] = []
    for upload in sorted(uploads, key=_place):
        pieces = tuple(upload.spec["path"].split("/"))
        while above and pieces[: len(above[-1][0])] != above[-1][0]:
            above.pop()
        if above:
            yield _clash(upload, above[-1][1])
            yield _clash(above[-1][1], upload)
        above.append((pieces, upload))


def _place(upload: Declared) -> tuple[list[str], str]:
    return upload.spec["path"].split("/"), str(upload.ref)


def _clash(upload: Declared, other: Declared) -> tuple[Declared, str, str, str]:
    mine, its = upload.spec["path"], other.spec["path"]
    where = "the same path" if mine == its else f"'{its}', and one can't lie inside the other,"
    message = f"{other.ref} ({other.source}) wants {where} in {upload.spec['repository']}"
    return upload, "spec.path", message, "choose another path for one of the two, or remove one file"


def _refusal(declared: Declared, world: World) -> Condition | None:
    """Why this can't be where it should be; None: it can. A suspended target is the engine's affair."""
    name = declared.spec["target"]
    target = world.targets.get(name)
    if target is None:
        there = ", ".join(sorted(world.targets)[:8]) or "none"
        message = f"there is no target {name}; there are: {there}"
        return Condition(declared.ref, Word.FAILED, "TargetUnknown", message, "author")
    if not target.serves(declared.ref.group):
        message = f"{name} does not serve the group {declared.ref.group}"
        return Condition(declared.ref, Word.FAILED, "TargetNotForGroup", message, "author")
    if target.status == "removed":
        message = f"{name} is being removed; choose another target"
        return Condition(declared.ref, Word.FAILED, "TargetRemoved", message, "author")
    return None


KIND = SoftwareUpload()
