"""Who must act? Every error of ours answers that question by its class.

The exit codes are the contract of the command line; an unknown code is a failure.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """What the process says when it ends. `worst` picks one when several apply."""

    CONVERGED = 0
    DEFECT = 1
    PENDING = 2
    INVALID = 3
    HELD = 4
    FAILED = 5
    PROGRESSING = 6
    BLIND = 7
    LOCKED = 8
    USAGE = 64
    INTERRUPTED = 130
    TERMINATED = 143


_PRECEDENCE = (
    ExitCode.DEFECT,
    ExitCode.INVALID,
    ExitCode.FAILED,
    ExitCode.BLIND,
    ExitCode.HELD,
    ExitCode.PROGRESSING,
    ExitCode.PENDING,
)


def worst(codes: set[ExitCode]) -> ExitCode:
    """The first of 1, 3, 5, 7, 4, 6, 2 that applies; 0 when none does."""
    return next((code for code in _PRECEDENCE if code in codes), ExitCode.CONVERGED)


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong in the repository: where, what, and what to do about it.

    `line` and `column` count from 1. `code` is a stable CamelCase word for machines.
    """

    path: str
    line: int
    column: int
    code: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}:{self.column}"
        return f"{where}: {self.message}" + (f"\n    hint: {self.hint}" if self.hint else "")


class ReconcilerError(Exception):
    """Base of all errors that we raise on purpose."""

    exit_code = ExitCode.DEFECT
    hint = ""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint or self.hint


class UsageError(ReconcilerError):
    """The operator typed something that can't be meant. Nothing was done."""

    exit_code = ExitCode.USAGE


class InvalidRepository(ReconcilerError):
    """The author must act: the repository can't be read as ours. Carries all problems at once."""

    exit_code = ExitCode.INVALID

    def __init__(self, message: str, problems: tuple[Problem, ...] = (), *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.problems = problems


class Stale(ReconcilerError):
    """The plan that was approved is not what would be done now. Plan again."""

    exit_code = ExitCode.LOCKED


class Locked(ReconcilerError):
    """Another run holds the lock, or ours was lost. Time must act."""

    exit_code = ExitCode.LOCKED


class BackendError(ReconcilerError):
    """The world refused. Recorded for one object or one target; the others go on."""

    exit_code = ExitCode.FAILED
    reason = "BackendError"
    who = "operator"


class Transient(BackendError):
    """Time must act: time-out, 429, 5xx, connection lost. The only class that is retried.

    `wait` is how many seconds the target asks to be left alone (Retry-After); 0: it does not say.
    """

    reason = "Transient"
    who = "time"

    def __init__(self, message: str, *, hint: str = "", wait: float = 0.0) -> None:
        super().__init__(message, hint=hint)
        self.wait = wait


class Conflict(BackendError):
    """Time must act: the world moved since we looked. The next plan sees it."""

    reason = "Conflict"
    who = "time"


class Denied(BackendError):
    """The operator of the target must act: our credentials do not allow this (401, 403)."""

    reason = "Denied"
    who = "operator of the target"


class Rejected(BackendError):
    """The author must act: the back-end understood and said no."""

    reason = "Rejected"
    who = "author"


class NotOurs(Rejected):
    """The author must act: something that does not carry our mark stands there. It is left alone."""

    reason = "NotOurs"
    hint = "choose another name, or take it over with `metadata.adopt: true`"


class Untried(BackendError):
    """Nobody must act: what it comes after in the same call did not end well, so nothing was begun."""

    reason = "Untried"
    who = "time"


class DidNotConverge(BackendError):
    """The author of the hand must act: applied, looked again, still differs."""

    reason = "DidNotConverge"
    who = "author of the back-end"


class ReadOnly(ReconcilerError):
    """A defect of ours: a client that was opened for reading was asked to write."""
