"""From the events of a run to one result per work and machine.

The events are those of ansible-runner 2.4 (`event`, `event_data.host`, `.task`, `.res`; the last one,
`playbook_on_stats`, counts per host). A role ended well where our last task of the play was reached; where a
role ends a machine's play itself, what Ansible counts decides: a task that failed may have been rescued.
"""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from reconciler.model import Json
from reconciler.playbook.inputs import ended
from reconciler.playbook.work import Assignment, HostResult, Work
from reconciler.printable import shown

_OUTPUTS = "reconciler_outputs"
_LONGEST = 500  # letters of a message
_LONGEST_NAME = 120  # letters of a task's name
_SECRET_LINE = 8  # letters; a shorter line gives nothing away and would blot out much
_HIDDEN = "the task hides what it says (no_log)"
_HIDDEN_CHANGE = "a task that hides what it says (no_log)"
_HOST_KEYS = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "HostKeyChanged: the machine shows another key than the known one",
    ),
    ("host key is known for", "HostKeyUnknown: the machine's key is not known, and none is trusted unseen"),
    ("Host key verification failed", "HostKeyChanged: the machine does not show the known key"),
)


@dataclass(slots=True)
class _Seen:
    """What was heard of one machine so far."""

    task: str = ""
    failed: str = ""
    message: str = ""
    unreachable: bool = False
    ended: bool = False
    outputs: Mapping[str, Json] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)


class Tally:
    """Adds up the events of one run. `began` says whether Ansible came as far as the machines."""

    def __init__(self, works: Sequence[Work], called: Mapping[str, str]) -> None:
        self.began = False
        self._works = works
        self._called = called
        self._hidden = _hidden(assignment for work in works for assignment in work.assignments)
        self._seen: dict[tuple[int, str], _Seen] = defaultdict(_Seen)
        self._counts: Mapping[str, Mapping[str, int]] | None = None

    def note(self, event: Mapping[str, Any]) -> None:
        """Take in one event. What is not known is nothing to us."""
        data = event.get("event_data") or {}
        name = str(event.get("event", ""))
        if name == "playbook_on_stats":
            self._counts = data
            self.began = True
        elif data.get("host") in self._called.values() and name in _NOTES:
            self.began = True
            seen = self._seen[int(data.get("play", 0)), data["host"]]
            seen.task = str(data.get("task") or "")
            _NOTES[name](seen, data)

    def results(self, *, late: bool) -> Sequence[Mapping[str, HostResult]]:
        """For each work the result of every machine, also of those that the run did not come to."""
        return [
            {name: self._result(number, name, late=late) for name in _names(work)}
            for number, work in enumerate(self._works)
        ]

    def _result(self, number: int, name: str, *, late: bool) -> HostResult:
        called = self._called[name]
        tried = number == 0 or (number, called) in self._seen
        seen = self._seen.get((number, called), _Seen())
        ok = seen.ended or (tried and self._went_well(called))
        task, message = ("", "") if ok else self._failure(self._works[number], seen, late=late)
        differences = dict.fromkeys([*seen.changed, *self._hidden_changes(called)])
        return HostResult(
            ok=ok,
            changed=bool(differences),
            unreachable=seen.unreachable and not ok,
            task=_text(task, self._hidden, _LONGEST_NAME),
            message=_text(message, self._hidden, _LONGEST),
            outputs=seen.outputs if ok else {},
            differences=tuple(_text(name, self._hidden, _LONGEST_NAME) for name in differences),
            tried=tried,
        )

    def _hidden_changes(self, called: str) -> list[str]:
        """Of a task with no_log nothing is heard but that something changed: it is counted."""
        heard = sum(len(seen.changed) for (_, host), seen in self._seen.items() if host == called)
        return [_HIDDEN_CHANGE] if self._count("changed", called) > heard else []

    def _went_well(self, called: str) -> bool:
        counted = self._counts is not None
        return counted and not self._count("failures", called) and not self._count("dark", called)

    def _failure(self, work: Work, seen: _Seen, *, late: bool) -> tuple[str, str]:
        """The task that failed and why."""
        if seen.message:
            return seen.failed, seen.message
        if late:
            return seen.task, f"TimedOut: role {work.role} was ended after {work.timeout:g} s"
        return seen.task, f"Ansible ended before role {work.role} was done"

    def _count(self, what: str, name: str) -> int:
        counts = (self._counts or {}).get(what) or {}
        return int(counts.get(name, 0))


