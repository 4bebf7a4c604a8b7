"""What Rucio says of data sets and files by their names: many in one call. Reads only.

Source: Rucio's REST interface, `POST /dids/bulkmeta` (lib/rucio/core/did.py, get_metadata_bulk): one object
per DID that is there, nothing for one that is not. The columns are those of its table of DIDs. `closed_at`
stays when a data set is opened again, `length` and `bytes` are worked out when it is closed. With the plugin
ALL metadata of one's own come too; a database that can't keep them answers 500.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any, Final, TypeVar

from reconciler.drivers.rucio.client import Reader
from reconciler.model import Json

TYPE: Final = {"DATASET": "dataset", "CONTAINER": "container"}
_AT_ONCE: Final = 1000  # DIDs of one call
_BROKEN: Final = 500
_NEAR: Final = timedelta(hours=1)  # of midnight: clocks differ, and calls take their time
# Columns of a DID that an author may set, others are Rucio's own. The kind Dataset has the same list.
COLUMNS: Final = (
    "campaign", "datatype", "lumiblocknr", "panda_id", "phys_group", "prod_step", "project", "provenance",
    "run_number", "stream_name", "task_id", "transient", "version",
)  # fmt: skip

Did = Mapping[str, Any]
T = TypeVar("T")


def did_of(text: str) -> dict[str, str]:
    """`scope:name` as Rucio wants it: {"scope": …, "name": …}."""
    scope, _, name = text.partition(":")
    return {"scope": scope, "name": name}


def text_of(did: Did) -> str:
    """The same the other way round."""
    return f"{did['scope']}:{did['name']}"


def dids(client: Reader, names: Collection[str]) -> dict[str, Did]:
    """The columns of those DIDs that are there, by `scope:name`; one call for a thousand."""
    found: dict[str, Did] = {}
    for some in in_pieces(sorted(names), _AT_ONCE):
        with client.rucio("data identifiers") as rucio:
            for did in rucio.get_metadata_bulk([did_of(name) for name in some]):
                found[text_of(did)] = did
    return found


def own_metadata(client: Reader, names: Collection[str]) -> dict[str, Did]:
    """The same with metadata of one's own; nothing at all where this Rucio can't keep them."""
    found: dict[str, Did] = {}
    for some in in_pieces(sorted(names), _AT_ONCE):
        with client.rucio("metadata") as rucio:
            try:
                answer = list(rucio.get_metadata_bulk([did_of(name) for name in some], plugin="ALL"))
            except rucio.errors:
                if rucio.status != _BROKEN:
                    raise
                return {}
        found.update({text_of(did): did for did in answer})
    return found


def is_ours(client: Reader, did: Did) -> bool:
    """Does it belong to the target's account, whose things are ours?"""
    return bool(did["account"] == client.server.account)


def contents_of(client: Reader, dataset: str) -> set[str]:
    """What is in it, one step down, as `scope:name`."""
    with client.rucio(f"contents of {dataset}") as rucio:
        return {text_of(did) for did in rucio.list_content(**did_of(dataset))}


def matching(client: Reader, dataset: str, sort: str, pattern: str) -> set[str]:
    """What of its scope fits: files for a data set, data sets for a container. Only `*` stands for others."""
    scope = did_of(dataset)["scope"]
    children = "file" if sort == "dataset" else "dataset"
    with client.rucio(f"what fits {pattern}") as rucio:
        names = list(rucio.list_dids(scope, [{"name": pattern}], did_type=children))
    fitting = {f"{scope}:{name}" for name in names if fnmatchcase(name, pattern)}
    return fitting - {dataset}


def day_of(moment: datetime) -> str:
    """The last day of what ends at that moment (UTC); the moment itself where it is not midnight."""
    day = (moment - timedelta(hours=12)).date()
    midnight = datetime.combine(day + timedelta(days=1), time())
    return day.isoformat() if abs(moment - midnight) <= _NEAR else moment.isoformat()


def seconds_to(day: str, now: datetime) -> int:
    """How long it is until the end of a day (UTC), which is how Rucio wants to be told; at least 0."""
    end = datetime.combine(datetime.fromisoformat(day).date() + timedelta(days=1), time(), UTC)
    return max(0, round((end - now).total_seconds()))


def json_of(value: Any) -> Json:
    """A value of a DID as our specs say it: moments as text."""
    return value.isoformat() if isinstance(value, datetime) else value


def in_pieces(items: Sequence[T], size: int) -> Iterator[list[T]]:
    """The items in lists of at most `size`."""
    rest = iter(items)
    while piece := list(islice(rest, size)):
        yield piece
