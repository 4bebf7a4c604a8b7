"""Which kinds and drivers there are. Kinds are found by folder, drivers by entry point.

A driver is imported when a target of its type is in the plan, never before.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from reconciler import kinds as kinds_package
from reconciler.errors import UsageError
from reconciler.kind import Driver, Kind, Primitive

DRIVERS = "reconciler.drivers"


@cache
def kinds() -> Mapping[str, Kind[Any]]:
    """All kinds that authors may declare, by name: every module in `kinds/` has one `KIND`."""
    found = pkgutil.iter_modules(kinds_package.__path__)
    modules = [importlib.import_module(f"{kinds_package.__name__}.{entry.name}") for entry in found]
    return {module.KIND.name: module.KIND for module in modules if hasattr(module, "KIND")}


@cache
def primitives() -> Mapping[str, Primitive]:
    """All primitive kinds, by name, sorted: what the kinds expand into."""
    parts = {part.name: part for kind in kinds().values() for part in kind.parts}
    return {name: parts[name] for name in sorted(parts)}


@cache
def driver_names() -> tuple[str, ...]:
    """The types that a target may have, sorted; nothing is imported."""
    return tuple(sorted({entry.name for entry in entry_points(group=DRIVERS)}))


@cache
def driver(name: str) -> Driver:
    """The driver of that name. Raises UsageError when none is installed or it does not load."""
    found = next((entry for entry in entry_points(group=DRIVERS) if entry.name == name), None)
    if found is None:
        raise UsageError(f"there is no driver '{name}'", hint=f"installed: {', '.join(driver_names())}")
    loaded = found.load()
    if not isinstance(loaded, Driver):
        raise UsageError(
            f"the entry point of driver '{name}' is not a Driver", hint="see docs: add a back-end"
        )
    return loaded


def driver_settings(name: str) -> Mapping[str, Any] | None:
    """The JSON Schema of a target's own settings; None when there is no such driver."""
    return driver(name).settings if name in driver_names() else None
