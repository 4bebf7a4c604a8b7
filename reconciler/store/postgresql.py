"""The store in PostgreSQL, where several machines share it: one schema per owner in one database.

Passwords come from where PostgreSQL's own tools take them (PGPASSFILE, PGPASSWORD, a service file),
never from the URL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import sqlalchemy
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from reconciler.errors import Transient, UsageError
from reconciler.store.lease import SessionLease, session_name
from reconciler.store.places import SCHEMA, Found, judged

_BOUNDED: Final[Mapping[str, Any]] = {  # libpq: a dead network is noticed within seconds, at both ends
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
_SERVER: Final = (
    "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3 -c lock_timeout=30s"
)


class PostgresPlace:
    """Where the store of one owner is: the schema `reconciler_<owner>` of a database."""

    def __init__(self, url: str, owner: str, warn: Callable[[str], None]) -> None:
        self.owner = owner
        self._url = _parsed(url)
        self._schema = f"reconciler_{owner}"
        self._warn = warn
        self._warned = False
        self._engine = self._connected(self._schema)

    def __str__(self) -> str:
        return f"{self._url.host or 'local'}/{self._url.database}"

    def _connected(self, schema: str) -> Engine:
        options = f'{_SERVER} -c search_path="{schema}"'
        arguments = {**_BOUNDED, "options": options, "application_name": session_name()}
        return create_engine(self._url, connect_args=arguments, pool_pre_ping=True, pool_size=2)

    def rows(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """The rows of a select; none where there is no store of ours to read. Creates nothing."""
        with self.translated(), self._engine.connect() as connection:
            found = self._examined(connection)
            if found is Found.OTHER_SCHEMA and not self._warned:
                self._warned = True
                self._warn(f"store {self}: it is not of schema {SCHEMA}; read as empty")
            if found is not Found.OURS:
                return []
            return [tuple(row) for row in connection.execute(text(statement), parameters)]

    def _examined(self, connection: sqlalchemy.Connection) -> Found:
        names = text("SELECT tablename FROM pg_tables WHERE schemaname = :schema")
        tables = {name for (name,) in connection.execute(names, {"schema": self._schema})}
        if "meta" not in tables:
            return judged(tables, {}, self.owner)
        rows = connection.execute(text("SELECT key, value FROM meta"))
        facts = {row.key: row.value for row in rows}
        return judged(tables, facts, self.owner)

    def is_ours(self) -> bool:
        """Is there a store that this version can write to?"""
        return bool(self.rows("SELECT key FROM meta"))

    def lease(self) -> SessionLease:
        """Take the one lock of this owner on a connection of its own. Raises Locked."""
        import psycopg  # noqa: PLC0415  optional: the extra `postgresql`

        url = self._url.set(drivername="postgresql")
        with self.translated():
            connection = psycopg.connect(
                url.render_as_string(hide_password=False),
                autocommit=True,
                options=_SERVER,
                application_name=session_name(),
                **_BOUNDED,
            )
            return SessionLease(connection, self.owner)

    def prepare(self) -> None:
        """Make sure, under the lease, that the schema can take our tables; an older one is renamed."""
        with self.translated(), self._engine.begin() as connection:
            found = self._examined(connection)
            if found is Found.FOREIGN:
                raise UsageError(f"schema {self._schema} in {self} holds tables that are not ours")
            if found is Found.OTHER_SCHEMA:
                aside = self._set_aside(connection)
                self._warn(f"store {self}: not of schema {SCHEMA}; set aside as {aside}")
            if not self._exists(connection, self._schema):
                connection.execute(text(f'CREATE SCHEMA "{self._schema}"'))

    def _exists(self, connection: sqlalchemy.Connection, schema: str) -> bool:
        statement = text("SELECT 1 FROM pg_namespace WHERE nspname = :schema")
        return connection.execute(statement, {"schema": schema}).first() is not None

    def _set_aside(self, connection: sqlalchemy.Connection) -> str:
        number = 1
        while self._exists(connection, f"{self._schema}_old_{number}"):
            number += 1
        aside = f"{self._schema}_old_{number}"
        connection.execute(text(f'ALTER SCHEMA "{self._schema}" RENAME TO "{aside}"'))
        return aside

    def engines(self) -> tuple[Engine, Engine]:
        """The same twice: a commit is on the disk when it returns."""
        return self._engine, self._engine

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Database errors as ours, with what to do; never with the URL."""
        import psycopg  # noqa: PLC0415  optional: the extra `postgresql`

        try:
            yield
        except DBAPIError as error:
            raise self._error(error.orig or error) from None
        except (SQLAlchemyError, psycopg.Error) as error:
            raise self._error(error) from None

    def _error(self, error: BaseException) -> Exception:
        said = str(error).strip().split("\n")[0]
        if type(error).__name__ == "InsufficientPrivilege":
            hint = f'as its administrator: CREATE SCHEMA "{self._schema}" AUTHORIZATION <user>'
            return UsageError(f"store {self}: {said}", hint=hint)
        hint = "see that the server is up, has space and can be reached, then run again: nothing is lost"
        return Transient(f"store {self}: {said}", hint=hint)


def _parsed(url: str) -> sqlalchemy.URL:
    try:
        parsed = sqlalchemy.make_url(url)
    except SQLAlchemyError:
        raise UsageError(
            "the URL of the store can't be read: expected postgresql://USER@HOST:PORT/DATABASE"
        ) from None
    if parsed.password is not None:
        raise UsageError("the URL of the store holds a password", hint="put it into PGPASSFILE or PGPASSWORD")
    return parsed
