"""The verbs of the store: what a run records before, while and after it writes the world.

Only who holds the lease may write, and every write asks the lease first. `note_readings` and
`note_verified` are statistics of reading: a plan may leave them as well, where there is a store already.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from reconciler.errors import Locked, ReconcilerError
from reconciler.model import Change, Condition, Plan, Record, Ref
from reconciler.store import statistics
from reconciler.store.history import History
from reconciler.store.lease import Lease
from reconciler.store.places import Place, place_of
from reconciler.store.rows import (
    SELECT_DONE_IN_RUN,
    SELECT_DONE_TO,
    SELECT_RUNS,
    Done,
    Reading,
    Removal,
    Retention,
    Run,
    done_of,
    run_of,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_KEPT = Retention()


def open_store(location: str | Path, owner: str) -> Store:
    """The store of one owner at a path or an SQLAlchemy URL. Creates nothing. Raises UsageError.

    What a person should hear about it (unreadable, set aside) is in `Store.notices`.
    """
    notices: list[str] = []
    place = place_of(location, owner, notices.append)
    place.is_ours()
    return Store(place, notices)


class Store:
    """One store, opened. A context manager: leaving it closes the connections."""

    def __init__(self, place: Place, notices: list[str]) -> None:
        self._place = place
        self._notices = notices
        self._lease: Lease | None = None
        self._engines: tuple[Engine, Engine] | None = None
        self._prepared = False
        self._planned: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections. Closed already is success; the next use opens them again."""
        engines, self._engines = self._engines or (), None
        self._prepared = False
        for engine in engines:
            engine.dispose()

    @property
    def notices(self) -> tuple[str, ...]:
        """One line for each thing that a person should hear about, until now."""
        return tuple(self._notices)

    # Reading: no lock, nothing created.

    def history(self, now: datetime) -> History:
        """The past, read lazily. Take it before reading targets: what they prove, they prove of then."""
        found = self._place.rows("SELECT value FROM meta WHERE key = 'round'")
        return History(now, self._place.rows, int(found[0][0]) if found else 0)

    def runs(self, limit: int = 20, ref: Ref | None = None) -> tuple[Run, ...]:
        """The last runs, newest first; with a Ref, those that changed it or a part of it."""
        about = str(ref) if ref else ""
        return tuple(run_of(row) for row in self._place.rows(SELECT_RUNS, ref=about, most=limit))

    def outcomes_of_run(self, run: str) -> tuple[Done, ...]:
        """What one run did, in its order."""
        return tuple(done_of(row) for row in self._place.rows(SELECT_DONE_IN_RUN, run=run))

    def outcomes_of(self, ref: Ref, limit: int = 100) -> tuple[Done, ...]:
        """What was done to an object and its parts, or to one part; newest first."""
        return tuple(done_of(row) for row in self._place.rows(SELECT_DONE_TO, ref=str(ref), most=limit))

    # Writing: under the lease.

    def lease(self) -> Lease:
        """Take the one lock of this owner; `with` frees it. Raises Locked, naming who holds it."""
        self._lease = self._place.lease()
        self._prepared = False
        return self._lease

    def begin(self, revision: str, now: datetime) -> str:
        """Record that a run began and return its name. Creates the store where there is none."""
        self._planned = set()
        with self._transaction() as connection:
            run: str = _writing().insert_run(connection, revision, now)
        return run

    def record_plan(self, run: str, plan: Plan) -> None:
        """Record what may be written (law 11): `attempt` refuses any other change."""
        with self._transaction() as connection:
            _writing().write_plan(connection, run, plan)
        self._planned.update(change.digest for change in plan.changes)

    def attempt(
        self, run: str, changes: Collection[Change], now: datetime, *, removals: Collection[Removal] = ()
    ) -> None:
        """Record, on the disk, what is about to be written, before its first write: once per round.

        `removals` are those among them that count against the budget. Forgets when the content of
        these things was verified.
        """
        strange = sorted(str(change.ref) for change in changes if change.digest not in self._planned)
        if strange:
            raise ReconcilerError(f"{strange[0]}: about to be changed in a way that no recorded plan shows")
        if changes:
            with self._durable_transaction() as connection:
                _writing().write_attempts(connection, run, changes, now, removals)

    def finish(
        self, record: Record, *, followed: str = "", retention: Retention = _KEPT
    ) -> Mapping[Ref, Condition]:
        """Record how a whole pass ended; conditions that are not in it are forgotten.

        `followed` is the commit that the next run must follow; empty: the record's own.
        Returns the conditions as they now stand, with `since` kept where word and reason stayed.
        """
        return self._end(record, followed, retention, lambda _connection: {})

    def finish_part(
        self, record: Record, *, followed: str = "", retention: Retention = _KEPT
    ) -> Mapping[Ref, Condition]:
        """Record how a pass over some objects or targets ended; other conditions stay as they were."""
        return self._end(record, followed, retention, _writing().read_conditions)

    def _end(
        self,
        record: Record,
        followed: str,
        retention: Retention,
        others: Callable[[Connection], Mapping[Ref, Condition]],
    ) -> Mapping[Ref, Condition]:
        with self._transaction() as connection:
            after: Mapping[Ref, Condition] = _writing().write_end(
                connection, record, followed, others(connection), retention
            )
        return after

    def approve(self, digests: Iterable[str], now: datetime, who: str) -> None:
        """Release the changes with these digests for 24 hours."""
        rows = [{"digest": digest, "who": who} for digest in sorted(set(digests))]
        with self._transaction() as connection:
            _writing().write_approvals(connection, rows, now)

    def note_locks(self, locks: Mapping[str, bool]) -> None:
        """Mark id → locked, for things whose mark has no room to say so. Only changes are written."""
        known = dict(self._place.rows("SELECT mark, locked FROM locks"))
        changed = sorted(mark for mark, locked in locks.items() if known.get(mark) != locked)
        rows = [{"mark": mark, "locked": int(locks[mark])} for mark in changed]
        if rows:
            with self._transaction() as connection:
                _writing().write_locks(connection, rows)

    # Statistics of reading.

    def note_readings(self, readings: Iterable[Reading], history: History) -> None:
        """Learn from how targets were read; `history` is the one taken before.

        What they listed becomes proof of absence only for who holds the lease: without it somebody
        else may be writing there. Only what changed is written; a plan creates no store.
        """
        readings = tuple(readings)
        if self._leased is None:
            self._note(statistics.durations(self._place.rows, readings), [])
            return
        listed = statistics.listings(self._place.rows, readings, history)
        self._note(statistics.durations(self._place.rows, readings), listed)

    def _note(self, durations: list[dict[str, Any]], listings: list[dict[str, Any]]) -> None:
        if (durations or listings) and (self._leased or self._place.is_ours()):
            with self._statistics_transaction() as connection:
                _writing().write_durations(connection, durations)
                _writing().write_listings(connection, listings)

    def note_verified(self, verified: Mapping[str, datetime]) -> None:
        """Mark id → when the content of the thing was proved. A plan creates no store."""
        if verified and (self._leased or self._place.is_ours()):
            with self._statistics_transaction() as connection:
                _writing().write_verifications(connection, verified)

    # Connections.

    @property
    def _leased(self) -> Lease | None:
        """The lock that was taken and not given back; it may have been lost."""
        return None if self._lease is None or self._lease.released else self._lease

    def _prepare(self) -> tuple[Engine, Engine]:
        """Once per lease: a sound store with our tables, watched by the lock."""
        lease = self._leased
        if lease is None:
            raise Locked("the store was to be written without the lock", hint="this is a defect of ours")
        lease.require()
        if not self._prepared or self._engines is None:
            self.close()
            self._place.prepare()
            self._engines = self._place.engines()
            with self._place.translated():
                _writing().create_tables(self._engines[1], self._place.owner)
            lease.watch_store()
            self._prepared = True
        return self._engines

    @contextmanager
    def _begun(self, engine: Engine) -> Iterator[Connection]:
        with self._place.translated(), engine.begin() as connection:
            yield connection

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._begun(self._prepare()[0]) as connection:
            yield connection

    @contextmanager
    def _durable_transaction(self) -> Iterator[Connection]:
        with self._begun(self._prepare()[1]) as connection:
            yield connection

    @contextmanager
    def _statistics_transaction(self) -> Iterator[Connection]:
        """With the lease like any other; without, on a store that is there already."""
        if self._leased:
            engines = self._prepare()
        else:
            engines = self._engines = self._engines or self._place.engines()
        with self._begun(engines[0]) as connection:
            yield connection


def _writing() -> ModuleType:
    """The statements that write; loading them loads SQLAlchemy."""
    from reconciler.store import writing  # noqa: PLC0415  a quiet plan must not pay for it

    return writing
