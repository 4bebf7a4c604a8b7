"""The file of a simulated world: its tables, and what is read and written in one request.

One row per thing. The journal is a rollback journal: a reader then needs no right to write, which a
write-ahead log would ask for, and one request is one transaction, which kill -9 can't cut in two.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from reconciler.canonical import canonical
from reconciler.model import NOTHING, Json, Mark, Ref, Resource, mark_id

VERSION: Final = 1
_TABLES: Final = f"""
BEGIN;
CREATE TABLE world (name TEXT NOT NULL, made INTEGER NOT NULL, ahead REAL NOT NULL,
                    weather TEXT NOT NULL, weather_since INTEGER NOT NULL);
CREATE TABLE things (
  seq INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, place TEXT NOT NULL,
  owner TEXT NOT NULL, mark TEXT NOT NULL, ref TEXT NOT NULL, pieces TEXT NOT NULL,
  spec_hash TEXT NOT NULL, locked INTEGER NOT NULL, kept INTEGER NOT NULL,
  spec TEXT NOT NULL, uses TEXT NOT NULL, attributes TEXT NOT NULL,
  since TEXT NOT NULL, verified TEXT NOT NULL, ready_at REAL NOT NULL,
  partial INTEGER NOT NULL DEFAULT 0, damaged INTEGER NOT NULL DEFAULT 0,
  listed TEXT GENERATED ALWAYS AS (json_array(seq, uid, place, owner, json(pieces), mark, spec_hash,
    locked, kept, json(spec), json(uses), json(attributes), since, verified, ready_at, partial)) STORED);
CREATE INDEX things_by_kind ON things (kind, seq);
CREATE INDEX things_by_mark ON things (mark, kind);
CREATE INDEX things_by_place ON things (kind, place);
CREATE INDEX things_in_need ON things (seq) WHERE uses <> '[]';
PRAGMA user_version = {VERSION};
COMMIT;
"""
_FILTER: Final = """kind = :kind AND (owner = :owner
  OR (owner = '' AND place IN (SELECT value FROM json_each(:natural))))"""
_PAGE: Final = f"""SELECT (SELECT count(*) FROM things WHERE {_FILTER}), group_concat(listed)
  FROM (SELECT listed FROM things WHERE {_FILTER} AND seq > :after ORDER BY seq LIMIT :size + 1)"""  # noqa: S608  own constants
_INSERT: Final = """INSERT INTO things (seq, uid, kind, place, owner, mark, ref, pieces, spec_hash,
  locked, kept, spec, uses, attributes, since, verified, ready_at) VALUES (:seq, :uid, :kind, :place,
  :owner, :mark, :ref, :pieces, :spec_hash, :locked, :kept, :spec, :uses, :attributes, :since,
  :verified, :ready_at)"""
_UPDATE: Final = """UPDATE things SET owner = :owner, mark = :mark, ref = :ref, pieces = :pieces,
  spec_hash = :spec_hash, locked = :locked, kept = :kept, place = :place, spec = :spec, uses = :uses,
  attributes = :attributes, verified = :verified, partial = 0, damaged = 0 WHERE seq = :seq"""


class Page(NamedTuple):
    """One page of a list: how many there are in all, the rows after the last one seen, are there more."""

    total: int
    rows: list[list[Any]]
    more: bool


class Row(NamedTuple):
    """What a write looks at before it decides."""

    seq: int
    uid: str
    owner: str
    mark: str
    ref: str
    spec_hash: str
    place: str
    partial: int
    damaged: int


_COLUMNS: Final = ", ".join(Row._fields)


class Written(NamedTuple):
    """A thing as it is to be written: what is wished, where it stands, what is made up for it."""

    resource: Resource
    mark: Mark
    place: str
    attributes: Mapping[str, Json] = NOTHING


def make_file(path: Path) -> None:
    """Make the file of an empty world, whole or not at all. An existing one is left as it is.

    Who makes it holds a lock on the new file, and nobody writes there once the world has its name.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    with fresh.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if path.exists():
            fresh.unlink(missing_ok=True)
            return
        file.truncate(0)
        file.write(_empty(path.name.removesuffix(".sqlite").removesuffix(".world")))
        file.flush()
        os.fsync(file.fileno())
        fresh.rename(path)


def _empty(name: str) -> bytes:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        fill_empty(connection, name)
        return connection.serialize()


def fill_empty(connection: sqlite3.Connection, name: str) -> None:
    """Make the tables of a world without things."""
    connection.executescript(_TABLES)
    connection.execute("INSERT INTO world VALUES (?, 0, 0, '{}', 0)", (name,))


