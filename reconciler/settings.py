"""What `reconciler.yaml` says, as frozen data. Always read from the trusted ref.

The field names are those of the file (`schemas/Settings.json` describes them); the defaults here are
the defaults there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.model import Json


@dataclass(frozen=True, slots=True)
class RemovalLimit:
    """How many removals a bucket may have in 24 hours: max(minimum, share percent of what we own)."""

    minimum: int = 3
    share: int = 10

    def allows(self, removals: int, owned: int) -> bool:
        return removals <= max(self.minimum, owned * self.share // 100)


@dataclass(frozen=True, slots=True)
class Guards:
    """The gates of `judge`."""

    removal: RemovalLimit = RemovalLimit()
    run: RemovalLimit = RemovalLimit(10, 5)


@dataclass(frozen=True, slots=True)
class Freeze:
    """A time in which changes wait. Either dates (`from`, `until`, whole days) or weekly hours.

    `timezone` is an IANA name. Weekly: `days` (mon … sun) on which it starts, `start` and `end` as
    HH:MM; an end before the start is on the next day. Empty `providers` and `groups` mean all.
    `all` also holds creates and healing, which otherwise go on.
    """

    name: str
    timezone: str
    reason: str = ""
    first: str = field(default="", metadata={"key": "from"})  # ISO date; `from` is a word of Python
    until: str = ""
    days: tuple[str, ...] = ()
    start: str = "00:00"
    end: str = "24:00"
    providers: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    all: bool = False


@dataclass(frozen=True, slots=True)
class OwnershipRule:
    """Who may write what: objects of `kinds` only in files matching `path` ({group} = metadata.group).

    `fields` denies metadata fields there, e.g. {"adopt": "deny"}.
    """

    path: str
    kinds: tuple[str, ...]
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When `run` makes a pass: every `interval` (duration), or by `cron` in `timezone`."""

    interval: str = ""
    cron: str = ""
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Publish:
    """Where the status pages go besides the artifact folder: a branch of the same repository."""

    branch: str = ""


@dataclass(frozen=True, slots=True)
class Notify:
    """One receiver of changed conditions: a webhook or a mail address, by secret reference."""

    webhook: str = ""
    mail: str = ""
    smtp: str = ""
    sender: str = ""
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole file."""

    owner: str
    guards: Guards = Guards()
    freezes: tuple[Freeze, ...] = ()
    ownership: tuple[OwnershipRule, ...] = ()
    schedule: Schedule = Schedule(interval="10m")
    publish: Publish = Publish()
    notify: tuple[Notify, ...] = ()
    store: str = ""  # SQLAlchemy URL without a password; empty: SQLite in the state folder
    notice: int = 14  # days before `expires` at which the condition Expiring begins
    wait: str = "15m"
    secrets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # group → references it may name
    extra: Mapping[str, Json] = field(default_factory=dict)
