"""What Ansible reads in a run: one play, one inventory, its settings, the key and the known hosts.

Machines are called m0, m1, … in these files, so that no name of an author can be a pattern, a path or an
option. The settings are those of ansible-core 2.19, the options of ssh those of ssh_config(5).
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from reconciler.model import Json
from reconciler.playbook.check import is_local
from reconciler.playbook.work import Assignment, Work

INVENTORY = "inventory.json"
PLAYBOOK = "playbook.json"
_SETTINGS = "ansible.cfg"
_KNOWN_HOSTS = "known_hosts"
_IDENTITY = "identity"
_SOCKETS = "c"  # short: the path of a socket has room for 107 bytes
_MOST_AT_ONCE = 20
_CONNECT_SECONDS = 15
_KEEP_SECONDS = 60  # how long a shared connection waits for the next task; it is ended with the run


def names(work: Work) -> Mapping[str, Assignment]:
    """What each machine is called in the files of the run."""
    return {f"m{index}": assignment for index, assignment in enumerate(work.assignments)}


def write_inputs(work: Work, folder: str) -> None:
    """Write all that the run needs into its folder, readable for us only."""
    machines = names(work)
    os.mkdir(os.path.join(folder, _SOCKETS), 0o700)
    for index, roles in enumerate(work.roles):
        os.symlink(os.path.abspath(roles), os.path.join(folder, f"roles{index}"))
    _write(folder, _SETTINGS, _settings(work, folder))
    _write(folder, PLAYBOOK, json.dumps(_playbook(work)))
    _write(
        folder, INVENTORY, json.dumps({name: _variables(name, machines[name], folder) for name in machines})
    )
    _write(folder, _KNOWN_HOSTS, "".join(_known_hosts(machines)))
    _write(folder, _IDENTITY, work.identity.strip() + "\n")


# How this machine reaches others; of use to roles that install something on it.
_WAYS: Final = ("http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR")


def environment(folder: str) -> Mapping[str, str]:
    """All that Ansible's process finds in its environment; nothing else of the person's."""
    ways = {name: os.environ[name] for way in _WAYS for name in (way, way.upper()) if name in os.environ}
    return {
        **ways,
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": folder,
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": os.path.join(folder, _SETTINGS),
        "ANSIBLE_HOST_KEY_CHECKING": "True",  # ansible-runner turns it off where nobody says so
        "ANSIBLE_CALLBACK_PLUGINS": "",  # ansible-runner puts its own folders here
        "AWX_LIB_DIRECTORY": "",
    }


def _playbook(work: Work) -> list[dict[str, Json]]:
    role = {"name": work.role, "tasks_from": work.entry}
    tasks = [{"name": work.role, "import_role": role}]
    return [
        {"name": work.role, "hosts": "all", "gather_facts": False, "any_errors_fatal": False, "tasks": tasks}
    ]


def _variables(name: str, assignment: Assignment, folder: str) -> dict[str, Json]:
    """Later ones win: no variable of an author says how to connect."""
    machine = assignment.machine
    ours = {"ansible_python_interpreter": _python()} if is_local(assignment) else _ssh(name, folder)
    return {**assignment.variables, **machine.facts, **ours, **machine.connection, **_fixed(assignment, ours)}


def _fixed(assignment: Assignment, ours: Mapping[str, Json]) -> Mapping[str, Json]:
    """What the connection may not change: which keys count, and whose configuration."""
    return {} if is_local(assignment) else {"ansible_ssh_args": ours["ansible_ssh_args"]}


def _ssh(name: str, folder: str) -> dict[str, Json]:
    return {
        "ansible_ssh_args": shlex.join(_ssh_arguments(name, folder)),
        "ansible_ssh_private_key_file": os.path.join(folder, _IDENTITY),
        "ansible_python_interpreter": "auto_silent",
    }


def _ssh_arguments(name: str, folder: str) -> list[str]:
    """Only our key, only the pinned host key, nobody's configuration or agent, one shared connection."""
    options = {
        "ControlMaster": "auto",
        "ControlPersist": str(_KEEP_SECONDS),
        "ControlPath": os.path.join(folder, _SOCKETS, name),
        "UserKnownHostsFile": os.path.join(folder, _KNOWN_HOSTS),
        "GlobalKnownHostsFile": os.devnull,
        "HostKeyAlias": name,
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "PreferredAuthentications": "publickey",
        "BatchMode": "yes",
        "ServerAliveInterval": str(_CONNECT_SECONDS),
    }
    return ["-F", os.devnull, *(part for key, text in options.items() for part in ("-o", f"{key}={text}"))]


def _known_hosts(machines: Mapping[str, Assignment]) -> Iterator[str]:
    for name, assignment in machines.items():
        for key in assignment.machine.host_key.splitlines():
            yield f"{name} {key.strip()}\n" if key.strip() else ""


def _python() -> str:
    """The Python below our virtual environment: modules on this machine need nothing of ours."""
    return str(getattr(sys, "_base_executable", sys.executable))


def _settings(work: Work, folder: str) -> str:
    roles = ":".join(os.path.join(folder, f"roles{index}") for index in range(len(work.roles)))
    return f"""[defaults]
roles_path = {roles}
inventory_plugins = {Path(__file__).parent / "plugins"}
forks = {min(_MOST_AT_ONCE, len(work.assignments))}
local_tmp = {os.path.join(folder, "tmp")}
timeout = {_CONNECT_SECONDS}
gathering = explicit
fact_caching = memory
host_key_checking = True
retry_files_enabled = False
localhost_warning = False
deprecation_warnings = False
system_warnings = False
nocows = True
nocolor = True
[inventory]
enable_plugins = pure_data
[connection]
pipelining = True
[ssh_connection]
pipelining = True
retries = 0
"""


def _write(folder: str, name: str, text: str) -> None:
    handle = os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
