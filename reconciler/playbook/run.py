"""One run of Ansible, as a straight line: folder → inputs → process → results.

The driver that configures machines calls `run`, from several threads if it likes. Nothing here knows
targets or changes; what goes in is data, what comes out is one result per machine.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, BinaryIO

from reconciler.errors import BackendError, Rejected
from reconciler.playbook.check import check_works
from reconciler.playbook.folder import run_folder
from reconciler.playbook.inputs import INVENTORY, PLAYBOOK, environment, names, write_inputs
from reconciler.playbook.outcome import Tally
from reconciler.playbook.processes import end_processes
from reconciler.playbook.work import Assignment, HostResult, Machine, Work
from reconciler.printable import shown

_PROGRAM = "from ansible.cli.playbook import main; main()"
_IDENT = "run"
_PAUSE = 0.1  # seconds
_SHOWN = 600  # letters of what Ansible says when it can't even begin
_UNREADABLE = 4  # the exit code of ansible-playbook for what it can't parse (RunCode.PARSER_ERROR)
_OF_RUNNER = frozenset(  # what ansible-runner itself tells Ansible, see its class BaseConfig
    {
        "ANSIBLE_CALLBACK_PLUGINS",
        "ANSIBLE_RETRY_FILES_ENABLED",
        "ANSIBLE_STDOUT_CALLBACK",
        "AWX_ISOLATED_DATA_DIR",
    }
)


def run(work: Work) -> Mapping[str, HostResult]:
    """Apply the role to all its machines at once; the result of each by its name.

    What fails on one machine is in its result. Raises BackendError when nothing could be run at all,
    Rejected when the work can't be meant.
    """
    return run_all((work,))[0] if work.assignments else {}


def run_all(works: Sequence[Work]) -> Sequence[Mapping[str, HostResult]]:
    """The same for several roles, one after the other in one process of Ansible; the results of each.

    A machine where one fails is in no later one. `roles`, `identity` and `check` are those of the first; no
    role is on one machine twice.
    """
    check_works(works)
    with run_folder() as folder:
        write_inputs(works, folder)
        tally = Tally(works, names(works))
        late, code = _run(works, folder, tally.note)
        if not late and not tally.began:
            raise _not_begun(works, folder, code)
        return tally.results(late=late)


def _run(works: Sequence[Work], folder: str, note: Callable[[Mapping[str, Any]], None]) -> tuple[bool, int]:
    """Run the process until it ends: was the time over, so that it was killed? And its exit code."""
    runner = _part("ansible_runner.runner")
    done, late = threading.Event(), threading.Event()
    seconds = sum(work.timeout for work in works)
    watch = threading.Thread(target=_watch, args=(folder, seconds, done, late), daemon=True)
    with open(os.devnull, "rb") as nothing:
        process = runner.Runner(
            config=_config(folder, nothing, check=works[0].check), event_handler=_forgetting(note)
        )
        watch.start()
        try:
            process.run()
        finally:
            done.set()
            watch.join()
    return late.is_set(), int(process.rc or 0)


def _watch(folder: str, timeout: float, done: threading.Event, late: threading.Event) -> None:
    """When the time is over, end all that works in the folder, until the run has noticed."""
    if done.wait(timeout):
        return
    late.set()
    while not done.is_set():
        end_processes(folder)
        done.wait(_PAUSE)


def _forgetting(note: Callable[[Mapping[str, Any]], None]) -> Callable[[Mapping[str, Any]], bool]:
    """For ansible-runner: an event that was noted is not kept (False)."""

    def noted(event: Mapping[str, Any]) -> bool:
        note(event)
        return False

    return noted


def _config(folder: str, nothing: BinaryIO, *, check: bool) -> Any:
    """The process for ansible-runner: this Python, nothing on its standard input, only our environment."""
    ours = environment(folder)
    config = _part("ansible_runner.config.command").CommandConfig(
        private_data_dir=folder,
        ident=_IDENT,
        host_cwd=folder,
        input_fd=nothing,
        quiet=True,
        runner_mode="subprocess",
        envvars=dict(ours),
    )
    config.prepare_run_command(sys.executable, cmdline_args=_arguments(folder, check=check))
    config.env = {name: text for name, text in config.env.items() if name in ours or name in _OF_RUNNER}
    return config


def _arguments(folder: str, *, check: bool) -> list[str]:
    arguments = ["-P", "-c", _PROGRAM, "-i", os.path.join(folder, INVENTORY)]
    return [*arguments, *(["--check"] if check else []), os.path.join(folder, PLAYBOOK)]


def _part(name: str) -> Any:
    """A module of ansible-runner. Raises BackendError that says how to install it."""
    try:
        return import_module(name)
    except ImportError as error:
        hint = "install the extra: pip install 'reconciler[hosts]'"
        raise BackendError(
            f"machines are configured with Ansible, which is not installed ({error})", hint=hint
        ) from error


def _not_begun(works: Sequence[Work], folder: str, code: int) -> BackendError:
    """Ansible came to no machine: a role can't be read, which its author mends, or something lacks here."""
    said = _last_words(folder)
    for index, roles in enumerate(works[0].roles):
        places = (os.path.join(folder, f"roles{index}"), os.path.realpath(roles), os.path.abspath(roles))
        for place in places:
            said = said.replace(f"{place}/", "roles/")
    said = shown(said, _SHOWN) or "it said nothing"
    if code == _UNREADABLE:
        return Rejected(f"role {works[0].role} can't be read: {said}", hint="mend the role")
    return BackendError(f"Ansible could not run role {works[0].role}: {said}")


def _last_words(folder: str) -> str:
    """What Ansible wrote before it gave up."""
    said = ""
    for name in ("stderr", "stdout"):
        try:
            with open(
                os.path.join(folder, "artifacts", _IDENT, name), encoding="utf-8", errors="replace"
            ) as file:
                said += file.read()
        except OSError:
            continue
    return " ".join(said.split())


__all__ = ["Assignment", "HostResult", "Machine", "Work", "run", "run_all"]
