"""Tell people what changed: after the record of a run, one message for each receiver, or none.

A change is a condition whose word or reason is another than after the last run. Failing to tell is said in
one line and never fails the run. `reconciler.telling.receivers` is how a message gets there.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from reconciler.model import Condition, Json, Record, Ref, Word
from reconciler.printable import printable
from reconciler.settings import Notify
from reconciler.telling.receivers import NotSentError, is_reference, post, send

DEADLINE: Final = 30.0  # seconds for all receivers together: they are told side by side
LISTED: Final = 200  # changes that one message tells in full
_LONGEST: Final = 500  # characters of one message of a condition


@dataclass(frozen=True, slots=True)
class News:
    """One object that stands otherwise than before. None: it was not there, or is not any more."""

    ref: Ref
    before: Condition | None
    after: Condition | None


def news(old: Mapping[Ref, Condition], new: Mapping[Ref, Condition]) -> tuple[News, ...]:
    """What changed between two runs, by Ref; objects only where they speak for their parts.

    When nothing was known before (a first run, a lost store) what is Ready is no news.
    """
    changed = []
    for ref in sorted(old.keys() | new.keys()):
        before, after = old.get(ref), new.get(ref)
        if _standing(before) == _standing(after) or _said_by_its_object(ref, after, new):
            continue
        if old or (after and after.word is not Word.READY):
            changed.append(News(ref, before, after))
    return tuple(changed)


def _standing(condition: Condition | None) -> tuple[str, str] | None:
    return None if condition is None else (condition.word, condition.reason)


def _said_by_its_object(ref: Ref, after: Condition | None, new: Mapping[Ref, Condition]) -> bool:
    """A part says nothing of its own when its object stands the same, or is gone with it."""
    if not ref.part:
        return False
    whole = new.get(ref.object)
    return _standing(whole) == _standing(after) or (after is not None and after.word is Word.READY)


def notify(
    receivers: Sequence[Notify],
    record: Record,
    old: Mapping[Ref, Condition],
    new: Mapping[Ref, Condition],
    *,
    owner: str,
) -> tuple[str, ...]:
    """Tell every receiver what concerns it; return one line for each that could not be told.

    `old` and `new` are all conditions before and after the run. Takes DEADLINE seconds at the most.
    """
    changed = news(old, new)
    letters = [(receiver, _concerning(receiver, changed)) for receiver in receivers]
    tellings = [_Telling(receiver, record, owner, told) for receiver, told in letters if told]
    for telling in tellings:
        telling.start()
    _wait_for(tellings)
    return tuple(telling.failure for telling in tellings if telling.failure)


def _concerning(receiver: Notify, changed: Iterable[News]) -> tuple[News, ...]:
    return tuple(one for one in changed if not receiver.groups or one.ref.group in receiver.groups)


class _Telling(threading.Thread):
    """One receiver being told. A daemon: whoever never answers does not hold up the end of the command."""

    def __init__(self, receiver: Notify, record: Record, owner: str, told: tuple[News, ...]) -> None:
        super().__init__(name="notify", daemon=True)
        self.receiver = receiver
        self._address = receiver.webhook if is_reference(receiver.webhook) else receiver.mail or "webhook"
        self.failure = self._line(f"no answer within {DEADLINE:.0f} s")
        self._letter = (record, owner, told)

    def run(self) -> None:
        try:
            _tell(self.receiver, *self._letter)
        except NotSentError as error:
            self.failure = self._line(str(error))
        except Exception as error:  # noqa: BLE001  telling never fails a run; its text could hold the address
            self.failure = self._line(type(error).__name__)
        else:
            self.failure = ""

    def _line(self, why: str) -> str:
        return f"notify {printable(self._address)}: {why}"


def _wait_for(tellings: Iterable[_Telling]) -> None:
    end = time.monotonic() + DEADLINE
    for telling in tellings:
        telling.join(max(0.0, end - time.monotonic()))


def _tell(receiver: Notify, record: Record, owner: str, told: tuple[News, ...]) -> None:
    if receiver.webhook:
        post(receiver.webhook, webhook_body(record, owner, told))
    if receiver.mail:
        send(receiver, mail_text(record, owner, told), subject(owner, told))


# What is said.


def webhook_body(record: Record, owner: str, told: Sequence[News]) -> dict[str, Json]:
    """The JSON of a webhook, version 1 (stable; more fields may be added).

    `changes` holds at most LISTED of them, `more` counts the rest. In a change `before` and `after` are
    {status, reason} or null; `message`, `who`, `since`, `nextTry`, `source` are of the condition after.
    """
    return {
        "schemaVersion": 1,
        "owner": owner,
        "run": record.run,
        "revision": record.revision,
        "exitCode": int(record.exit_code),
        "summary": dict(sorted(Counter(_word(one.after) for one in told).items())),
        "changes": [_change_json(one) for one in told[:LISTED]],
        "more": max(0, len(told) - LISTED),
    }


def _change_json(one: News) -> dict[str, Json]:
    after = one.after
    return {
        "ref": str(one.ref),
        "group": one.ref.group,
        "before": _standing_json(one.before),
        "after": _standing_json(after),
        "message": after.message[:_LONGEST] if after else "",
        "who": after.who if after else "",
        "since": _time(after.since) if after else None,
        "nextTry": _time(after.next_try) if after else None,
        "source": {"path": after.source.path, "line": after.source.line} if after else None,
    }


def _standing_json(condition: Condition | None) -> dict[str, Json] | None:
    return None if condition is None else {"status": str(condition.word), "reason": condition.reason}


def _time(when: datetime | None) -> str | None:
    return when.isoformat() if when else None


def _word(condition: Condition | None) -> str:
    return "Removed" if condition is None else str(condition.word)


def subject(owner: str, told: Sequence[News]) -> str:
    """The subject of a mail: how many objects now stand how, the worst first; never an author's text."""
    counts = Counter(_word(one.after) for one in told)
    order = [*(str(word) for word in (Word.FAILED, Word.HELD, Word.BLIND)), *sorted(counts)]
    words = [word for word in dict.fromkeys(order) if counts[word]]
    return f"[reconciler {owner}] " + ", ".join(f"{counts[word]} {word}" for word in words)


def mail_text(record: Record, owner: str, told: Sequence[News]) -> str:
    """The text of a mail: plain, and nothing in it can hide or begin a line that is ours."""
    lines = [f"Run {record.run} of {owner}, revision {record.revision}", ""]
    for one in told[:LISTED]:
        lines += [*_mail_lines(one), ""]
    if len(told) > LISTED:
        lines.append(f"… and {len(told) - LISTED} more: reconciler status")
    return "\n".join(lines).rstrip() + "\n"


def _mail_lines(one: News) -> list[str]:
    before = f" (was {_word(one.before)})" if one.before else ""
    after = one.after
    reason = f" {after.reason}" if after and after.reason else ""
    lines = [f"{_word(after)}{before}: {one.ref}{reason}"]
    if after is None:
        return [printable(line) for line in lines]
    if after.message:
        lines.append(f"    {after.message[:_LONGEST]}")
    if after.source.path:
        lines.append(f"    written in {after.source}")
    if after.who and after.word is not Word.READY:
        lines.append(f"    who must act: {after.who}")
    if after.next_try:
        lines.append(f"    next try: {after.next_try:%Y-%m-%d %H:%M} UTC")
    return [printable(line) for line in lines]
