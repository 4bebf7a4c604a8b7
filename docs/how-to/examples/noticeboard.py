"""A back-end in one file: a folder of JSON files as a notice board (docs/how-to/add-a-back-end.md).

<board>/<group>.<name>.json             a notice, with our mark in it; without one it is somebody else's
<board>/<group>.<name>.json~<owner>     the same while it is written: whose it is stands in its name
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reconciler.errors import NotOurs, ReadOnly, Transient
from reconciler.kind import Ask, Driver, Places
from reconciler.model import PARTIAL, Change, Mark, Observed, Ref, State, Target, mark_id

Told = dict[str, Any]  # what a file says


class Reader:
    """The board, only read."""

    def __init__(self, target: Target, places: Places) -> None:
        self.target = target.name
        self.folder = Path(places.data, target.settings["path"])
        if Path(target.settings["path"]).is_absolute() and not self.folder.is_dir():
            raise Transient(f"{self.folder} is not there: is it mounted?")

    def close(self) -> None:
        """Nothing stays open."""

    def names(self, pattern: str) -> list[str]:
        with translated(self.target):
            return sorted(path.name for path in self.folder.glob(pattern))

    def read(self, name: str) -> Told | None:
        with translated(self.target):
            path = self.folder / name
            told: Told | None = json.loads(path.read_bytes()) if path.exists() else None
            return told

    def write(self, name: str, told: Told, owner: str) -> None:
        raise ReadOnly(f"a client that only reads {self.target} was asked to write {name}")

    def remove(self, name: str) -> None:
        raise ReadOnly(f"a client that only reads {self.target} was asked to remove {name}")


class Writer(Reader):
    """The board, written too. A file is there whole or not at all."""

    def write(self, name: str, told: Told, owner: str) -> None:
        with translated(self.target):
            self.folder.mkdir(parents=True, exist_ok=True)
            half = self.folder / f"{name}~{owner}"
            with half.open("w", encoding="utf-8") as file:
                json.dump(told, file)
                file.flush()
                os.fsync(file.fileno())
            half.replace(self.folder / name)

    def remove(self, name: str) -> None:
        with translated(self.target):
            (self.folder / name).unlink(missing_ok=True)


@contextmanager
def translated(target: str) -> Iterator[None]:
    """Say who must act. What can't be read is an error, never an empty answer."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise Transient(f"the board of {target}: {error}") from error


class NoticeHand:
    """Stateless: everything it knows is in the files."""

    def observe(self, client: Reader, ask: Ask) -> Iterable[Observed]:
        """All that carries the owner's mark, half-made things too; unmarked things at the keys asked for."""
        half = {name.partition("~")[0] for name in client.names(f"*.json~{ask.owner}")}
        for name in sorted({*client.names("*.json"), *half}):
            told = client.read(name) or {}
            key = name.removesuffix(".json")
            if "mark" in told:
                mark = mark_of(told["mark"])
                if mark.owner == ask.owner:
                    yield seen(client, name, told, mark, State.FAILED if name in half else State.READY)
            elif told and key in ask.natural:
                yield Observed(Ref("Notice", "", key), "Notice", client.target, told["spec"], name)
            elif name in half:
                ref = Ref("Notice", *key.split(".", 1))
                mark = Mark(ask.owner, mark_id(ref), ref)
                yield Observed(ref, "Notice", client.target, {}, name, mark, State.FAILED, PARTIAL)

    def verify(self, client: Reader, thing: Observed) -> Observed:
        """The list shows everything: there is nothing deeper to read."""
        return thing

    def apply(self, client: Reader, change: Change, mark: Mark) -> None:
        """Spec and mark in one rename. What came there since the plan and is not ours is refused."""
        if change.want is None:
            raise ValueError(f"{change.ref}: nothing is wanted here")
        name = file_of(change.want.ref)
        there = client.read(name) or {}
        marked = there.get("mark", {})
        if there and marked.get("owner") != mark.owner and (marked or not change.want.metadata.adopt):
            raise NotOurs(f"{name} on the board of {client.target} is not ours")
        since = there.get("since") or datetime.now(UTC).isoformat()
        client.write(name, {"spec": change.want.spec, "mark": as_json(mark), "since": since}, mark.owner)
        if change.have and change.have.mark and change.have.uid != name:
            client.remove(change.have.uid)  # `formerly`: the same notice, under its new name

    def release(self, client: Reader, change: Change) -> None:
        """The mark goes, the notice stays. Released already is success."""
        for name, told, mark in ours(client, change):
            client.write(name, {key: told[key] for key in ("spec", "since")}, mark.owner)

    def delete(self, client: Reader, change: Change) -> None:
        """Gone already is success; what is no longer ours stays."""
        for name, _, _ in ours(client, change):
            client.remove(name)
        if change.have and change.have.mark:
            client.remove(f"{change.have.uid}~{change.have.mark.owner}")


def ours(client: Reader, change: Change) -> Iterator[tuple[str, Told, Mark]]:
    """What the plan saw, if it is still there with the same mark."""
    have = change.have
    told = client.read(have.uid) if have else None
    if have and have.mark and told and "mark" in told and str(mark_of(told["mark"])) == str(have.mark):
        yield have.uid, told, have.mark


def seen(client: Reader, name: str, told: Told, mark: Mark, state: State) -> Observed:
    """One file in the words of its spec. Failed beside a cut-off write, so that it is written again."""
    ref = mark.ref or Ref("Notice", "", name)
    return Observed(ref, "Notice", client.target, told["spec"], name, mark, state, since=told["since"])


def mark_of(told: Told) -> Mark:
    """The mark, as `as_json` wrote it."""
    ref = Ref.parse(told["ref"])
    return Mark(told["owner"], told["id"], ref, told["specHash"], told["lock"], told["keep"])


def as_json(mark: Mark) -> Told:
    """All of the mark: a file has room for it."""
    told = {"owner": mark.owner, "id": mark.id, "ref": str(mark.ref), "specHash": mark.spec_hash}
    return {**told, "lock": mark.lock, "keep": mark.keep}


def file_of(ref: Ref) -> str:
    """Where a notice stands. Groups and names have no dots."""
    return f"{ref.group}.{ref.name}.json"


SETTINGS = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Settings of a notice board",
    "type": "object",
    "additionalProperties": False,
    "required": ["path"],
    "properties": {"path": {"type": "string", "minLength": 1, "description": "The folder of the board."}},
}
DRIVER = Driver("noticeboard", SETTINGS, Reader, Writer, hands={"Notice": NoticeHand()})
