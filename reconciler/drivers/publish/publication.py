"""Reading a repository: receipts, versions, what stands at a path. Nothing is written here."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.drivers.publish.layout import RESERVED, Home, Label, Repository
from reconciler.drivers.publish.stream import escaped
from reconciler.model import NOTHING, Json, Mark, Spec


@dataclass(frozen=True, slots=True)
class Receipt:
    """Our mark on one version, and what was asked for. Bytes, files and times once it is complete.

    `verified` is when every byte was last written or read by us (ISO 8601, UTC).
    """

    mark: Mark
    spec: Spec
    created: str
    complete: bool = False
    size: int = 0
    files: int = 0
    verified: str = ""

    def encoded(self) -> bytes:
        mark = self.mark
        said = {
            "schemaVersion": 1,
            "mark": str(mark),
            "ref": str(mark.ref),
            "specHash": mark.spec_hash,
            "lock": mark.lock,
            "keep": mark.keep,
            "spec": dict(self.spec),
            "created": self.created,
            "complete": self.complete,
            "size": self.size,
            "files": self.files,
            "verified": self.verified,
        }
        return json.dumps(said, sort_keys=True, indent=1, default=dict).encode() + b"\n"


def read_receipt(path: str, label: Label) -> Receipt | None:
    """The receipt of that version; None where it is missing or damaged."""
    try:
        with open(path, "rb") as stream:
            said: Mapping[str, Any] = json.load(stream)
        lock, keep = bool(said["lock"]), bool(said["keep"])
        home = label.home
        mark = Mark(home.owner, home.id, home.ref, str(said["specHash"]), lock, keep)
        if not {"repository", "path", "sha256"} <= said["spec"].keys():
            return None
        rest = (bool(said["complete"]), int(said["size"]), int(said["files"]), str(said["verified"]))
        return Receipt(mark, said["spec"], str(said["created"]), *rest)
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, AttributeError):
        return None


@dataclass(frozen=True, slots=True)
class Version:
    """One version on disk; `entry` names its content in the store, empty while it has none."""

    label: Label
    receipt: Receipt | None
    entry: str

    @property
    def path(self) -> str:
        return str(self.receipt.spec["path"]) if self.receipt else ""

    @property
    def sha256(self) -> str:
        return str(self.receipt.spec["sha256"]) if self.receipt else ""

    @property
    def complete(self) -> bool:
        return self.receipt is not None and self.receipt.complete and bool(self.entry)


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands at a path: a version of somebody (`label`), something foreign (`word`), or nothing.

    `blocked` names the part of the path that is no folder of the repository.
    """

    label: Label | None = None
    word: str = ""
    link: bool = False
    blocked: str = ""


@dataclass(frozen=True, slots=True)
class Publication:
    """All versions that one mark has at one path, oldest first, and what readers find there."""

    repository: Repository
    path: str
    versions: tuple[Version, ...]
    standing: Standing

    @property
    def current(self) -> Version | None:
        """The version that readers see; None where they see nothing, or something else."""
        shown = self.standing.label
        return next((version for version in self.versions if version.label == shown), None)

    @property
    def latest(self) -> Version:
        return self.versions[-1]

    @property
    def kept(self) -> tuple[Version, ...]:
        """The earlier versions that stay readable, newest first: other contents, `keepPrevious` of them."""
        current = self.current
        if current is None or current.receipt is None:
            return ()
        seen = {current.sha256}
        kept: list[Version] = []
        for version in reversed(self.versions):
            if len(kept) == int(current.receipt.spec.get("keepPrevious", 0)):
                break
            if (
                version.label.number < current.label.number
                and version.complete
                and version.sha256 not in seen
            ):
                seen.add(version.sha256)
                kept.append(version)
        return tuple(kept)

    @property
    def leftovers(self) -> tuple[Version, ...]:
        """What a killed run left: neither current nor kept."""
        current = (self.current,) if self.current else ()
        stay = {version.label for version in (*current, *self.kept)}
        return tuple(version for version in self.versions if version.label not in stay)


