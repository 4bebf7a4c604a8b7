"""Rows about local machines, with real Ansible. Nothing needs root, and nothing is left running."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.command import Sample, run, run_program
from bench.fleet import Fleet, files
from bench.generate import BRANCH, IDENTITY, git, settle
from bench.ground import DONE, LIMIT, environment_of

if TYPE_CHECKING:
    from reconciler.playbook.work import Work

_WHO = IDENTITY.partition(" <")[0]
ANSIBLE = (sys.executable, "-P", "-c", "from ansible.cli.playbook import main; main()")

# What a process of ours does, noted by itself: each program that it starts, each folder that it lists.
_WATCHING = """\
import os, sys
_notes = os.open(os.environ["BENCH_NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def _note(event, values):
    if event in ("subprocess.Popen", "os.posix_spawn", "os.exec"):
        os.write(_notes, repr(("start", *values[:2])).encode() + b"\\n")
    elif event in ("os.listdir", "os.scandir"):
        os.write(_notes, repr(("list", str(values[0]))).encode() + b"\\n")
sys.addaudithook(_note)
"""


@dataclass(frozen=True, slots=True)
class Machines:
    """A repository whose one target are local machines. All of it lies in one folder."""

    folder: Path
    fleet: Fleet

    @property
    def repository(self) -> Path:
        return self.folder / "repository"

    @property
    def places(self) -> Path:
        """The folder of all machines."""
        return self.folder / "machines"

    def open(self) -> None:
        """Make everything, with roles and all; then one quiet plan."""
        self.places.mkdir(parents=True)
        git(self.folder, "init", "--quiet", "--initial-branch", BRANCH, str(self.repository))
        self.say("nothing yet")
        self.reconciler("apply")
        self.reconciler("plan", "--exit-code")

    def say(self, text: str) -> None:
        """Commit that every machine is to have this text."""
        for path, content in files(self.fleet, self.places, text):
            file = self.repository / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        git(self.repository, "add", "--all")
        who = ("-c", f"user.name={_WHO}", "-c", "user.email=bench@example.org")
        git(self.repository, *who, "commit", "--quiet", "--message", text)
        settle(self.repository)

    def reconciler(self, *words: str, extra: Mapping[str, str] | None = None) -> Sample:
        """One command of the line."""
        environment = {**environment_of(self.folder / "home"), **(extra or {})}
        words = (words[0], str(self.repository), *words[1:])
        return run(words, self.folder, environment, expect=DONE, limit=LIMIT)

    def told(self) -> list[str]:
        """What was written on each machine."""
        return [path.read_text() for path in sorted(self.places.glob("*/root/etc/one"))]

    def quiet(self, extra: Mapping[str, str] | None = None) -> Sample:
        """A pass that has nothing to do, or else it is an error."""
        sample = self.reconciler("apply", "--format", "json", extra=extra)
        if json.loads((self.folder / "stdout").read_text())["outcomes"]:
            raise AssertionError("the pass was not quiet")
        return sample

    def watched(self) -> tuple[int, int]:
        """One quiet pass: how many programs of Ansible it starts, how often it lists the machines."""
        hook, notes = self.folder / "hook", self.folder / "notes"
        hook.mkdir(exist_ok=True)
        notes.unlink(missing_ok=True)
        (hook / "sitecustomize.py").write_text(_WATCHING)
        self.quiet({"PYTHONPATH": str(hook), "BENCH_NOTES": str(notes)})
        lines = notes.read_text().splitlines()
        started = [line for line in lines if line.startswith("('start'")]
        if not any("git" in line for line in started):
            raise AssertionError("not even git was seen to start: the watch does not work")
        return sum("ansible" in line for line in started), lines.count(repr(("list", str(self.places))))


def by_hand(machines: Machines, text: str) -> Sample:
    """A bare `ansible-playbook` with the same role and settings for as many machines: folders of its own."""
    from reconciler.playbook.inputs import (  # noqa: PLC0415  the bench itself stays small
        INVENTORY,
        PLAYBOOK,
        environment,
        write_inputs,
    )

    roots = [machines.folder / "by-hand" / str(number) for number in range(machines.fleet.machines)]
    for root in roots:
        root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        write_inputs((_work(machines, roots, text),), name)
        command = [*ANSIBLE, "-i", INVENTORY, PLAYBOOK]
        sample = run_program(command, folder, environment(name), expect=DONE, limit=LIMIT)
    if {(root / "etc/one").read_text() for root in roots} != {text}:
        raise AssertionError("the bare playbook did not do what it should")
    return sample


def _work(machines: Machines, roots: Sequence[Path], text: str) -> Work:
    from reconciler.playbook.work import Assignment, Machine, Work  # noqa: PLC0415  ditto

    fleet = machines.fleet
    assignments = tuple(
        Assignment(
            Machine(root.name, {"ansible_connection": "local"}, facts={"reconciler_root": str(root)}),
            {f"{fleet.role}_text": text},
        )
        for root in roots
    )
    roles = (str(machines.repository / "roles"),)
    return Work(fleet.role, "main", assignments, roles, identity="", check=False, timeout=LIMIT)
