"""reconciler.yaml: from its mapping to `Settings`, and what is wrong with it.

Stands under `validate`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.checks.envelope import is_date
from reconciler.checks.schema import Finding, compiled, explained
from reconciler.construct import build
from reconciler.guess import did_you_mean
from reconciler.kind import Kind
from reconciler.model import Json
from reconciler.resources import bundled
from reconciler.settings import Settings


def settings_of(value: Mapping[str, Json]) -> Settings:
    """The settings that a valid mapping says."""
    return build(Settings, {key: entry for key, entry in value.items() if key != "apiVersion"})


def check_settings(value: Json, kinds: Mapping[str, Kind[Any]]) -> tuple[Finding, ...]:
    """Everything that is wrong with the mapping in reconciler.yaml."""
    schema = bundled("Settings")
    if not compiled(schema)(value):
        return explained(schema, value)
    return (*_check_freezes(value), *_check_ownership(value, kinds), *_check_schedule(value))


def _check_freezes(value: Mapping[str, Json]) -> Iterator[Finding]:
    for index, freeze in enumerate(value.get("freezes", ())):
        where = ("freezes", index)
        yield from _check_zone((*where, "timezone"), freeze["timezone"])
        days = [name for name in ("from", "until") if name in freeze]
        wrong = [name for name in days if not is_date(freeze[name])]
        for name in wrong:
            message = f"there is no day {freeze[name]}"
            yield Finding((*where, name), "BadDate", message, "write a day that exists as YYYY-MM-DD")
        if bool(days) == bool(freeze.get("days")):
            hint = "write `from` and `until`, or `days` with `start` and `end`"
            yield Finding(where, "Freeze", "a freeze has either dates or days of the week", hint)
        elif len(days) == 2 and not wrong and freeze["until"] < freeze["from"]:
            yield Finding(
                (*where, "until"), "Freeze", "the freeze ends before it begins", "exchange the dates"
            )


def _check_zone(path: tuple[str | int, ...], name: str) -> Iterator[Finding]:
    from zoneinfo import ZoneInfo  # noqa: PLC0415  only where a zone is named

    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        message = f"there is no time zone '{name}'"
        yield Finding(path, "BadTimeZone", message, "use an IANA name, like Europe/Rome or UTC")


def _check_ownership(value: Mapping[str, Json], kinds: Mapping[str, Kind[Any]]) -> Iterator[Finding]:
    for index, rule in enumerate(value.get("ownership", ())):
        for place, name in enumerate(rule["kinds"]):
            path = ("ownership", index, "kinds", place)
            if name not in kinds:
                hint = did_you_mean(name, kinds) or f"there are {', '.join(sorted(kinds))}"
                yield Finding(path, "UnknownKind", f"there is no kind '{name}'", hint)
            elif "{group}" in rule["path"] and not kinds[name].grouped:
                message = f"a {name} has no group, so no path with {{group}} can fit"
                yield Finding(path, "Ownership", message, "give this kind a rule of its own")


def _check_schedule(value: Mapping[str, Json]) -> Iterator[Finding]:
    schedule = value.get("schedule", {})
    if "cron" in schedule and "interval" in schedule:
        yield Finding(("schedule",), "Schedule", "a schedule has either `interval` or `cron`", "keep one")
    yield from _check_zone(("schedule", "timezone"), schedule.get("timezone", "UTC"))
    for index, receiver in enumerate(value.get("notify", ())):
        if not receiver.get("webhook") and not receiver.get("mail"):
            hint = "add `webhook: env:NAME` or `mail: …`"
            yield Finding(("notify", index), "Notify", "a receiver has a webhook or a mail address", hint)
