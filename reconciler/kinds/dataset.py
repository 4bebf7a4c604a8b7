"""Kind Dataset: a data set or container that Rucio keeps: contents, metadata, end, and whether it is closed.

One object is one primitive thing of the same name. It is found by its name and never deleted by us; it is
ours when it belongs to the target's account.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import ClassVar, Final

from reconciler.kind import Kind, Primitive, World
from reconciler.model import Condition, Declared, Json, Ref, Resource, Word
from reconciler.placement.tenancy import not_allowed

# Rucio's columns for metadata: the longest text, or 0 for a whole number (lib/rucio/db/sqla/models.py).
COLUMNS: Final[Mapping[str, int]] = {
    "campaign": 50, "datatype": 50, "lumiblocknr": 0, "panda_id": 0, "phys_group": 25, "prod_step": 50,
    "project": 50, "provenance": 2, "run_number": 0, "stream_name": 70, "task_id": 0, "version": 50,
}  # fmt: skip
TRANSIENT: Final = "transient"  # the one that is true or false
# Columns that are Rucio's own, or that it can't set on a data set. (`eol_at` is read wrongly by 41.5.1: it
# takes the month for minutes.)
_NOT_OURS: Final = frozenset({
    "access_cnt", "accessed_at", "account", "adler32", "availability", "bytes", "closed_at", "complete",
    "constituent", "created_at", "deleted_at", "did_type", "eol_at", "events", "expired_at", "guid", "hidden",
    "is_archive", "is_new", "is_open", "length", "lifetime", "md5", "monotonic", "name", "obsolete",
    "purge_replicas", "scope", "suppressed", "updated_at",
})  # fmt: skip
_LARGEST: Final = 2**31 - 1
# Rucio's generic schema (lib/rucio/common/schema/generic.py).
_DID: Final = re.compile(r"[A-Za-z0-9_.-]{1,25}:[/A-Za-z0-9][/A-Za-z0-9._-]{0,249}")


@dataclass(frozen=True, slots=True)
class Contents:
    """One of the two: `list` names what is in it, `pattern` what of its scope is (`*`: anything)."""

    list: tuple[str, ...] | None = None
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """`dataset` is `scope:name`. What is left out is not managed: contents, closed, until, other metadata."""

    target: str
    dataset: str
    type: str = "dataset"
    contents: Contents | None = None
    metadata: Mapping[str, str | int | bool] = field(default_factory=dict)
    closed: bool | None = None
    until: str | None = None


class Dataset(Kind[DatasetSpec]):
    """Declared by data managers; grouped."""

    name: ClassVar[str] = "Dataset"
    grouped: ClassVar[bool] = True
    spec = DatasetSpec
    parts: ClassVar[tuple[Primitive, ...]] = (
        Primitive("Dataset", immutable=frozenset({"dataset", "type"}), marked="natural", listed="full"),
    )

    def targets(self, declared: Declared) -> Iterable[tuple[str, str]]:
        """The one target it names."""
        return (("spec.target", declared.spec["target"]),)

    def check(self, declared: Declared) -> Iterable[tuple[str, str, str]]:
        """Names, metadata and a day that a schema can't judge."""
        spec = declared.spec
        if not _DID.fullmatch(spec["dataset"]):
            yield "spec.dataset", f"'{spec['dataset']}' is not of the form scope:name", "like cms:higgs-2026"
        yield from _check_metadata(spec.get("metadata", {}))
        if spec.get("until") and not _is_day(spec["until"]):
            yield "spec.until", f"there is no day {spec['until']}", "write it as YYYY-MM-DD"
        for index, name in enumerate(_listed(spec)):
            if _full(name, spec["dataset"]) == spec["dataset"]:
                yield f"spec.contents.list.{index}", "it can't hold itself", "take the entry out"

    def check_together(self, declared: Collection[Declared]) -> Iterable[tuple[Declared, str, str, str]]:
        """No two objects for one data set of one target, whoever owns them."""
        alike: dict[tuple[str, str], list[Declared]] = defaultdict(list)
        for one in declared:
            alike[one.spec["target"], one.spec["dataset"]].append(one)
        for several in alike.values():
            first, *others = sorted(several, key=_precedence)
            for one in others:
                message = f"{first.ref} ({first.source}) declares {one.spec['dataset']} already"
                yield one, "spec.dataset", message, "remove one of the two files"

    def natural_keys(self, declared: Declared, primitive: str) -> Iterable[str]:
        """`scope:name`, and what has to be read of it."""
        return (_natural_key(declared),)

    def expand(self, declared: Declared, world: World) -> Iterable[Resource | Condition]:
        """One thing at its target; nothing more once its last day is over, for Rucio removes it then."""
        spec, target = declared.spec, declared.spec["target"]
        refusal = _refusal(declared, world)
        if refusal is not None:
            return (refusal,)
        wish: dict[str, Json] = {"dataset": spec["dataset"], "type": spec["type"]}
        if spec.get("contents"):
            wish["contents"] = _contents(spec)
        if spec.get("metadata"):
            wish["metadata"] = spec["metadata"]
        wish |= {key: spec[key] for key in ("closed", "until") if spec.get(key) is not None}
        facts = {"natural": _natural_key(declared)}
        return (
            Resource(declared.ref, self.name, target, wish, declared.source, declared.metadata, facts=facts),
        )


