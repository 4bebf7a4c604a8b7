"""What people read: `index.json` (what is published, what was removed) and `removed.log` of a repository.

Both are written while the repository is locked, and neither is ever believed: the receipts are the truth, and
an index that is missing or damaged is made from them again.
"""

from __future__ import annotations

import json
import os
from typing import Any

from reconciler.drivers.publish.layout import Label, Repository, write_file
from reconciler.drivers.publish.publication import Receipt, group_versions, labels_in, read_version

_REMOVALS = 100  # how many the index shows; the log has all
_TAIL = 1 << 16  # bytes of the log that are looked at for a line that is there already


def show_published(repository: Repository, receipt: Receipt, previous: list[str]) -> None:
    """Put one publication into the index, or make the index anew."""
    index = _read(repository)
    index["published"][str(receipt.spec["path"])] = _entry(receipt, previous)
    _write(repository, index)


def show_removed(repository: Repository, label: Label, path: str) -> None:
    """Take one publication out of the index, if the index says that it is of that Ref."""
    index = _read(repository)
    if index["published"].get(path, {}).get("ref") == str(label.ref):
        del index["published"][path]
    _write(repository, index)


def log_removal(repository: Repository, label: Label, line: dict[str, str]) -> None:
    """Note what goes, when, and by which Ref, before it goes; once, however often it is tried.

    `line` says `action`, `path`, `sha256`, `since` and `at`.
    """
    said = {"version": str(label), "ref": str(label.ref), "owner": label.owner} | line
    if any(_same(entry, said) for entry in removals(repository)):
        return
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    descriptor = os.open(repository.inside("removed.log"), flags, 0o644)
    try:
        os.write(descriptor, json.dumps(said, sort_keys=True).encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _same(entry: dict[str, Any], said: dict[str, str]) -> bool:
    """The same removal, tried again? Numbers start anew when all versions are gone; times don't."""
    return all(entry.get(key) == said[key] for key in ("version", "since", "action"))


def removals(repository: Repository) -> list[dict[str, Any]]:
    """The latest lines of the log, oldest first; lines that were cut by a kill are left out."""
    try:
        with open(repository.inside("removed.log"), "rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - _TAIL))
            lines = stream.read().split(b"\n")
    except FileNotFoundError:
        return []
    return [entry for line in lines if (entry := _parse(line))]


def _parse(line: bytes) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _entry(receipt: Receipt, previous: list[str]) -> dict[str, Any]:
    return {
        "ref": str(receipt.mark.ref),
        "owner": receipt.mark.owner,
        "sha256": str(receipt.spec["sha256"]),
        "since": receipt.created,
        "size": receipt.size,
        "files": receipt.files,
        "previous": previous,
    }


def _read(repository: Repository) -> dict[str, Any]:
    try:
        with open(repository.inside("index.json"), "rb") as stream:
            index = json.load(stream)
        if isinstance(index["published"], dict):
            return {"published": index["published"]}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        pass
    return {"published": _derive(repository)}


def _derive(repository: Repository) -> dict[str, Any]:
    versions = [read_version(repository, label) for label in labels_in(repository)]
    shown = {}
    for publication in group_versions(repository, versions):
        current = publication.current
        if current and current.receipt:
            previous = [version.sha256 for version in publication.kept]
            shown[publication.path] = _entry(current.receipt, previous)
    return shown


def _write(repository: Repository, index: dict[str, Any]) -> None:
    said = {"schemaVersion": 1, "repository": repository.name, "removed": removals(repository)[-_REMOVALS:]}
    content = json.dumps(said | index, sort_keys=True, indent=1).encode() + b"\n"
    write_file(repository.inside("index.json"), content, repository.temporary("index"))
