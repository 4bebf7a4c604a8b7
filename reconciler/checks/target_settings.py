"""The targets of a Provider against the drivers that are installed: a driver's own settings have its schema.

Stands under `validate`. Which drivers there are is no matter of the blob, so the answer is kept by schema and
settings instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from reconciler.canonical import digest_of
from reconciler.checks.schema import Finding, compiled, explained
from reconciler.kinds.provider import own_settings
from reconciler.model import Declared, Json
from reconciler.printable import shown
from reconciler.source.blob_cache import BlobCache


def check_targets(
    declared: Declared, schema_of: Callable[[str], Mapping[str, Json] | None], cache: BlobCache
) -> Iterator[Finding]:
    """What is wrong with the settings of a Provider's targets."""
    for index, target in enumerate(declared.spec["targets"]):
        where = ("spec", "targets", index)
        schema = schema_of(target["type"])
        if schema is None:
            message = f"no driver '{shown(target['type'])}' is installed"
            hint = "`type` names the driver, like storage, publish or simulated"
            yield Finding((*where, "type"), "UnknownDriver", message, hint)
            continue
        for path, *rest in _answer(dict(schema), own_settings(target), cache):
            yield Finding((*where, *path), *rest)


def _answer(schema: dict[str, Json], settings: Mapping[str, Json], cache: BlobCache) -> Json:
    """Findings in JSON, from the cache where it knows them."""
    key = digest_of([schema, settings])
    if key not in cache.answers:
        found = () if compiled(schema)(settings) else explained(schema, settings)
        cache.answers[key] = [(one.path, one.code, one.message, one.hint, one.at_key) for one in found]
        cache.changed = True
    return cache.answers[key]
