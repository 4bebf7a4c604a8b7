"""Provider: a site of the federation, and the targets that drivers reach there.

A target is called as its provider when it is the only one, else `<provider>.<name>`. The field names follow
the provider files of the INFN federation-registry-feeder (`src/models/*.py`) where it has the same thing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from reconciler import units
from reconciler.construct import build
from reconciler.kind import Kind
from reconciler.model import NOTHING, Declared, Json, Ref, Target

COMMON_KEYS: Final = frozenset({"name", "type", "concurrency", "rate", "timeout", "deadline"})


@dataclass(frozen=True, slots=True)
class Location:
    """Where the site is; degrees north and east."""

    site: str
    country: str
    latitude: float | None = None
    longitude: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What one group may use at the site; -1 or absent is no limit. Sizes as written."""

    cores: int | None = None
    instances: int | None = None
    memory: str | None = None
    volumes: int | None = None
    storage: str | None = None
    public_addresses: int | None = None


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """A site. Each of `targets` holds the common keys and the settings of its driver."""

    targets: tuple[Mapping[str, Json], ...]
    description: str = ""
    status: str = "active"
    public: bool = False
    location: Location | None = None
    support_emails: tuple[str, ...] = ()
    groups: tuple[str, ...] | None = None
    limits: Limits = Limits()


class ProviderKind(Kind[ProviderSpec]):
    """Configuration: it expands into nothing, `targets_of` is what comes out of it."""

    name = "Provider"
    grouped = False
    spec = ProviderSpec

    def check(self, declared: Declared) -> Iterable[tuple[str, str, str]]:
        targets = declared.spec["targets"]
        seen: set[str] = set()
        for index, target in enumerate(targets):
            name = target.get("name", "")
            if not name and len(targets) > 1:
                hint = f"it will be called `{declared.ref.name}.<name>`"
                yield f"spec.targets.{index}", "a target needs a `name` where there are several", hint
            if name and name in seen:
                yield f"spec.targets.{index}.name", f"two targets are called `{name}`", "rename one"
            seen.add(name)
        yield from _check_degrees(declared.spec.get("location") or NOTHING)


def _check_degrees(location: Mapping[str, Json]) -> Iterable[tuple[str, str, str]]:
    for name, most in (("latitude", 90), ("longitude", 180)):
        if name in location and abs(float(location[name])) > most:
            yield f"spec.location.{name}", f"a {name} is between -{most} and {most} degrees", ""


def target_name(provider: str, spec: Mapping[str, Json], index: int) -> str:
    """What the target at this place in `spec.targets` is called everywhere else."""
    targets = spec["targets"]
    return provider if len(targets) == 1 else f"{provider}.{targets[index].get('name', index)}"


def own_settings(target: Mapping[str, Json]) -> dict[str, Json]:
    """What of a target is for its driver."""
    return {key: value for key, value in target.items() if key not in COMMON_KEYS}


def targets_of(declared: Declared) -> dict[str, Target]:
    """The targets of one valid Provider, by name."""
    spec = declared.spec
    names = [target_name(declared.ref.name, spec, index) for index in range(len(spec["targets"]))]
    return {name: _target(declared, name, entry) for name, entry in zip(names, spec["targets"], strict=True)}


def _target(declared: Declared, name: str, entry: Mapping[str, Json]) -> Target:
    groups = declared.spec.get("groups")
    return Target(
        name=name,
        driver=entry["type"],
        provider=declared.ref.name,
        settings=own_settings(entry),
        status=declared.spec.get("status", "active"),
        groups=None if groups is None else frozenset(groups),
        concurrency=entry.get("concurrency", 4),
        rate=float(entry.get("rate", 0)),
        timeout=units.duration(entry.get("timeout", "60s")).total_seconds(),
        deadline=units.duration(entry.get("deadline", "1h")).total_seconds(),
        source=declared.source,
    )


def typed(declared: Declared) -> ProviderSpec:
    """The spec as a dataclass."""
    return build(ProviderSpec, declared.spec)


def provider_of(target: str) -> Ref:
    """The Provider that a target's name points to."""
    return Ref("Provider", "", target.partition(".")[0])


KIND: Final = ProviderKind()