def connect(path: Path, mode: str, timeout: float) -> sqlite3.Connection:
    """Open the file for reading (`ro`) or writing (`rw`). Raises sqlite3.Error."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,  # a client belongs to one thread; another one may close it
    )
    if mode == "rw":
        connection.execute("PRAGMA synchronous = OFF")  # enough against kill -9
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found != VERSION:
        connection.close()
        raise sqlite3.DatabaseError(f"not a simulated world of version {VERSION}: {path}")
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, and alone."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def clock(connection: sqlite3.Connection) -> float:
    """The world's own time, in seconds since 1970: the machine's, and how far a person set it ahead."""
    ahead: float = connection.execute("SELECT ahead FROM world").fetchone()[0]
    return time.time() + ahead


def stamp(now: float) -> str:
    """ISO 8601 UTC with microseconds: sorts as text."""
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="microseconds")


def page(
    connection: sqlite3.Connection, kind: str, owner: str, natural: frozenset[str], *, after: int, size: int
) -> Page:
    """The things of one kind that carry this owner's mark or stand unmarked at these places.

    The file keeps each row also as the JSON that a list shows, so that Python reads one document a
    page and SQLite only copies.
    """
    values = {"kind": kind, "owner": owner, "natural": json.dumps(sorted(natural))}
    total, listed = connection.execute(_PAGE, {**values, "after": after, "size": size}).fetchone()
    rows = json.loads(f"[{listed or ''}]")
    return Page(total, rows[:size], len(rows) > size)


def find(connection: sqlite3.Connection, condition: str, *values: object) -> list[Row]:
    """The rows that fit, oldest first."""
    query = f"SELECT {_COLUMNS} FROM things WHERE {condition} ORDER BY seq"  # noqa: S608  own constants
    return [Row(*found) for found in connection.execute(query, values)]


def insert(connection: sqlite3.Connection, written: Written, build_seconds: float) -> int:
    """Make one more thing; its number in this world, which is never given twice."""
    made = "UPDATE world SET made = made + 1 RETURNING name, made"
    name, seq = connection.execute(made).fetchone()
    now = clock(connection)
    row = {**_columns(connection, written, now), "seq": seq, "uid": f"{name}-{seq}"}
    connection.execute(_INSERT, {**row, "since": stamp(now), "ready_at": now + build_seconds})
    return int(seq)


def update(connection: sqlite3.Connection, seq: int, written: Written) -> None:
    """Make a thing what is wished, mark and content included."""
    connection.execute(_UPDATE, {**_columns(connection, written, clock(connection)), "seq": seq})


def _columns(connection: sqlite3.Connection, written: Written, now: float) -> dict[str, object]:
    resource, mark = written.resource, written.mark
    ref = mark.ref or resource.ref
    return {
        "kind": resource.kind,
        "place": written.place,
        "owner": mark.owner,
        "mark": mark.id,
        "ref": str(ref),
        "pieces": pieces(ref),
        "spec_hash": mark.spec_hash,
        "locked": mark.lock,
        "kept": mark.keep,
        "spec": text_of(resource.spec),
        "uses": text_of(_uses(connection, resource, mark.owner)),
        "attributes": text_of(written.attributes),
        "verified": stamp(now),
    }


def text_of(value: Json) -> str:
    """A JSON value as it lies in a column."""
    return canonical(value).decode()


def pieces(ref: Ref) -> str:
    """A Ref as the list that `Ref(*…)` takes: cheaper to read than its text."""
    return text_of([ref.kind, ref.group, ref.name, ref.part])


def _uses(connection: sqlite3.Connection, resource: Resource, owner: str) -> list[str]:
    """The uids of the things in this world that the resource needs: of successor and predecessor the
    successor, of twins the older one, because these stay.
    """
    needed = [mark_id(ref) for ref in sorted(resource.needs)]
    query = "SELECT uid, spec_hash FROM things WHERE owner = ? AND mark = ? ORDER BY seq"
    found = [connection.execute(query, (owner, mark)).fetchall() for mark in needed]
    return [next(uid for uid, spec_hash in rows if spec_hash == rows[-1][1]) for rows in found if rows]


def user_of(connection: sqlite3.Connection, uid: str) -> str:
    """The uid of a thing that uses this one; empty when none does."""
    query = """SELECT things.uid FROM things, json_each(things.uses)
               WHERE things.uses <> '[]' AND json_each.value = ? LIMIT 1"""
    found = connection.execute(query, (uid,)).fetchone()
    return found[0] if found else ""


def delete_inside(connection: sqlite3.Connection, uid: str, kinds: Sequence[str]) -> None:
    """Delete the things of these kinds that use this one."""
    inside = "EXISTS (SELECT 1 FROM json_each(things.uses) WHERE value = ?)"
    connection.execute(
        f"DELETE FROM things WHERE kind IN (SELECT value FROM json_each(?)) AND {inside}",  # noqa: S608  constants
        (json.dumps(list(kinds)), uid),
    )