def find_repositories(path: str) -> list[Repository]:
    """Every repository below the target's directory that we ever published in, sorted."""
    found = (Repository(name, f"{path}/{name}") for name in sorted(os.listdir(path)))
    return [repository for repository in found if os.path.isdir(repository.inside("published"))]


def homes_in(repository: Repository) -> list[Home]:
    """The homes of every owner, sorted."""
    found = (Home.parse(name) for name in os.listdir(repository.inside("published")))
    return sorted(home for home in found if home)


def publications_at(repository: Repository, home: Home) -> list[Publication]:
    """The versions at one home, by path. One without a readable receipt goes to the first path."""
    versions = [_version(repository, label) for label in _labels(repository, home)]
    groups: dict[str, list[Version]] = {}
    for version in versions:
        groups.setdefault(version.path, []).append(version)
    if "" in groups and len(groups) > 1:
        lost = groups.pop("")
        groups[min(groups)] += lost
    return [_publication(repository, path, groups[path]) for path in sorted(groups)]


def _labels(repository: Repository, home: Home) -> list[Label]:
    try:
        names = os.listdir(repository.inside("published", str(home)))
    except FileNotFoundError:
        return []
    numbers = sorted(int(name) for name in names if name.isdecimal())
    return [Label(home, number) for number in numbers or (0,)]


def _version(repository: Repository, label: Label) -> Version:
    receipt = read_receipt(repository.published(label, "receipt.json"), label)
    return Version(label, receipt, entry_of(repository, label))


def _publication(repository: Repository, path: str, versions: list[Version]) -> Publication:
    ordered = tuple(sorted(versions, key=lambda version: version.label.number))
    return Publication(repository, path, ordered, shown_at(repository, path) if path else Standing())


def entry_of(repository: Repository, label: Label) -> str:
    """The name of the content of a version in the store; empty where it has none."""
    try:
        text = os.readlink(repository.published(label, "tree"))
    except OSError:
        return ""
    pieces = text.split("/")
    return pieces[4] if pieces[:4] == ["..", "..", "..", "store"] and pieces[5:] == ["tree"] else ""


def shown_at(repository: Repository, path: str) -> Standing:
    """What readers find at a path: one call where all is well, a closer look where not."""
    try:
        label = label_at(repository, path)
    except OSError:
        label = None
    return Standing(label, link=True) if label else look_at(repository, path)


def look_at(repository: Repository, path: str) -> Standing:
    """What stands at a path of the repository. Links are not followed, neither there nor above."""
    pieces = path.split("/")
    for depth in range(1, len(pieces)):
        above = "/".join(pieces[:depth])
        mode = _mode(repository.visible(above))
        if not mode:
            return Standing()
        if not stat.S_ISDIR(mode):
            return Standing(blocked=above, word=_word(repository, above, mode))
    mode = _mode(repository.visible(path))
    if not mode:
        return Standing()
    label = label_at(repository, path) if stat.S_ISLNK(mode) else None
    return Standing(label, "" if label else _word(repository, path, mode), stat.S_ISLNK(mode))


def _mode(path: str) -> int:
    try:
        return os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _word(repository: Repository, path: str, mode: int) -> str:
    if stat.S_ISLNK(mode):
        return f"a link to {escaped(os.readlink(repository.visible(path)))}"
    return "a directory" if stat.S_ISDIR(mode) else "a file"


def label_at(repository: Repository, path: str) -> Label | None:
    """The version that the link at `path` shows; None where it is no link of ours."""
    text = os.readlink(repository.visible(path))
    start = "../" * path.count("/") + f"{RESERVED}/published/"
    if not text.startswith(start) or not text.endswith("/tree"):
        return None
    return Label.parse(text[len(start) : -len("/tree")])


def describe(publication: Publication) -> Mapping[str, Json]:
    """The attributes of a publication: computed by us, wished by nobody."""
    shown = publication.current or publication.latest
    if shown.receipt is None:
        return NOTHING
    return {
        "size": shown.receipt.size,
        "files": shown.receipt.files,
        "published": shown.receipt.created,
        "previous": [version.sha256 for version in publication.kept],
    }