def _precedence(declared: Declared) -> tuple[bool, Ref]:
    """The group that is called as the scope comes first: a name alone must not take its data set away."""
    return declared.ref.group != declared.spec["dataset"].partition(":")[0], declared.ref


def _natural_key(declared: Declared) -> str:
    """See drivers/rucio/dataset.py: contents and metadata of one's own are read only where it is asked."""
    spec = declared.spec
    contents = spec.get("contents") or {}
    words = [spec["dataset"]]
    if contents.get("pattern"):
        words.append(f"pattern={contents['pattern']}")
    elif contents:
        words.append("contents")
    if spec.get("metadata", {}).keys() - COLUMNS.keys() - {TRANSIENT}:
        words.append("metadata")
    return " ".join(words)


def _listed(spec: Mapping[str, Json]) -> Iterable[str]:
    return tuple((spec.get("contents") or {}).get("list") or ())


def _contents(spec: Mapping[str, Json]) -> Mapping[str, Json]:
    if spec["contents"].get("pattern"):
        return {"pattern": spec["contents"]["pattern"]}
    return {"list": sorted({_full(name, spec["dataset"]) for name in _listed(spec)})}


def _full(name: str, dataset: str) -> str:
    """A name without a scope is one of the data set's own scope."""
    return name if ":" in name else f"{dataset.partition(':')[0]}:{name}"


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _check_metadata(metadata: Mapping[str, Json]) -> Iterator[tuple[str, str, str]]:
    for name, value in metadata.items():
        path = f"spec.metadata.{name}"
        is_number = isinstance(value, int) and not isinstance(value, bool)
        if name in _NOT_OURS:
            yield path, f"{name} is kept by Rucio itself", "choose another name"
        elif name == TRANSIENT and not isinstance(value, bool):
            yield path, f"{name} is true or false", "write true or false"
        elif COLUMNS.get(name) == 0 and not (is_number and abs(value) <= _LARGEST):
            yield path, f"{name} is a whole number in Rucio", f"at most {_LARGEST}"
        elif COLUMNS.get(name) and not (isinstance(value, str) and len(value) <= COLUMNS[name]):
            yield path, f"{name} is a text of at most {COLUMNS[name]} characters in Rucio", "put it in quotes"


def _refusal(declared: Declared, world: World) -> Condition | None:
    """Why nothing is wanted of Rucio; None: it is."""
    spec, name = declared.spec, declared.spec["target"]
    if name not in world.targets:
        return _condition(
            declared, Word.WAITING, "NoTarget", f"target {name} is not declared by any Provider"
        )
    if not world.serves(name, Dataset.name):
        return _condition(declared, Word.FAILED, "NotServed", f"{name} is no Rucio: it has no data sets")
    if not world.targets[name].serves(declared.ref.group):
        message = f"{name} does not serve the group {declared.ref.group}"
        return _condition(declared, Word.FAILED, "TargetNotForGroup", message)
    refused = not_allowed(declared, (name,), world)
    if refused is not None:
        return refused
    if spec.get("until") and _end(spec["until"]) <= world.now:
        message = f"its last day was {spec['until']}; Rucio removes it, and it is not made again"
        return _condition(declared, Word.WAITING, "LifetimeOver", message)
    rule = _uploading(declared, world) if spec.get("contents") else None
    if rule is not None:
        message = (
            f"{rule.ref} ({rule.source}) fills it from an upload, so its contents can't be declared here"
        )
        return _condition(declared, Word.FAILED, "FilledByUpload", message)
    return None


def _uploading(declared: Declared, world: World) -> Declared | None:
    dataset = declared.spec["dataset"]
    rules = (rule for rule in world.of_kind("DataRule") if rule.spec.get("source"))
    return next((rule for rule in rules if rule.spec.get("dataset") == dataset), None)


def _condition(declared: Declared, word: Word, reason: str, message: str) -> Condition:
    return Condition(declared.ref, word, reason, message, "author")


def _end(day: str) -> datetime:
    return datetime.combine(date.fromisoformat(day) + timedelta(days=1), time(), UTC)


KIND = Dataset()
