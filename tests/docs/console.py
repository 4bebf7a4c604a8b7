"""Pages of docs/ as programs: every ```console block is run, and must print what the page shows.

In a block, `$ ` begins a command, `> ` goes on with it, and all else is what it prints (stdout and stderr).
`…` stands for anything within a line; alone on a line, for any lines. A command that does not end with 0 is
followed by `$ echo $?`. One page is one session: what `cd` and `name=value` did holds for the next block.

Three comments steer a page. `<!-- setup` … `-->` has commands that run first, silently: the state that
the page begins with (functions for it: `setup.sh`). `<!-- hide: TEXT -->` leaves out printed lines that
begin with TEXT. `<!-- file: PATH -->` before a block of any language makes the block that file.

Machines that a page made and did not remove are ended after it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(
    r"^(?:<!-- file: (?P<file>\S+) -->\n)?(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
_STOP = DOCS.parent / "ansible/roles/platform/files/supervise.py"
_SETUP = re.compile(r"<!-- setup\n(.*?)-->", re.DOTALL)
_HIDE = re.compile(r"<!-- hide: (.*?) -->")
_MARK = "@@8@@"


@dataclass(slots=True)
class Step:
    """One command of a page, and what the page says that it prints."""

    line: int
    command: str
    shown: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Printed:
    """What it really printed, and how it ended."""

    code: int
    lines: list[str]


def steps(page: str) -> Iterator[Step]:
    """All commands of a page, in order."""
    for block in _BLOCK.finditer(page):
        first = page.count("\n", 0, block.start("text")) + 1
        if block["file"]:
            yield Step(first, _writing(block["file"], block["text"]))
        elif block["language"] == "console":
            yield from _typed(first, block["text"], block["indent"])


def _writing(file: str, text: str) -> str:
    return f"mkdir -p $(dirname {file}) && cat > {file} <<'{_MARK}'\n{text}{_MARK}"


def _typed(first: int, text: str, indent: str) -> Iterator[Step]:
    """The commands of one block, with what each prints."""
    step: Step | None = None
    for offset, line in enumerate(text.splitlines()):
        told = line.removeprefix(indent)
        if told.startswith("$ "):
            if step:
                yield step
            step = Step(first + offset, told[2:])
        elif step is None:
            raise ValueError(f"line {first + offset}: output without a command")
        elif told.startswith("> ") or told == ">":
            step.command += "\n" + told[2:]
        else:
            step.shown.append(told)
    if step:
        yield step


def run(page: str, folder: Path) -> list[Printed]:
    """Run a page's setup and its commands in one session, in an empty home. One answer per command."""
    home = folder / "home"
    work = home / "try"
    work.mkdir(parents=True)
    script = folder / "session.sh"
    script.write_text(_script(page))
    environment = {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "DOCS": str(DOCS),
    }
    try:
        done = subprocess.run(
            ["bash", script], cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False, timeout=600,
        )  # fmt: skip
    finally:
        _end_machines(home)
    before, *answers = done.stdout.split(f"{_MARK}begin\n")
    if not answers:
        raise ValueError(f"the setup failed: {before}")
    hidden = tuple(_HIDE.findall(page))
    return [_printed(answer, hidden) for answer in answers]


def _end_machines(home: Path) -> None:
    for root in home.glob(".local/share/reconciler/*/machines/*/root"):
        subprocess.run([sys.executable, "-B", _STOP, root, "stop"], check=True, timeout=60)


def _script(page: str) -> str:
    setup = "\n".join(_SETUP.findall(page))
    lines = [f". {Path(__file__).with_name('setup.sh')}", "set -e", setup, "set +e"]
    for step in steps(page):
        lines += [f"printf '%s\\n' {_MARK}begin", "(exit ${before:-0})", step.command]
        lines += ["before=$?", f"""printf '\\n%s%s\\n' {_MARK} "$before" """]
    return "\n".join(lines) + "\n"


def _printed(answer: str, hidden: tuple[str, ...]) -> Printed:
    text, _, code = answer.rpartition(f"\n{_MARK}")
    lines = [line.rstrip() for line in text.splitlines() if not (hidden and line.startswith(hidden))]
    return Printed(int(code or -1), _trimmed(lines))


def _trimmed(lines: list[str]) -> list[str]:
    while lines and not lines[-1]:
        lines.pop()
    return lines


def fits(shown: Sequence[str], printed: Sequence[str]) -> bool:
    """Is this what the page shows, with `…` for anything?"""
    pieces = ["(?:.*\n)*?" if line.strip() == "…" else _pattern(line) for line in shown]
    return re.fullmatch("".join(pieces), "".join(f"{line}\n" for line in printed)) is not None


def _pattern(line: str) -> str:
    return ".*".join(re.escape(piece) for piece in line.rstrip().split("…")) + "\n"


def differences(page: str, folder: Path) -> list[str]:
    """Where the page is not what happens: line, command, what was shown, what was printed."""
    wanted, found = list(steps(page)), run(page, folder)
    wrong = []
    for index, (step, printed) in enumerate(zip(wanted, found, strict=False)):
        asked = index + 1 < len(wanted) and wanted[index + 1].command == "echo $?"
        if not fits(_trimmed(step.shown), printed.lines) or (printed.code and not asked):
            shown, real = "\n".join(step.shown), "\n".join(printed.lines)
            wrong.append(
                f"line {step.line}: $ {step.command}\n--- page\n{shown}\n--- exit code {printed.code}\n{real}"
            )
    if len(found) != len(wanted):
        wrong.append(f"{len(found)} of {len(wanted)} commands were run")
    return wrong
