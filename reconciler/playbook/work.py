"""The nouns of a run: what to do on which machines, in which order, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.model import Json


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine that a role is applied to. `name` is unique in a run and only ever shown.

    `connection` are Ansible's own connection variables (`ansible_connection`, `ansible_host`, `ansible_port`,
    `ansible_user`, …). `host_key` is one known key as in a public key file (`ssh-ed25519 AAAA…`); several
    stand on a line each; empty for a local machine. `facts` are the `reconciler_*` variables.
    """

    name: str
    connection: Mapping[str, Json]
    host_key: str = ""
    facts: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Assignment:
    """A machine and the role's variables for it: pure data, secrets opened, never a template.

    `secrets` are the texts that no message may show; they come out as `***`. `after` are works of the same
    run and machines, by number and name: only when these ended well the role is begun here.
    """

    machine: Machine
    variables: Mapping[str, Json]
    secrets: tuple[str, ...] = field(default=(), repr=False)
    after: frozenset[tuple[int, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Work:
    """One play: a role on some machines. `entry` is `main` or `remove`, a file in the role's `tasks/`.

    `roles` are folders that hold roles, the first that has it wins. `identity` is the text of a private
    key, empty where all machines are local. `check` only looks what would change. `timeout` in seconds.
    """

    role: str
    entry: str
    assignments: tuple[Assignment, ...]
    roles: tuple[str, ...]
    identity: str = field(repr=False)
    check: bool
    timeout: float


@dataclass(frozen=True, slots=True)
class HostResult:
    """What came of it on one machine.

    `task` and `message` are those of the failure, in the module's own words, fit for a terminal. `outputs`
    is what the role left in `reconciler_outputs`. `differences` are the names of the tasks that changed
    something, or would have (`check`). Not `tried`: what it comes after did not end well, or the run ended
    before; nothing was done here.
    """

    ok: bool
    changed: bool
    unreachable: bool
    task: str
    message: str
    outputs: Mapping[str, Json]
    differences: tuple[str, ...]
    tried: bool = True
