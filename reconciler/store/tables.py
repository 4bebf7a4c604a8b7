"""The tables of the store, for SQLAlchemy Core. Importing this module costs 0.2 s: on first write only.

There are no migrations: the store is disposable. Whoever changes a table raises SCHEMA in `places.py`,
and an older store is set aside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, Connection, Float, Integer, MetaData, Table, Text
from sqlalchemy.dialects import postgresql, sqlite

METADATA = MetaData()


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, default="")


def _key(name: str) -> Column[str]:
    return Column(name, Text, primary_key=True)


def _time(name: str) -> Column[str]:
    return Column(name, Text, nullable=True)


def _number(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, default=0)


meta = Table("meta", METADATA, _key("key"), _text("value"))

runs = Table(
    "runs",
    METADATA,
    Column("number", Integer, primary_key=True),  # the order in which they came: clocks may go back
    Column("run", Text, nullable=False, unique=True),
    _text("started"),
    _time("finished"),
    _text("revision"),
    _text("digest"),
    Column("exit_code", Integer, nullable=True),
    Column("summary", Text, nullable=False, default="{}"),
    Column("seconds", Text, nullable=False, default="{}"),
    Column("blind", Text, nullable=False, default="{}"),
)

plans = Table(
    "plans",
    METADATA,
    *(_key("run"), _key("plan"), _key("digest")),
    *(_text("ref"), _text("target"), _text("action"), _text("reason"), _text("hold"), _text("fields")),
)

outcomes = Table(
    "outcomes",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("run", Text, nullable=False, index=True),
    _text("ref"),
    Column("object", Text, nullable=False, index=True),
    *(_text("target"), _text("action"), _text("why"), _text("result")),
    *(_text("reason"), _text("message"), _text("who"), _text("digest")),
)

conditions = Table(
    "conditions",
    METADATA,
    _key("ref"),
    *(_text("word"), _text("reason"), _text("message"), _text("who"), _text("path"), _number("line")),
    *(_time("since"), _time("next_try"), _number("attempts"), _text("blocked_by")),
    *(_time("last_try"), _text("digest")),
)

attempts = Table(
    "attempts",
    METADATA,
    *(_key("mark"), _key("target")),
    *(_text("ref"), _text("digest"), _text("started"), _text("run"), _number("round")),
)

reads = Table("reads", METADATA, _key("target"), _text("read"), _number("round"), _text("listed"))
verifications = Table("verifications", METADATA, _key("mark"), _text("verified"))
durations = Table(
    "durations",
    METADATA,
    _key("target"),
    Column("seconds", Float, nullable=True),
    _number("blind"),
)
removals = Table(
    "removals", METADATA, _key("ref"), _key("site"), _text("kind"), _text("group"), _text("removed")
)
approvals = Table("approvals", METADATA, _key("digest"), _text("approved"), _text("who"))
locks = Table("locks", METADATA, _key("mark"), _number("locked"))


def upsert(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert the rows, or overwrite the given columns where the key is there already."""
    if not rows:
        return
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    insert = dialect.insert(table)
    keys = [column.name for column in table.primary_key]
    values = {name: insert.excluded[name] for name in rows[0] if name not in keys}
    statement = insert.on_conflict_do_update(index_elements=keys, set_=values)
    connection.execute(statement, rows)
