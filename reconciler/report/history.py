"""Past runs → text and JSON: when, of which commit, what each changed and how it ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, Protocol

from reconciler.model import Action, Json, Ref, Result
from reconciler.report import words
from reconciler.report.style import PLAIN, Style

_ENDS: Final = {
    0: "converged",
    1: "defect",
    3: "invalid repository",
    4: "held",
    5: "failed",
    6: "progressing",
    7: "blind",
    8: "locked",
    130: "interrupted",
    143: "terminated",
}
_SHOWN: Final = 5


class PastRun(Protocol):
    """One past run. `exit_code` and `finished` are None while it goes on, or when it was killed."""

    @property
    def run(self) -> str:
        """Its name."""
        ...

    @property
    def revision(self) -> str:
        """The commit it was about."""
        ...

    @property
    def started(self) -> datetime:
        """Aware, UTC."""
        ...

    @property
    def finished(self) -> datetime | None:
        """Aware, UTC."""
        ...

    @property
    def exit_code(self) -> int | None:
        """What its process ended with."""
        ...

    @property
    def blind(self) -> Mapping[str, str]:
        """Target → why it could not be read."""
        ...


class PastChange(Protocol):
    """One change of one past run. `result` is a word of `Result`, `action` one of `Action`."""

    @property
    def ref(self) -> Ref:
        """What was changed."""
        ...

    @property
    def target(self) -> str:
        """Where."""
        ...

    @property
    def action(self) -> str:
        """What was done."""
        ...

    @property
    def why(self) -> str:
        """The reason of the change."""
        ...

    @property
    def result(self) -> str:
        """What became of it."""
        ...

    @property
    def reason(self) -> str:
        """Why it failed or waits; empty when it was applied."""
        ...

    @property
    def message(self) -> str:
        """The same in prose."""
        ...


Past = Sequence[tuple[PastRun, Sequence[PastChange]]]


def history_text(past: Past, now: datetime, *, style: Style = PLAIN) -> str:
    """The last runs, newest first: a line each, and what they changed."""
    if not past:
        return "No run is recorded here.\n"
    lines = [line for run, changes in past for line in _run_lines(run, changes, now, style)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _run_lines(run: PastRun, changes: Sequence[PastChange], now: datetime, style: Style) -> Iterator[str]:
    when = style.bold(words.ago(run.started, now))
    yield f"{when}  {words.plain(run.revision[:12])}  {_end(run, style)}, {_changed(changes)}"
    for change in changes[:_SHOWN]:
        yield from past_lines(change, style)
    if len(changes) > _SHOWN:
        yield style.dim(f"  … and {words.number(len(changes) - _SHOWN)} more: --format json has all")
    if changes:
        yield ""


def _end(run: PastRun, style: Style) -> str:
    if run.exit_code is None:
        return style.paint("did not end", "red")
    said = _ENDS.get(run.exit_code, f"exit {run.exit_code}")
    return style.paint(said, "green" if run.exit_code == 0 else "yellow")


def _changed(changes: Sequence[PastChange]) -> str:
    counts = Counter(change.result.lower() for change in changes)
    said = [f"{counts[result]:,} {result}" for result in sorted(counts)]
    return ", ".join(said) or "changed nothing"


def past_lines(change: PastChange, style: Style) -> Iterator[str]:
    """One past change: what and where; then why it was made, and why it failed."""
    known = change.action in set(Action)
    symbol = words.SYMBOLS[Action(change.action)] if known else "?"
    colour = "green" if change.result == Result.APPLIED else "yellow"
    what = f"{symbol} {words.plain(str(change.ref))}  {words.plain(change.target)}"
    why = style.dim(f"  {words.reason(change.why)}") if change.why else ""
    yield f"  {what}  {style.paint(words.plain(change.result), colour)}{why}"
    if change.result != Result.APPLIED and (change.reason or change.message):
        yield f"      {words.why(change.reason, change.message)}"


def history_json(past: Past) -> dict[str, Json]:
    """The same for machines, newest first."""
    return {"schemaVersion": 1, "runs": [_run_json(run, changes) for run, changes in past]}


def _run_json(run: PastRun, changes: Sequence[PastChange]) -> dict[str, Json]:
    return {
        "run": run.run,
        "revision": run.revision,
        "started": run.started.isoformat(),
        "finished": run.finished.isoformat() if run.finished else None,
        "exitCode": run.exit_code,
        "blind": dict(sorted(run.blind.items())),
        "changes": [_past_json(change) for change in changes],
    }


def _past_json(change: PastChange) -> dict[str, Json]:
    """One past change."""
    return {
        "ref": str(change.ref),
        "target": change.target,
        "action": change.action,
        "why": change.why,
        "result": change.result,
        "reason": change.reason,
        "message": change.message,
    }