def _note_start(seen: _Seen, data: Mapping[str, Any]) -> None:
    """The task is noted already."""


def _note_ok(seen: _Seen, data: Mapping[str, Any]) -> None:
    result = _mapping(data.get("res"))
    if result.get("changed") is True:
        seen.changed.append(seen.task)
    facts = _mapping(result.get("ansible_facts"))
    seen.ended = seen.ended or ended(int(data.get("play", 0))) in facts
    outputs = facts.get(_OUTPUTS)
    if isinstance(outputs, Mapping):
        seen.outputs = outputs


def _note_failed(seen: _Seen, data: Mapping[str, Any]) -> None:
    if data.get("ignore_errors"):
        return
    seen.failed = seen.task
    seen.message = "; ".join(dict.fromkeys(_words(_mapping(data.get("res"))))) or "it failed without a word"


def _note_unreachable(seen: _Seen, data: Mapping[str, Any]) -> None:
    seen.unreachable = True
    seen.failed = seen.task
    said = str(_mapping(data.get("res")).get("msg") or "no answer")
    seen.message = next((text for sign, text in _HOST_KEYS if sign in said), said)


_NOTES: Mapping[str, Callable[[_Seen, Mapping[str, Any]], None]] = {
    "runner_on_start": _note_start,
    "runner_on_ok": _note_ok,
    "runner_item_on_ok": _note_ok,
    "runner_on_failed": _note_failed,
    "runner_on_unreachable": _note_unreachable,
}


def _words(result: Mapping[str, Any]) -> Iterator[str]:
    """What a failed module said: of a loop, what its failed items said."""
    if "censored" in result:
        yield _HIDDEN
        return
    items = [_mapping(item) for item in result.get("results") or ()]
    failed = [item for item in items if item.get("failed") or "censored" in item]
    if failed:
        for item in failed:
            yield from _words(item)
        return
    for key in ("msg", "reason", "module_stderr", "stderr"):
        if text := str(result.get(key) or "").strip():
            yield text


def _text(text: str, hidden: Iterable[str], limit: int) -> str:
    """Words of a module as they may be shown: no secret, nothing that moves a cursor, not too long."""
    for secret in hidden:
        text = text.replace(secret, "***")
    return shown(" ".join(text.split()), limit)


def _hidden(assignments: Iterable[Assignment]) -> tuple[str, ...]:
    """The secrets of all machines, the longest first: a task is named once, with the words of the first.

    Of a secret with several lines (a key) each line counts: programs quote single ones.
    """
    plain = {secret for assignment in assignments for secret in assignment.secrets}
    secrets = plain | {coded for secret in plain for coded in _coded(secret)}
    lines = {line.strip() for secret in secrets for line in secret.splitlines() if len(line) >= _SECRET_LINE}
    whole = {secret.strip() for secret in secrets}
    return tuple(sorted((secrets | whole | lines) - {""}, key=lambda secret: (-len(secret), secret)))


def _names(work: Work) -> list[str]:
    return [assignment.machine.name for assignment in work.assignments]


def _coded(secret: str) -> Iterator[str]:
    """The secret as templates often write it: in a URL, or in base64, also with more text behind it."""
    raw = secret.encode()
    for part in (raw, raw[: len(raw) - len(raw) % 3]):
        if len(part) >= _SECRET_LINE:
            yield from (b64encode(part).decode(), urlsafe_b64encode(part).decode())
    yield from (quote(secret), quote(secret, safe=""))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
