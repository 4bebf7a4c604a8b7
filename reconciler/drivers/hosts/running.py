"""Roles on machines, one after the other: what the engine is asked, and what its answers mean."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from reconciler.drivers.hosts.backing import Backing, Reach
from reconciler.drivers.hosts.client import Reader
from reconciler.drivers.hosts.layout import Receipt
from reconciler.drivers.hosts.records import Entry
from reconciler.drivers.hosts.variables import Open, opened
from reconciler.errors import BackendError, Transient, Untried
from reconciler.folders import cache_folder
from reconciler.printable import shown

if TYPE_CHECKING:
    from reconciler.playbook.work import Assignment, HostResult, Work

SECONDS: Final = 1800.0  # that one role may take on all its machines together
_LONGEST: Final = 500  # letters of a message
_MOST: Final = 65_536  # characters of outputs: every pass reads them


class RoleFailed(BackendError):
    """The author of the role, or of its variables, must act: a task of it failed on one machine."""

    reason = "RoleFailed"
    who = "author"


class Prepared:
    """One receipt that is to be carried out: its entry, its opened variables. Lives as long as the run."""

    def __init__(
        self, client: Reader, backing: Backing, entry: Entry, receipt: Receipt, secret: Open
    ) -> None:
        self.entry = entry
        self.receipt = receipt
        self.reach = backing.reach(client, entry)
        self._rootless = backing.rootless
        self._variables, self.secrets = opened(receipt.spec.get("variables", {}), secret)

    def assignment(self, after: frozenset[tuple[int, str]] = frozenset()) -> Assignment:
        """What the engine takes; `after` are plays of the same run, and machines."""
        from reconciler.playbook.work import Assignment, Machine  # noqa: PLC0415  only who configures needs it

        facts = _facts(self.entry, self.reach, rootless=self._rootless)
        machine = Machine(self.entry.name, self.reach.connection, self.reach.host_key, facts)
        return Assignment(machine, self._variables, tuple(filter(None, self.secrets)), after)


def _facts(entry: Entry, reach: Reach, *, rootless: bool) -> dict[str, Any]:
    allocation = entry.record.allocation
    told: dict[str, Any] = {
        "reconciler_root": reach.root,
        "reconciler_rootless": rootless,
        "reconciler_machine": allocation.hostname,
        "reconciler_address": allocation.address,
        "reconciler_ports": dict(reach.ports),
        "reconciler_volumes": dict(reach.volumes),
        "reconciler_users": list(entry.record.spec.get("users", ())),
        "reconciler_state": "present",
    }
    return {**told, "reconciler_cache": str(cache_folder())} if rootless else told


def run(
    client: Reader, prepared: Sequence[Prepared], entry: str = "main", *, check: bool = False
) -> Mapping[str, HostResult]:
    """One run of one role; the result of each machine by the name of its directory."""
    from reconciler.playbook.run import run as run_role  # noqa: PLC0415  Ansible is only needed where roles are run

    return run_role(_work(client, [(each, frozenset()) for each in prepared], entry, check=check))


def run_all(
    client: Reader, plays: Sequence[Sequence[tuple[Prepared, frozenset[tuple[int, str]]]]]
) -> Sequence[Mapping[str, HostResult]]:
    """Several roles in one run of Ansible, in this order, each after what it names.

    A role that can't even be read is no matter of the others: then only the first one is run.
    """
    from reconciler.playbook.run import run as run_role  # noqa: PLC0415  Ansible is only needed where roles are run
    from reconciler.playbook.run import run_all as run_roles  # noqa: PLC0415  ditto

    works = [_work(client, play, "main", check=False) for play in plays]
    try:
        return run_roles(works)
    except BackendError:
        if len(works) == 1:
            raise
        return [run_role(works[0]), *({} for _ in works[1:])]


def _work(
    client: Reader, play: Sequence[tuple[Prepared, frozenset[tuple[int, str]]]], entry: str, *, check: bool
) -> Work:
    from reconciler.playbook.work import Work  # noqa: PLC0415  only who configures needs it

    first = play[0][0]
    assignments = tuple(each.assignment(after) for each, after in play)
    identity = next((each.reach.identity for each, _ in play if each.reach.identity), "")
    role = str(first.receipt.spec["role"])
    return Work(role, entry, assignments, client.places.roles(), identity, check, SECONDS)


def error_of(result: HostResult | None) -> BackendError | None:
    """What a result means; None: it went well."""
    if result is None or not result.tried:
        return Untried("what it comes after did not end well")
    if result.ok and not result.outputs:
        return None
    if result.ok:
        size = len(json.dumps(result.outputs, default=str))
        told = f"its outputs have {size:,} characters; {_MOST:,} are kept"
        return RoleFailed(told) if size > _MOST else None
    message = shown(result.message, _LONGEST)
    if result.unreachable:
        return Transient(f"not reachable: {message}")
    return RoleFailed(f"task {shown(result.task)}: {message}")


def is_removable(client: Reader, role: str) -> bool:
    """Has the role a way to take away what it did? A role that is not there any more has none."""
    for folder in client.places.roles():
        tasks = os.path.join(folder, role, "tasks")
        if os.path.isdir(tasks):
            return any(os.path.isfile(os.path.join(tasks, f"remove.{end}")) for end in ("yml", "yaml"))
    return False
