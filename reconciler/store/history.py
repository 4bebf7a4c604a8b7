"""What the pure stages may know of the past. Every part is read when it is first asked for.

No store, an unreadable one, or one of another schema is an empty history: nothing was read, nothing is
proved, nothing approved. Each part is read in one statement or in an order in which a run at the same
time can only take proof away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final

from reconciler.model import Condition, Ref, mark_id
from reconciler.store.rows import (
    SELECT_CONDITIONS,
    SELECT_FAILED,
    SELECT_REMOVALS,
    LastTry,
    Removal,
    conditions_of,
    text_of,
    time_of,
    tries_of,
)

Rows = Callable[..., list[tuple[Any, ...]]]

APPROVED_FOR: Final = timedelta(hours=24)
_SKEW: Final = timedelta(minutes=5)  # between the clocks of two machines


@dataclass(frozen=True, slots=True)
class _Listing:
    """The last complete reading of a target: after which round of attempts, and the ids it listed."""

    round: int
    listed: frozenset[str]


@dataclass(frozen=True)
class History:
    """The past as it stood when this was made; `round` counts the rounds of attempts until then."""

    now: datetime
    rows: Rows
    round: int = 0

    @cached_property
    def _last_run(self) -> tuple[Any, ...] | None:
        found = self.rows("SELECT started, finished, revision FROM runs ORDER BY number DESC LIMIT 1")
        return found[0] if found else None

    @property
    def ran(self) -> str:
        """The commit of the last recorded run; empty: there was none."""
        return str(self._last_run[2]) if self._last_run else ""

    @property
    def last_run_time(self) -> datetime | None:
        """When the last recorded run ended, or began if it never ended; None: there was none."""
        return time_of(self._last_run[1] or self._last_run[0]) if self._last_run else None

    @cached_property
    def last_revision(self) -> str:
        """The commit that this run must follow: mostly that of the last run that ended; empty: none."""
        followed = self.rows("SELECT value FROM meta WHERE key = 'followed'")
        return next((str(revision) for (revision,) in followed), "")

    @cached_property
    def conditions(self) -> Mapping[Ref, Condition]:
        """How everything stood at the end of the last run."""
        return conditions_of(self.rows(SELECT_CONDITIONS))

    @cached_property
    def failed(self) -> Mapping[Ref, LastTry]:
        """What had failed at the end of the last run: for the back-off."""
        return tries_of(self.rows(SELECT_FAILED))

    @cached_property
    def _readings(self) -> Mapping[str, tuple[float | None, bool]]:
        found = self.rows("SELECT target, seconds, blind FROM durations")
        return {target: (seconds, bool(blind)) for target, seconds, blind in found}

    @cached_property
    def durations(self) -> Mapping[str, float]:
        """Target → how many seconds reading it takes, as learnt. Targets never read are not in it."""
        return {target: seconds for target, (seconds, _) in self._readings.items() if seconds is not None}

    def was_blind(self, target: str) -> bool:
        """Could this target not be read the last time?"""
        return self._readings.get(target, (None, False))[1]

    @cached_property
    def _listings(self) -> Mapping[str, _Listing]:
        found = self.rows("SELECT target, round, listed FROM reads")
        return {target: _Listing(number, frozenset(listed.split())) for target, number, listed in found}

    @cached_property
    def _attempts(self) -> Mapping[str, Mapping[str, int]]:
        """Target → id of a part or of its object → the round of the last attempt."""
        attempts: dict[str, dict[str, int]] = {}
        for target, text, number in self.rows("SELECT target, ref, round FROM attempts"):
            ref = Ref.parse(text)
            at_target = attempts.setdefault(target, {})
            for known in (mark_id(ref), mark_id(ref.object)):
                at_target[known] = max(number, at_target.get(known, 0))
        return attempts

    def proves_absent(self, ids: Iterable[str], target: str) -> bool:
        """Is it proved that none of these mark ids is at this target?

        It is when the last complete reading listed none of them and nothing was attempted there for
        them since. The id of an object (`mark_id(ref.object)`) covers attempts at all its parts.
        """
        asked = frozenset(ids)
        listing = self._listings.get(target)  # before the attempts: a later look can only find more
        if listing is None or not asked or asked & listing.listed:
            return False
        attempts = self._attempts.get(target, {})
        return all(attempts.get(known, 0) <= listing.round for known in asked)

    def healed(self, since: datetime) -> Mapping[str, int]:
        """Digest of a change that undid drift → how often it was applied since a time."""
        found = self.rows(
            "SELECT outcomes.digest, COUNT(*) FROM outcomes JOIN runs ON runs.run = outcomes.run "
            "WHERE outcomes.why = 'Drifted' AND outcomes.result = 'Applied' AND runs.started >= :since "
            "GROUP BY outcomes.digest",
            since=text_of(since),
        )
        return {digest: int(count) for digest, count in found}

    def removals(self, since: datetime) -> tuple[Removal, ...]:
        """The removals that were attempted at or after a time, by Ref."""
        found = self.rows(SELECT_REMOVALS, since=text_of(since))
        return tuple(
            Removal(datetime.fromisoformat(when), kind, group, site, Ref.parse(ref))
            for when, kind, group, site, ref in found
        )

    @cached_property
    def _approvals(self) -> Mapping[str, datetime]:
        found = self.rows("SELECT digest, approved FROM approvals")
        return {digest: datetime.fromisoformat(approved) for digest, approved in found}

    def approved(self, digest: str) -> bool:
        """Did somebody approve the change of this digest in the last 24 hours?"""
        when = self._approvals.get(digest)
        return when is not None and -_SKEW <= self.now - when <= APPROVED_FOR

    @cached_property
    def _verifications(self) -> Mapping[str, str]:
        return dict(self.rows("SELECT mark, verified FROM verifications"))

    @property
    def has_verifications(self) -> bool:
        """Is any content known to have been proved since it was written?"""
        return bool(self._verifications)

    def verified(self, mark: str) -> datetime | None:
        """When the content of the thing with this mark id was last proved; None: not known."""
        return time_of(self._verifications.get(mark))

    @cached_property
    def _locks(self) -> Mapping[str, int]:
        return dict(self.rows("SELECT mark, locked FROM locks"))

    def lock_known(self, mark: str) -> bool | None:
        """Was the thing with this mark id locked when its object was last seen in git? None: no record."""
        locked = self._locks.get(mark)
        return None if locked is None else bool(locked)


def empty_history(now: datetime) -> History:
    """The history of a world without a past."""
    return History(now, lambda _statement, **_parameters: [])
