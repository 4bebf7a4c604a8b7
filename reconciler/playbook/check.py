"""Can this work be meant at all? Asked before anything is written or started."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Sequence

from reconciler.errors import BackendError, Rejected
from reconciler.playbook.work import Assignment, Work
from reconciler.printable import shown

_ROLE = re.compile(r"[a-z][a-z0-9_]*\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_RESERVED = ("ansible_", "reconciler_")
_ENTRIES = ("main", "remove")


def check_works(works: Sequence[Work]) -> None:
    """Raises Rejected for what the author wrote, BackendError for what this machine lacks."""
    for work in works:
        _check(work)
    roles = Counter((work.role, name) for work in works for name in _names(work))
    twice = [(role, name) for (role, name), count in roles.items() if count > 1]
    if twice:
        raise BackendError(f"role {twice[0][0]} is in one run twice for machine {shown(twice[0][1])}")


def _check(work: Work) -> None:
    _check_role(work)
    for assignment in work.assignments:
        _check_variables(assignment)
    if _over_ssh(work) and shutil.which("ssh") is None:
        raise BackendError("no program ssh on PATH", hint="install the OpenSSH client")
    if _over_ssh(work) and not work.identity.strip():
        raise BackendError("no private key for machines over ssh", hint="name one in the target's settings")


def is_local(assignment: Assignment) -> bool:
    """Is this machine a folder of this one?"""
    return bool(assignment.machine.connection.get("ansible_connection", "ssh") == "local")


def role_folder(role: str, folders: tuple[str, ...]) -> str:
    """The first folder that has the role, empty when none has."""
    found = (os.path.join(folder, role) for folder in folders)
    return next((path for path in found if os.path.isdir(os.path.join(path, "tasks"))), "")


def _check_role(work: Work) -> None:
    role = shown(work.role)
    if not _ROLE.match(work.role):
        raise Rejected(f"{role} is no name of a role: small letters, digits and _")
    if work.entry not in _ENTRIES:
        raise Rejected(f"role {role} has no entry {shown(work.entry)}: there are main and remove")
    folder = role_folder(work.role, work.roles)
    if not folder:
        raise BackendError(f"no role {role} in {', '.join(map(shown, work.roles)) or 'no folder at all'}")
    if not any(
        os.path.isfile(os.path.join(folder, "tasks", f"{work.entry}.{end}")) for end in ("yml", "yaml")
    ):
        raise BackendError(f"role {role} has no tasks/{work.entry}.yml")


def _check_variables(assignment: Assignment) -> None:
    """The role's variables may not say how to connect or where the machine is."""
    for name in assignment.variables:
        if not _VARIABLE.match(name) or name.startswith(_RESERVED):
            raise Rejected(
                f"{shown(name)} can't be a variable of a role", hint="its name must begin with the role's"
            )


def _names(work: Work) -> list[str]:
    return [assignment.machine.name for assignment in work.assignments]


def _over_ssh(work: Work) -> bool:
    return not all(map(is_local, work.assignments))
