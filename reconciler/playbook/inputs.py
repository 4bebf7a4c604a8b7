"""What Ansible reads in a run: a play a work, one inventory, its settings, the key and the known hosts.

Machines are called m0, m1, … in these files, so that no name of an author can be a pattern, a path or an
option. The settings are those of ansible-core 2.19, the options of ssh those of ssh_config(5).
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
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


def names(works: Sequence[Work]) -> Mapping[str, str]:
    """What each machine is called in the files of the run."""
    told = (assignment.machine.name for work in works for assignment in work.assignments)
    return {name: f"m{index}" for index, name in enumerate(dict.fromkeys(told))}


def write_inputs(works: Sequence[Work], folder: str) -> None:
    """Write all that the run needs into its folder, readable for us only."""
    called = names(works)
    machines = _machines(works, called)
    os.mkdir(os.path.join(folder, _SOCKETS), 0o700)
    for index, roles in enumerate(works[0].roles):
        os.symlink(os.path.abspath(roles), os.path.join(folder, f"roles{index}"))
    inventory = {name: _inventory(name, told, folder) for name, told in machines.items()}
    _write(folder, _SETTINGS, _settings(works[0].roles, len(machines), folder))
    _write(folder, PLAYBOOK, json.dumps([_play(number, works, called) for number in range(len(works))]))
    _write(folder, INVENTORY, json.dumps(inventory))
    _write(folder, _KNOWN_HOSTS, "".join(_known_hosts(machines)))
    _write(folder, _IDENTITY, works[0].identity.strip() + "\n")


def _machines(works: Sequence[Work], called: Mapping[str, str]) -> Mapping[str, Sequence[Assignment]]:
    """All that is to be done on each machine, by what it is called here."""
    found: dict[str, list[Assignment]] = {name: [] for name in called.values()}
    for work in works:
        for assignment in work.assignments:
            found[called[assignment.machine.name]].append(assignment)
    return found


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


def _play(number: int, works: Sequence[Work], called: Mapping[str, str]) -> dict[str, Json]:
    """The name of a play is its number. A machine that failed in one is in no later one: so does Ansible."""
    work = works[number]
    role = {"name": work.role, "tasks_from": work.entry}
    whole = [{"name": work.role, "import_role": role}, {"name": "Handlers", "meta": "flush_handlers"}]
    tasks = [*_gates(work, called), *whole, _note_end(number)]
    hosts = [called[assignment.machine.name] for assignment in work.assignments]
    return {
        "name": str(number),
        "hosts": hosts,
        "gather_facts": False,
        "any_errors_fatal": False,
        "tasks": tasks,
    }


def _gates(work: Work, called: Mapping[str, str]) -> Iterator[dict[str, Json]]:
    """Whoever comes after something that did not end well has nothing to do in this play."""
    waiting: dict[tuple[int, str], list[str]] = {}
    for assignment in work.assignments:
        for needed in sorted(assignment.after):
            waiting.setdefault(needed, []).append(called[assignment.machine.name])
    for (number, name), hosts in waiting.items():
        missing = f"hostvars['{called[name]}']['{ended(number)}'] is not defined"
        yield {"name": "Gate", "meta": "end_host", "when": [f"inventory_hostname in {hosts}", missing]}


def ended(number: int) -> str:
    """The fact that a machine gets at the end of a play."""
    return f"reconciler_ended_{number}"


def _note_end(number: int) -> dict[str, Json]:
    return {"name": "The end", "set_fact": {ended(number): True}}


def _inventory(name: str, told: Sequence[Assignment], folder: str) -> dict[str, Json]:
    """Later ones win: no variable of an author says how to connect."""
    variables = {key: value for assignment in told for key, value in assignment.variables.items()}
    machine = told[0].machine
    ours = {"ansible_python_interpreter": _python()} if is_local(told[0]) else _ssh(name, folder)
    return {**variables, **machine.facts, **ours, **machine.connection, **_fixed(told[0], ours)}


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


def _known_hosts(machines: Mapping[str, Sequence[Assignment]]) -> Iterator[str]:
    for name, told in machines.items():
        for key in told[0].machine.host_key.splitlines():
            yield f"{name} {key.strip()}\n" if key.strip() else ""


def _python() -> str:
    """The Python below our virtual environment: modules on this machine need nothing of ours."""
    return str(getattr(sys, "_base_executable", sys.executable))


def _settings(folders: Sequence[str], machines: int, folder: str) -> str:
    roles = ":".join(os.path.join(folder, f"roles{index}") for index in range(len(folders)))
    return f"""[defaults]
roles_path = {roles}
inventory_plugins = {Path(__file__).parent / "plugins"}
forks = {min(_MOST_AT_ONCE, machines)}
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
