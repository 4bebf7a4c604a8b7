"""One generic hand for every primitive kind: the world keeps the spec as it was told.

Creating looks for a thing with the same mark and spec hash in the same transaction, so that applying
twice makes one thing. Twins can be made by hand only (`world.duplicate`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from reconciler.drivers.simulated import rows
from reconciler.drivers.simulated.client import Reader
from reconciler.drivers.simulated.invent import attributes_of, place_of
from reconciler.drivers.simulated.rows import Page, Row, Written
from reconciler.drivers.simulated.weather import Request
from reconciler.errors import Conflict, NotOurs, Transient
from reconciler.kind import Ask
from reconciler.model import (
    NOTHING,
    Action,
    Change,
    FieldChange,
    Mark,
    Observed,
    Ref,
    Resource,
    State,
)

_DAMAGE = (FieldChange("content", "damaged", "as declared"),)


@dataclass(frozen=True, slots=True)
class GenericHand:
    """The hand for one primitive kind of a simulated world."""

    kind: str

    def observe(self, client: Reader, ask: Ask) -> Iterable[Observed]:
        """List page by page. Raises Transient when the pages hold less than they say there is."""
        things: list[Observed] = []
        after, number, more = 0, 0, True
        while more:
            number += 1
            request = Request("list", self.kind, f"page-{number}")
            page, now = client.ask(request, partial(self._page, client, ask, after))
            things.extend(self._thing(client.target, row, now) for row in page.rows)
            after, more = page.rows[-1][0] if page.rows else after, page.more
        if len(things) < page.total:
            raise Transient(f"{client.target} says it has {page.total} {self.kind} and lists {len(things)}")
        return things

    def verify(self, client: Reader, thing: Observed) -> Observed:
        """Read the content. Raises Conflict when the thing is gone since it was listed."""
        request = Request("verify", self.kind, str(thing.ref))
        found = client.ask(request, lambda connection: rows.find(connection, "uid = ?", thing.uid))
        if not found:
            raise Conflict(f"{thing.ref} ({thing.uid}) is gone since it was listed")
        fresh = replace(thing, verified=datetime.now(UTC))
        if not found[0].damaged:
            return fresh
        message = "the content is not what was written"
        return replace(fresh, state=State.FAILED, reason="Damaged", message=message, drift=_DAMAGE)

    def apply(self, client: Reader, change: Change, mark: Mark) -> None:
        """Create or update in one request. A successor is made beside its predecessor."""
        if change.want is None:
            raise TypeError(f"{change.ref}: nothing is wanted, so nothing can be applied")
        written = _written(change.want, mark)
        if change.action is Action.UPDATE and change.have is not None:
            work = partial(_update, change.have, written)
            client.tell(Request("update", self.kind, str(change.ref)), work)
        else:
            client.tell(Request("create", self.kind, str(change.ref)), partial(_create, client, written))

    def release(self, client: Reader, change: Change) -> None:
        """Take the mark off. Raises NotOurs when somebody else's mark is on the thing."""
        client.tell(Request("release", self.kind, str(change.ref)), partial(_release, change))

    def delete(self, client: Reader, change: Change) -> None:
        """Remove the thing. Raises NotOurs when our mark is not on it, Conflict while it is used."""
        client.tell(Request("delete", self.kind, str(change.ref)), partial(_delete, change))

    def _page(
        self, client: Reader, ask: Ask, after: int, connection: sqlite3.Connection
    ) -> tuple[Page, float]:
        """One page, and the world's time."""
        weather, _ = client.weather(connection)
        size = weather.page_size
        page = rows.page(connection, self.kind, ask.owner, ask.natural, after=after, size=size)
        if weather.truncated_pages:
            page = Page(page.total, page.rows[: len(page.rows) // 2], more=False)
        return page, rows.clock(connection)

    def _thing(self, target: str, row: list[Any], now: float) -> Observed:
        (_, uid, place, owner, pieces, identity, spec_hash, locked, kept, spec, uses, attributes) = row[:12]
        since, verified, ready_at, partly = row[12:]
        ref = Ref(*pieces)
        mark = Mark(owner, identity, ref, spec_hash, bool(locked), bool(kept)) if owner else None
        state, reason, message = State.READY, "", ""
        if partly:
            state, reason, message = State.FAILED, "Partial", "the making was interrupted"
        elif ready_at > now:
            state, reason, message = State.PROGRESSING, "Building", "the world is building it"
        if mark is None:
            ref = Ref(self.kind, "", place)
        return Observed(
            ref,
            self.kind,
            target,
            spec,
            uid,
            mark,
            state,
            reason,
            message,
            frozenset(uses) if uses else frozenset(),
            attributes or NOTHING,
            (),
            since,
            datetime.fromisoformat(verified),
        )


def _written(resource: Resource, mark: Mark) -> Written:
    """Imports the kinds here: listing does not need them."""
    from reconciler.registry import primitives  # noqa: PLC0415  only a write asks for the types

    attributes = attributes_of(primitives().get(resource.kind), mark.ref or resource.ref, resource.spec)
    return Written(resource, mark, place_of(resource), attributes)


def _create(client: Reader, written: Written, connection: sqlite3.Connection) -> int:
    kind, mark = written.resource.kind, written.mark
    for row in rows.find(connection, "kind = ? AND mark = ? AND owner = ?", kind, mark.id, mark.owner):
        if row.spec_hash == mark.spec_hash:
            return _completed(connection, row, written)
    _refuse_occupied(connection, written)
    return rows.insert(connection, written, client.weather(connection)[0].build_seconds)


def _completed(connection: sqlite3.Connection, row: Row, written: Written) -> int:
    """What the same request made before is enough; a half-made thing is finished."""
    if row.partial or row.damaged:
        rows.update(connection, row.seq, written)
    return row.seq


def _refuse_occupied(connection: sqlite3.Connection, written: Written) -> None:
    mark, place = written.mark, written.place
    for row in rows.find(connection, "kind = ? AND place = ?", written.resource.kind, place):
        if (row.owner, row.mark) != (mark.owner, mark.id):
            whose = f"{row.ref} of {row.owner}" if row.owner else "something without our mark"
            raise NotOurs(f"{whose} stands at {place} ({row.uid})")


def _update(have: Observed, written: Written, connection: sqlite3.Connection) -> int:
    found = rows.find(connection, "uid = ?", have.uid)
    if not found:
        raise Conflict(f"{written.mark.ref} ({have.uid}) is gone since it was seen")
    row, mark, before = found[0], written.mark, have.mark
    allowed = {(mark.owner, mark.id), (before.owner, before.id) if before else ("", "")}
    if (row.owner, row.mark) not in allowed:
        raise NotOurs(f"{row.uid} carries the mark of {row.ref or 'nobody'} now; it is left alone")
    if before is None:
        written = written._replace(place=row.place)
    elif written.place != row.place:
        _refuse_occupied(connection, written)
    rows.update(connection, row.seq, written)
    return row.seq


def _release(change: Change, connection: sqlite3.Connection) -> int:
    row = _ours(change, connection)
    if row is None:
        return 0
    unmark = "UPDATE things SET owner = '', mark = '', ref = '', spec_hash = '', locked = 0, kept = 0"
    connection.execute(f"{unmark} WHERE seq = ?", (row.seq,))
    return row.seq


def _delete(change: Change, connection: sqlite3.Connection) -> int:
    row = _ours(change, connection)
    if row is None:
        return 0
    if not row.owner:
        raise NotOurs(f"{row.uid} carries no mark any more; it is left alone")
    if rows.user_of(connection, row.uid):
        rows.delete_inside(connection, row.uid, _parts())
    user = rows.user_of(connection, row.uid)
    if user:
        raise Conflict(f"{change.ref} ({row.uid}) is used by {user}")
    connection.execute("DELETE FROM things WHERE seq = ?", (row.seq,))
    return row.seq


def _parts() -> list[str]:
    """The kinds of what lies inside of other things, and goes with them."""
    from reconciler.registry import primitives  # noqa: PLC0415  only a write asks for the types

    return [name for name, primitive in primitives().items() if primitive.marked == "part"]


def _ours(change: Change, connection: sqlite3.Connection) -> Row | None:
    """The thing of this change; None when it is gone. Raises NotOurs when another mark is on it."""
    have = change.have
    found = rows.find(connection, "uid = ?", have.uid) if have else []
    if not found or have is None:
        return None
    row, mark = found[0], have.mark
    if mark is None or (row.owner and (row.owner, row.mark) != (mark.owner, mark.id)):
        raise NotOurs(f"{row.uid} carries the mark of {row.ref or 'nobody'}; it is left alone")
    return row
