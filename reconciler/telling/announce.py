"""After the record: tell people. Status pages, their branch, and whoever asked to hear of changes.

Nothing here fails a run: what could not be told comes back as one line each.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from reconciler.errors import ReconcilerError
from reconciler.line.session import Session
from reconciler.model import Condition, Json, Record, Ref


def announce(
    session: Session,
    record: Record,
    before: Mapping[Ref, Condition],
    outputs: Mapping[Ref, Mapping[str, Json]],
) -> tuple[str, ...]:
    """Write and publish the status pages, notify. Returns what could not be done, one line each."""
    lines: list[str] = []
    _trying(lines, "status pages", lambda: _pages(session, record, outputs))
    if session.settings.notify:
        from reconciler.telling.notify import notify  # noqa: PLC0415  most repositories notify nobody

        receivers, owner = session.settings.notify, session.settings.owner
        _trying(
            lines,
            "notify",
            lambda: lines.extend(notify(receivers, record, before, record.conditions, owner=owner)),
        )
    return tuple(lines)


def _trying(lines: list[str], what: str, work: Callable[[], None]) -> None:
    try:
        work()
    except (ReconcilerError, OSError) as error:
        lines.append(f"{what}: {error}")


def _pages(session: Session, record: Record, outputs: Mapping[Ref, Mapping[str, Json]]) -> None:
    branch = session.settings.publish.branch
    if not session.request.status and not branch:
        return
    from reconciler.telling.status_pages import write_status  # noqa: PLC0415  only where pages are wanted

    with _folder(session.request.status) as folder:
        write_status(record, record.conditions, folder, outputs=outputs)
        if branch:
            _publish(session, branch, folder)


@contextmanager
def _folder(named: str) -> Iterator[Path]:
    """The folder for the pages; a private one that goes again where none is named."""
    if named:
        yield Path(named)
        return
    with tempfile.TemporaryDirectory(prefix="reconciler-status-") as name:
        yield Path(name)


def _publish(session: Session, branch: str, folder: Path) -> None:
    from reconciler.telling.status_branch import commit_status, push_status  # noqa: PLC0415  ditto

    repository, request = session.repository, session.request
    reading = tuple(ref for ref in (request.ref, request.trusted_ref) if ref)
    owner, now, where = session.settings.owner, session.now, repository.directory
    if repository.mirror:
        push_status(where, repository.location, branch, folder, owner=owner, now=now, reading=reading)
    else:
        commit_status(where, branch, folder, owner=owner, now=now, reading=reading)
