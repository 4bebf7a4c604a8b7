"""The statements that write the store, each inside a transaction of the caller's."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Integer,
    bindparam,
    cast,
    delete,
    func,
    insert,
    select,
    text,
    update,
)

from reconciler.model import BACKING_OFF, Action, Change, Condition, Plan, Record, Ref, Result, mark_id
from reconciler.store import tables
from reconciler.store.places import SCHEMA
from reconciler.store.rows import (
    SELECT_CONDITIONS,
    Removal,
    Retention,
    Row,
    conditions_of,
    row_of_attempt,
    row_of_condition,
    row_of_outcome,
    row_of_removal,
    rows_of_plan,
    settled,
    summary_of,
    text_of,
)


def create_tables(engine: Engine, owner: str) -> None:
    """All tables and what they are, in one transaction: there is all of it or nothing."""
    with engine.begin() as connection:
        tables.METADATA.create_all(connection)
        facts = [{"key": "owner", "value": owner}, {"key": "schema", "value": SCHEMA}]
        tables.upsert(connection, tables.meta, facts)


def insert_run(connection: Connection, revision: str, now: datetime) -> str:
    """A new run. Its name tells the time; the number makes it unique."""
    last = connection.execute(select(func.max(tables.runs.c.number))).scalar() or 0
    run = f"{now:%Y%m%dT%H%M%SZ}-{last + 1}"
    row = {"number": last + 1, "run": run, "started": text_of(now), "revision": revision}
    connection.execute(insert(tables.runs), [row])
    return run


def write_plan(connection: Connection, run: str, plan: Plan) -> None:
    """Every change of the plan, and the summary of the latest plan of the run."""
    tables.upsert(connection, tables.plans, rows_of_plan(run, plan))
    values = {"digest": plan.digest, "summary": json.dumps(summary_of(plan))}
    connection.execute(update(tables.runs).where(tables.runs.c.run == run).values(values))


def write_attempts(
    connection: Connection,
    run: str,
    changes: Collection[Change],
    now: datetime,
    removals: Collection[Removal],
) -> None:
    """One round of attempts. Rounds are counted, not timed: clocks of two machines differ."""
    number = _next_round(connection)
    started = text_of(now)
    rows = {(change.ref, change.target): row_of_attempt(run, change, started, number) for change in changes}
    tables.upsert(connection, tables.attempts, list(rows.values()))
    tables.upsert(connection, tables.removals, [row_of_removal(removal) for removal in removals])
    _remove(connection, tables.verifications, (mark_id(change.ref) for change in changes))


def _next_round(connection: Connection) -> int:
    value = tables.meta.c.value
    last = connection.execute(select(cast(value, Integer)).where(tables.meta.c.key == "round")).scalar() or 0
    tables.upsert(connection, tables.meta, [{"key": "round", "value": str(last + 1)}])
    return last + 1


def _remove(connection: Connection, table: Any, keys: Any) -> None:
    """Delete rows by the value of the first column of their key."""
    rows = [{"gone": key} for key in sorted(set(keys))]
    if rows:
        column = next(iter(table.primary_key))
        connection.execute(delete(table).where(column == bindparam("gone")), rows)


def read_conditions(connection: Connection) -> dict[Ref, Condition]:
    """All conditions as they stand, inside the transaction."""
    rows = [tuple(row) for row in connection.execute(text(SELECT_CONDITIONS))]
    return conditions_of(rows)


def write_end(
    connection: Connection,
    record: Record,
    followed: str,
    others: Mapping[Ref, Condition],
    retention: Retention,
) -> dict[Ref, Condition]:
    """The end of a run: its row, its outcomes, the conditions that changed; old runs go."""
    before = read_conditions(connection)
    after = settled(before, {**others, **record.conditions}, record.finished)
    _write_run(connection, record)
    tables.upsert(connection, tables.meta, [{"key": "followed", "value": followed or record.revision}])
    if record.outcomes:
        rows = [row_of_outcome(record.run, outcome) for outcome in record.outcomes]
        connection.execute(insert(tables.outcomes), rows)
    changed = [row_of_condition(after[ref]) for ref in after if before.get(ref) != after[ref]]
    tables.upsert(connection, tables.conditions, changed)
    _remove(connection, tables.conditions, (str(ref) for ref in before.keys() - after.keys()))
    _write_tries(connection, record)
    _forget(connection, record, retention)
    return after


def _write_run(connection: Connection, record: Record) -> None:
    row = {
        "finished": text_of(record.finished),
        "revision": record.revision,
        "digest": record.digest,
        "exit_code": int(record.exit_code),
        "seconds": json.dumps(dict(record.seconds), sort_keys=True),
        "blind": json.dumps(dict(record.blind), sort_keys=True),
    }
    connection.execute(update(tables.runs).where(tables.runs.c.run == record.run).values(row))


def _write_tries(connection: Connection, record: Record) -> None:
    """When each thing was last written and what failed then, beside its condition and that of its object."""
    failed: dict[Ref, set[str]] = {}
    written: set[Ref] = set()
    for outcome in record.outcomes:
        if outcome.result not in (Result.APPLIED, Result.FAILED):
            continue
        for ref in (outcome.change.ref.object, outcome.change.ref):
            digests = failed.setdefault(ref, set())
            if outcome.result is Result.FAILED:
                digests.add(outcome.change.digest)
            if outcome.reason != BACKING_OFF:
                written.add(ref)
    when = text_of(record.finished)
    rows = [
        {"tried": str(ref), "when": when, "change": " ".join(sorted(failed[ref]))} for ref in sorted(written)
    ]
    if rows:
        statement = (
            update(tables.conditions)
            .where(tables.conditions.c.ref == bindparam("tried"))
            .values(last_try=bindparam("when"), digest=bindparam("change"))
        )
        connection.execute(statement, rows)


def _forget(connection: Connection, record: Record, retention: Retention) -> None:
    """What nobody asks for any more: removed things' locks, spent approvals, old removals and runs.

    An approval is spent by the change that it released: another one of the same digest is another removal.
    """
    applied = [o.change for o in record.outcomes if o.result is Result.APPLIED]
    _remove(connection, tables.locks, (mark_id(c.ref) for c in applied if c.action is Action.DELETE))
    _remove(connection, tables.approvals, (c.digest for c in applied if c.released))
    past = text_of(record.finished - timedelta(days=7))
    connection.execute(delete(tables.removals).where(tables.removals.c.removed < past))
    connection.execute(delete(tables.approvals).where(tables.approvals.c.approved < past))
    _prune(connection, record, retention)


def _prune(connection: Connection, record: Record, retention: Retention) -> None:
    """Runs beyond the retention, with their plans and outcomes; never the one that ends now."""
    runs = tables.runs
    last = connection.execute(select(func.max(runs.c.number))).scalar() or 0
    oldest = text_of(record.finished - timedelta(days=retention.days))
    old = (runs.c.number <= last - retention.runs) | (runs.c.started < oldest)
    gone = list(connection.execute(select(runs.c.run).where(old, runs.c.run != record.run)).scalars())
    for table in (tables.plans, tables.outcomes, runs):
        for name in gone:
            connection.execute(delete(table).where(table.c.run == name))


def write_approvals(connection: Connection, rows: list[Row], now: datetime) -> None:
    """Who released which changes, and when."""
    tables.upsert(connection, tables.approvals, [{**row, "approved": text_of(now)} for row in rows])


def write_locks(connection: Connection, rows: list[Row]) -> None:
    """Which things are locked, where their mark has no room to say so."""
    tables.upsert(connection, tables.locks, rows)


def write_durations(connection: Connection, rows: list[Row]) -> None:
    """What was learnt of how long targets take to be read."""
    tables.upsert(connection, tables.durations, rows)


def write_listings(connection: Connection, rows: list[Row]) -> None:
    """Complete lists; the attempts that they answer for are done with."""
    tables.upsert(connection, tables.reads, rows)
    attempts = tables.attempts
    for row in rows:
        answered = (attempts.c.target == row["target"]) & (attempts.c.round <= row["round"])
        connection.execute(delete(attempts).where(answered))


def write_verifications(connection: Connection, verified: Mapping[str, datetime]) -> None:
    """When the content of things was proved."""
    rows = [{"mark": mark, "verified": text_of(verified[mark])} for mark in sorted(verified)]
    tables.upsert(connection, tables.verifications, rows)
