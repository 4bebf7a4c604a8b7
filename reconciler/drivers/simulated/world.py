"""For people and tests that play operator in a simulated world: look, meddle, change the weather.

Nothing in the line uses this. What is done here is no request: it is not counted, takes no time and
never fails as the weather would have it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from reconciler.canonical import digest_of
from reconciler.drivers.simulated import rows
from reconciler.drivers.simulated.client import calls_path, count_calls
from reconciler.drivers.simulated.settings import WEATHER
from reconciler.model import NOTHING, Json, Ref, Resource, Source, Spec, mark_id
from reconciler.model import Mark as _Mark

_THINGS: Final = """SELECT uid, kind, place, owner, ref, spec_hash, locked, kept, spec, uses, attributes,
  partial, damaged FROM things ORDER BY seq"""
_WHICH: Final = "ref = ? OR uid = ? OR place = ?"


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing as a person at the site sees it. `owner` and `ref` are empty when it carries no mark."""

    uid: str
    kind: str
    place: str
    owner: str
    ref: str
    spec_hash: str
    locked: bool
    kept: bool
    spec: Spec
    uses: tuple[str, ...]
    attributes: Mapping[str, Json]
    partial: bool
    damaged: bool


class World:
    """One simulated world in the hands of a person. `which` is a Ref, a uid or a place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        rows.make_file(path)
        calls_path(path).touch()
        self._connection = rows.connect(path, "rw", 60.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, sort: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the world as it is now."""
        self._connection.close()

    def things(self, kind: str = "") -> tuple[Thing, ...]:
        """Everything there is, whoever's it is, oldest first; of one kind when one is named."""
        found = [_thing(row) for row in self._connection.execute(_THINGS)]
        return tuple(thing for thing in found if kind in ("", thing.kind))

    def insert(self, kind: str, place: str, spec: Spec, *, owner: str = "") -> str:
        """Put something there that is not ours: unmarked, or with the mark of another owner. Its uid."""
        ref = Ref(kind, "", place)
        resource = Resource(ref, kind, "", spec, Source(""))
        mark = _Mark(owner, mark_id(ref) if owner else "", ref, digest_of(spec) if owner else "")
        with rows.transaction(self._connection):
            seq = rows.insert(self._connection, rows.Written(resource, mark, place), 0.0)
            if not owner:
                self._connection.execute("UPDATE things SET ref = '' WHERE seq = ?", (seq,))
        uid: str = self._connection.execute("SELECT uid FROM things WHERE seq = ?", (seq,)).fetchone()[0]
        return uid

    def damage(self, which: Ref | str) -> None:
        """Spoil the content. A list does not show it; a deep read does."""
        self._set(which, "damaged = 1", ())

    def halve(self, which: Ref | str) -> None:
        """Leave the thing as an interrupted making would: marked, and not whole."""
        self._set(which, "partial = 1", ())

    def change(self, which: Ref | str, **fields: Json) -> None:
        """Change some fields of the spec behind everybody's back; the mark stays as it is."""
        for row in self._found(which):
            old = self._connection.execute("SELECT spec FROM things WHERE seq = ?", (row.seq,)).fetchone()
            spec = rows.text_of({**json.loads(old[0]), **fields})
            self._set(row.uid, "spec = ?", (spec,))

    def remove(self, which: Ref | str) -> None:
        """Remove the thing behind everybody's back, used or not."""
        for row in self._found(which):
            self._connection.execute("DELETE FROM things WHERE seq = ?", (row.seq,))

    def duplicate(self, which: Ref | str) -> str:
        """Make a twin: same mark, same spec, same place. Its uid."""
        with rows.transaction(self._connection):
            row = self._found(which)[0]
            made = "UPDATE world SET made = made + 1 RETURNING name, made"
            name, seq = self._connection.execute(made).fetchone()
            copied = "kind, place, owner, mark, ref, pieces, spec_hash, locked, kept, spec, uses, attributes"
            times = "verified, ready_at, partial, damaged"
            self._connection.execute(
                f"INSERT INTO things (seq, uid, since, {copied}, {times}) "  # noqa: S608  own constants
                f"SELECT ?, ?, ?, {copied}, {times} FROM things WHERE seq = ?",
                (seq, f"{name}-{seq}", rows.stamp(rows.clock(self._connection)), row.seq),
            )
        return f"{name}-{seq}"

    def set_weather(self, **settings: Json) -> None:
        """Let these settings of the target hold from now on, e.g. `unauthorized=True`; the rest as it was.

        Counting for `times` and `failureRate` starts anew. Raises TypeError for a setting there is not.
        """
        unknown = sorted(settings.keys() - WEATHER.keys())
        if unknown:
            raise TypeError(f"no such weather: {', '.join(unknown)}; there is {', '.join(sorted(WEATHER))}")
        told = self._connection.execute("SELECT weather FROM world").fetchone()[0]
        self._tell({**json.loads(told), **settings})

    def clear_weather(self) -> None:
        """Go back to what the target's own settings say."""
        self._tell({})

    def pass_time(self, seconds: float) -> None:
        """Set the world's clock ahead, e.g. until something is built."""
        self._connection.execute("UPDATE world SET ahead = ahead + ?", (seconds,))

    def calls(self) -> dict[str, int]:
        """How many requests there were, by `operation kind`."""
        return count_calls(self.path)

    def forget_calls(self) -> None:
        """Begin the access log anew."""
        calls_path(self.path).write_bytes(b"")
        self._connection.execute("UPDATE world SET weather_since = 0")

    def digest(self) -> str:
        """One digest of all that matters: equal worlds have equal ones, whatever their uids and times."""
        things = self.things()
        names = {thing.uid: thing.ref or thing.place for thing in things}
        return digest_of(sorted(rows.text_of(_comparable(thing, names)) for thing in things))

    def _tell(self, weather: Mapping[str, Json]) -> None:
        since = calls_path(self.path).stat().st_size
        told = (json.dumps(weather), since)
        self._connection.execute("UPDATE world SET weather = ?, weather_since = ?", told)

    def _found(self, which: Ref | str) -> list[rows.Row]:
        found = rows.find(self._connection, _WHICH, *[str(which)] * 3)
        if not found:
            raise LookupError(f"there is no {which} in {self.path.name}")
        return found

    def _set(self, which: Ref | str, assignment: str, values: tuple[Json, ...]) -> None:
        for row in self._found(which):
            statement = f"UPDATE things SET {assignment} WHERE seq = ?"  # noqa: S608  own constants
            self._connection.execute(statement, (*values, row.seq))


def open_world(path: str | Path) -> World:
    """Open a world, made empty when there is none. Close it, or use it in `with`."""
    return World(Path(path))


def world_digest(path: str | Path) -> str:
    """The digest of a world that nobody has open for writing; of an empty one when there is no file."""
    if not Path(path).exists():
        return digest_of([])
    with closing(open_world(path)) as world:
        return world.digest()


def _thing(row: sqlite3.Row | tuple[Json, ...]) -> Thing:
    (uid, kind, place, owner, ref, spec_hash, locked, kept, spec, uses, attributes, partial, damaged) = row
    return Thing(
        uid,
        kind,
        place,
        owner,
        ref,
        spec_hash,
        bool(locked),
        bool(kept),
        json.loads(spec),
        tuple(json.loads(uses)),
        json.loads(attributes) or NOTHING,
        bool(partial),
        bool(damaged),
    )


def _comparable(thing: Thing, names: Mapping[str, str]) -> list[Json]:
    uses = sorted(names.get(uid, "gone") for uid in thing.uses)
    marked = [thing.owner, thing.ref, thing.spec_hash, thing.locked, thing.kept]
    return [thing.kind, thing.place, marked, dict(thing.spec), uses, thing.partial, thing.damaged]
