"""What there is in a Rucio, for the import: elements, accounts, scopes, rules, subscriptions. Reads only.

Rules come in one streamed list (one for each account, where accounts are named). Elements and accounts take a
few short questions each, asked side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Final, Self, TypeVar

from reconciler.drivers.rucio.client import Reader
from reconciler.drivers.rucio.translating import Missing
from reconciler.errors import Rejected
from reconciler.kind import Places
from reconciler.model import Target

T = TypeVar("T")
Told = Mapping[str, Any]

_SIDE_BY_SIDE: Final = 4
_MOST_PAIRS: Final = 400  # distances: each is asked for by itself, by us and by every plan of what we write


@dataclass(frozen=True, slots=True)
class Element:
    """One RSE. `told` is what get_rse says, `distances` lead from here to the others."""

    name: str
    told: Told
    attributes: Told
    limits: Told
    distances: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Account:
    """One account. `local` and `global_` are limits in bytes: by element, and by expression."""

    name: str
    told: Told
    attributes: Told
    identities: Sequence[Told]
    local: Mapping[str, int | None]
    global_: Mapping[str, Any]
    scopes: Sequence[str] = ()
    unread: str = ""  # why Rucio does not tell the global limits


@dataclass(frozen=True, slots=True)
class Found:
    """All that was read, in Rucio's words; `unread`: (what, why)."""

    elements: Sequence[Element]
    accounts: Sequence[Account]
    rules: Sequence[Told]
    subscriptions: Sequence[Told]
    unread: Sequence[tuple[str, str]] = ()


def read_all(target: Target, places: Places, accounts: Collection[str] = ()) -> Found:
    """Read it. `accounts`: only these, and their scopes, rules and subscriptions; none: all.

    Raises BackendError.
    """
    with _Readers(target, places) as readers:
        client = readers.one
        names, unread = _element_names(client), []
        elements = readers.each(_element, names)
        distances, why = _distances(client, names)
        if why:
            unread.append(("distances between elements", why))
        chosen = [one for one in _accounts(client) if not accounts or one["account"] in accounts]
        unread += [(f"account {name}", "there is none") for name in sorted(_absent(accounts, chosen))]
        return Found(
            [_with_distances(element, distances) for element in elements],
            readers.each(_account, chosen),
            _rules(client, accounts),
            [one for one in _subscriptions(client) if not accounts or one["account"] in accounts],
            unread,
        )


class _Readers:
    """A few connections, each used by one thread at a time."""

    def __init__(self, target: Target, places: Places) -> None:
        self.all = [Reader(target, places) for _ in range(_SIDE_BY_SIDE)]
        self.one = self.all[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for reader in self.all:
            reader.close()

    def each(self, read: Callable[[Reader, T], Any], things: Iterable[T]) -> list[Any]:
        """What `read` says of each thing, in their order."""
        free: SimpleQueue[Reader] = SimpleQueue()
        for reader in self.all:
            free.put(reader)

        def work(thing: T) -> Any:
            reader = free.get()
            try:
                return read(reader, thing)
            finally:
                free.put(reader)

        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            return list(pool.map(work, things))


def _element_names(client: Reader) -> list[str]:
    with client.rucio("storage elements") as rucio:
        return sorted(str(told["rse"]) for told in rucio.list_rses())


def _element(client: Reader, name: str) -> Element:
    with client.rucio(f"storage element {name}") as rucio:
        return Element(
            name, rucio.get_rse(name), rucio.list_rse_attributes(name), _given(rucio.get_rse_limits(name))
        )


def _given(limits: Told) -> dict[str, Any]:
    return {name: limit for name, limit in limits.items() if limit is not None}


def _distances(client: Reader, names: Sequence[str]) -> tuple[dict[str, dict[str, int]], str]:
    """By source and destination; or why they are not said. Few elements only."""
    pairs = [(source, other) for source in names for other in names if source != other]
    if len(pairs) > _MOST_PAIRS:
        return {}, f"{len(pairs)} pairs would take a question each in every plan; they stay as they are"
    distances: dict[str, dict[str, int]] = {}
    for source, other in pairs:
        distance = _distance(client, source, other)
        if distance is not None:
            distances.setdefault(source, {})[other] = distance
    return distances, ""


def _is_set(told: Told) -> bool:
    return told.get("distance") is not None


def _distance(client: Reader, source: str, other: str) -> int | None:
    try:
        with client.rucio(f"distance from {source} to {other}") as rucio:
            told = rucio.get_distance(source, other)
    except Missing:
        return None
    return int(told[0]["distance"]) if told and _is_set(told[0]) else None


def _with_distances(element: Element, distances: Mapping[str, Mapping[str, int]]) -> Element:
    row = dict(sorted(distances.get(element.name, {}).items()))
    row.pop(element.name, None)
    return Element(element.name, element.told, element.attributes, element.limits, row)


def _accounts(client: Reader) -> list[Told]:
    with client.rucio("accounts") as rucio:
        return sorted(rucio.list_accounts(), key=lambda told: str(told["account"]))


def _absent(asked: Collection[str], chosen: Collection[Told]) -> set[str]:
    return set(asked) - {str(told["account"]) for told in chosen}


def _account(client: Reader, told: Told) -> Account:
    name = str(told["account"])
    limits, why = _global_limits(client, name)
    with client.rucio(f"account {name}") as rucio:
        return Account(
            name,
            told,
            _pairs(rucio.list_account_attributes(name)),
            list(rucio.list_identities(name)),
            rucio.get_local_account_limits(name),
            limits,
            _scopes(client, name),
            why,
        )


def _global_limits(client: Reader, name: str) -> tuple[Told, str]:
    """Rucio can't list them while the expression of one of them selects nothing."""
    try:
        with client.rucio(f"global limits of account {name}") as rucio:
            return rucio.get_global_account_limits(name), ""
    except Rejected as error:
        return {}, str(error)


def _pairs(told: Iterable[Any]) -> dict[str, Any]:
    """Attributes come as a list of lists of {key, value}."""
    rows = [row for entry in told for row in (entry if isinstance(entry, list) else [entry])]
    return {str(row["key"]): row["value"] for row in rows}


def _scopes(client: Reader, account: str) -> list[str]:
    """Of one account. All scopes with their owners are behind a redirection, and we follow none."""
    try:
        with client.rucio(f"scopes of {account}") as rucio:
            return sorted(map(str, rucio.list_scopes_for_account(account)))
    except Missing:
        return []


def _rules(client: Reader, accounts: Collection[str]) -> list[Told]:
    filters: list[dict[str, str]] = [{"account": name} for name in sorted(accounts)] or [{}]
    with client.rucio("rules") as rucio:
        return [rule for one in filters for rule in rucio.list_replication_rules(one)]


def _subscriptions(client: Reader) -> list[Told]:
    with client.rucio("subscriptions") as rucio:
        return list(rucio.list_subscriptions())
