"""The folder that an import writes: whole and valid, or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reconciler.drivers.rucio.import_entries import Draft, LeftOut
from reconciler.drivers.rucio.import_objects import Choices, drafted, files_of
from reconciler.drivers.rucio.importing import read_all
from reconciler.errors import InvalidRepository, Problem, ReconcilerError, UsageError
from reconciler.model import Target
from reconciler.printable import printable
from reconciler.secret import Secrets
from reconciler.secret.secrets import secrets_of

LEFT_OUT: Final = "left-out.txt"
_SECONDS: Final = 300.0  # for one answer: all rules come in one
_NEEDED: Final = ("Provider", "UserGroup")  # without them nothing else is valid
_ROUNDS: Final = 10  # what is taken out may be what another file names


@dataclass(frozen=True, slots=True)
class Done:
    """How many objects of each kind were written, and what is in no file."""

    counts: Mapping[str, int]
    left_out: Sequence[LeftOut]


@dataclass(frozen=True, slots=True)
class Here:
    """What the driver gets (reconciler.kind.Places): secrets, and nothing else."""

    secrets: Secrets
    data: str = ""

    def secret(self, reference: str) -> str:
        """The value of a reference. Raises Denied."""
        return self.secrets.value(reference)

    def roles(self) -> tuple[str, ...]:
        """None: nothing is configured."""
        return ()


def require_empty(folder: Path) -> None:
    """Raises UsageError where there is something already."""
    if folder.is_symlink() or (folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))):
        hint = "name a folder that does not exist yet"
        raise UsageError(f"{folder} is not an empty folder; nothing was written", hint=hint)


def read_and_write(folder: Path, choices: Choices, accounts: Collection[str]) -> Done:
    """Read the Rucio and write the folder. Raises BackendError, ReconcilerError."""
    target = Target(choices.provider, "rucio", choices.provider, settings=choices.settings, timeout=_SECONDS)
    draft = drafted(read_all(target, Here(secrets_of(choices.owner)), accounts), choices)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise ReconcilerError(f"{folder}: can't be written: {error.strerror}") from error
    try:
        return _written(aside, folder, draft, choices)
    except OSError as error:
        raise ReconcilerError(f"{folder}: can't be written: {error.strerror}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _written(aside: Path, folder: Path, draft: Draft, choices: Choices) -> Done:
    for path, text in files_of(draft, choices).items():
        place = aside / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    kept = _only_valid(aside, draft)
    if draft.left_out:
        lines = (f"{printable(one.origin)}: {printable(one.why)}\n" for one in draft.left_out)
        (aside / LEFT_OUT).write_text("".join(lines), encoding="utf-8")
    aside.chmod(0o755)
    aside.rename(folder)
    return Done(Counter(draft.entries[path].kind for path in kept), tuple(draft.left_out))


def _only_valid(aside: Path, draft: Draft) -> set[str]:
    """Take out what `validate` refuses: it has a form in Rucio that git has not. The paths that stay.

    Raises ReconcilerError where it is no object that is refused.
    """
    kept = {path for path in draft.entries if (aside / path).is_file()}
    spare = {path for path in kept if draft.entries[path].kind not in _NEEDED}
    for _ in range(_ROUNDS):
        problems = _problems(aside, len(kept))
        if not problems:
            return kept
        refused = {problem.path: problem for problem in reversed(problems) if problem.path in spare}
        if not refused:
            break
        for path, problem in sorted(refused.items()):
            draft.leave_out(draft.entries[path].origin, _said(problem))
            (aside / path).unlink()
        kept, spare = kept - refused.keys(), spare - refused.keys()
    raise ReconcilerError(
        f"what was read makes no valid repository: {problems[0]}", hint="please report this"
    )


def _problems(aside: Path, objects: int) -> tuple[Problem, ...]:
    """What `validate` says of the folder, when it sees all of these objects."""
    from reconciler.offline import check  # noqa: PLC0415  the line is loaded when a command walks it

    try:
        checked = check(str(aside))
    except InvalidRepository:
        checked = None
    if checked is None or (checked.objects < objects and not checked.problems):
        hint = "choose a folder elsewhere, or change .gitignore there"
        raise ReconcilerError("the folder lies in a git repository that ignores its files", hint=hint)
    return checked.problems


def _said(problem: Problem) -> str:
    return f"{problem.message} ({problem.code})"
