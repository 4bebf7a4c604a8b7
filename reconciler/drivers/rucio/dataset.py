"""The hand for data sets and containers of Rucio: contents, metadata, end, and whether they are closed.

A data set is found by its name and never deleted. It is ours when it belongs to the target's account, which
is so from the call that makes it. Its contents are read only where the natural key says how: `scope:name`,
`scope:name contents`, `scope:name pattern=<names with *>`, each also with ` metadata` at the end where there
is metadata that Rucio has no column for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from reconciler.drivers.rucio.client import Reader, Writer
from reconciler.drivers.rucio.dataset_reading import (
    COLUMNS,
    TYPE,
    Did,
    contents_of,
    day_of,
    dids,
    is_ours,
    json_of,
    matching,
    own_metadata,
)
from reconciler.drivers.rucio.dataset_writing import Converging
from reconciler.errors import Rejected
from reconciler.kind import Ask
from reconciler.model import Change, FieldChange, Json, Mark, Observed, Ref

DATASET: Final = "Dataset"
_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Key:
    """A natural key: the data set, and what is to be read of it besides its columns."""

    dataset: str
    contents: bool = False
    pattern: str = ""
    metadata: bool = False


def key_of(text: str) -> Key:
    """Read a natural key. Names of Rucio hold no white space."""
    dataset, *words = text.split(" ")
    pattern = next((word.removeprefix("pattern=") for word in words if word.startswith("pattern=")), "")
    return Key(dataset, "contents" in words or bool(pattern), pattern, "metadata" in words)


class DatasetHand:
    """Stateless."""

    def observe(self, client: Reader, ask: Ask) -> Iterable[Observed]:
        """One call for all data sets, one for all metadata of one's own, one or two per asked contents."""
        keys = {text: key_of(text) for text in sorted(ask.natural)}
        found = dids(client, {key.dataset for key in keys.values()})
        own = own_metadata(client, {key.dataset for key in keys.values() if key.metadata} & found.keys())
        return [
            _seen(client, ask, text, key, found[key.dataset], own.get(key.dataset, {}))
            for text, key in keys.items()
            if key.dataset in found
        ]

    def verify(self, client: Reader, thing: Observed) -> Observed:
        """The list shows everything."""
        return thing

    def apply(self, client: Writer, change: Change, mark: Mark) -> None:
        """Make it, and whatever of it is not so yet. Safe to run twice."""
        if change.want is None:
            raise Rejected(f"{change.ref}: nothing is wanted")
        Converging(client, change.want).all()

    def release(self, client: Writer, change: Change) -> None:
        """Nothing of ours is on it."""

    def delete(self, client: Writer, change: Change) -> None:
        """Raises Rejected: data sets are never deleted by us."""
        raise Rejected(f"{change.ref}: data sets of Rucio are never deleted by us")


# -- reading -------------------------------------------------------------------------------------


def _seen(client: Reader, ask: Ask, text: str, key: Key, did: Did, own: Did) -> Observed:
    spec: dict[str, Json] = {
        "dataset": key.dataset,
        "type": TYPE.get(did["did_type"], str(did["did_type"]).lower()),
        "metadata": _metadata(did, own),
        "closed": not did["is_open"],
    }
    if did["expired_at"] is not None:
        spec["until"] = day_of(did["expired_at"])
    mark = Mark(ask.owner, "") if is_ours(client, did) else None
    thing = Observed(Ref(DATASET, "", text), DATASET, client.target, spec, text, mark)
    return _with_contents(client, thing, key) if key.contents and did["did_type"] in TYPE else thing


def _metadata(did: Did, own: Did) -> dict[str, Json]:
    """What an author may have set, and what is set; others' own metadata are not managed and do no harm."""
    said = {name: did[name] for name in COLUMNS} | {name: own[name] for name in own.keys() - did.keys()}
    return {name: json_of(value) for name, value in sorted(said.items()) if value is not None}


def _with_contents(client: Reader, thing: Observed, key: Key) -> Observed:
    there = contents_of(client, key.dataset)
    if not key.pattern:
        return replace(thing, spec={**thing.spec, "contents": {"list": sorted(there)}})
    thing = replace(thing, spec={**thing.spec, "contents": {"pattern": key.pattern}})
    fitting = matching(client, key.dataset, str(thing.spec["type"]), key.pattern)
    missing, surplus = sorted(fitting - there), sorted(there - fitting)
    if thing.spec["closed"]:
        said = f"{len(missing)} that fit are not in it, {len(surplus)} in it do not fit"
        return replace(thing, message=f"closed: {said}") if missing or surplus else thing
    drift = [("contents.missing", missing), ("contents.surplus", surplus)]
    return replace(thing, drift=tuple(FieldChange(path, _shown(names), []) for path, names in drift if names))


def _shown(names: Sequence[str]) -> list[str]:
    more = [f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return [*names[:_SHOWN], *more]
