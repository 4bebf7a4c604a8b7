"""Storage elements, accounts and scopes on a real Rucio: made, healed, left alone, killed at every write."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from reconciler.drivers.rucio.account import AccountHand
from reconciler.drivers.rucio.client import Reader, Writer
from reconciler.drivers.rucio.element import ElementHand
from reconciler.drivers.rucio.scope import ScopeHand
from reconciler.errors import NotOurs, Rejected, Transient
from reconciler.kind import Ask, World
from reconciler.kinds.data_account import KIND as DATA_ACCOUNT
from reconciler.kinds.scope import KIND as SCOPE
from reconciler.kinds.storage_element import KIND as STORAGE_ELEMENT
from reconciler.model import (
    Action,
    Change,
    Declared,
    FieldChange,
    Metadata,
    Observed,
    Ref,
    Resource,
    Source,
    State,
    Target,
    mark_for,
    mark_id,
)
from reconciler.stages.fields import of_specs
from tests.live.rucio_bed.bed import Bed
from tests.live.rucio_bed.fixture import bed, started_bed  # noqa: F401  fixtures
from tests.places import NoSecrets

pytestmark = [
    pytest.mark.live,
    pytest.mark.machines,
    pytest.mark.network,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:rucio"),
]

OWNER = "demo-7f3a"
HANDS: Mapping[str, Any] = {"rse": ElementHand(), "DataAccount": AccountHand(), "Scope": ScopeHand()}
KINDS: Mapping[str, Any] = {
    "StorageElement": STORAGE_ELEMENT,
    "DataAccount": DATA_ACCOUNT,
    "Scope": SCOPE,
}


class Killed(BaseException):
    """What stands for `kill -9`: nothing catches it."""


@dataclass
class Counted:
    """A connection that dies before its write number `limit`. Counts from 0."""

    real: Any
    limit: int
    written: list[str]

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.real, name)
        if not name.startswith(("add_", "set_", "update_", "delete_")):
            return found

        def write(*told: Any, **more: Any) -> Any:
            if len(self.written) >= self.limit:
                raise Killed(name)
            self.written.append(name)
            return found(*told, **more)

        return write


@dataclass
class Secrets(NoSecrets):
    values: Mapping[str, str]
    data: str = "/nowhere"

    def secret(self, reference: str) -> str:
        return self.values[reference]


@dataclass
class Place:
    """One account's view of a bed: what is declared there, seen and written."""

    bed: Bed
    account: str = "root"
    name: str = "site.rucio"
    limit: int = 10**6
    written: list[str] = field(default_factory=list)
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def target(self) -> Target:
        auth = {"type": "userpass", "username": self.bed.user(self.account), "password": "env:PASSWORD"}
        settings = {"url": self.bed.url, "account": self.account, "auth": auth}
        return Target(self.name, "rucio", "site", settings, timeout=60)

    @property
    def places(self) -> Secrets:
        return Secrets({"env:PASSWORD": self.bed.password(self.account), **self.more})

    def want(self, kind: str, name: str, spec: Mapping[str, Any], **metadata: Any) -> Resource:
        declared = self.declared(kind, name, spec, **metadata)
        world: Any = World(
            now=datetime.now(UTC),
            targets={self.name: self.target},
            declared={declared.ref: declared},
            seen={},
            blind={},
            could_hold=lambda _ref, _target: True,
            serves=lambda _target, primitive: primitive in HANDS,
        )
        (resource,) = KINDS[kind].expand(declared, world)
        assert isinstance(resource, Resource)
        return resource

    def declared(self, kind: str, name: str, spec: Mapping[str, Any], **metadata: Any) -> Declared:
        from reconciler.construct import filled  # noqa: PLC0415

        whole = filled(KINDS[kind].spec, {"target": self.name, **spec})
        return Declared(Ref(kind, "", name), whole, Source("x.yaml"), Metadata(**metadata))

    def seen(self, resource: Resource, declared: Declared | None = None) -> Observed | None:
        keys = {resource.facts["natural"]}
        keys |= {f"{resource.facts['natural']}>{detail}" for detail in resource.facts.get("details", ())}
        reader = Reader(self.target, self.places)
        try:
            found = list(HANDS[resource.kind].observe(reader, Ask(OWNER, frozenset(keys))))
        finally:
            reader.close()
        assert len(found) <= 1
        return found[0] if found else None

    def wanting(self, resource: Resource) -> list[str]:
        """What differs: the paths of the fields."""
        have = self.seen(resource)
        return ["*"] if have is None else [entry.path for entry in fields(resource, have)]

    def apply(self, resource: Resource) -> list[str]:
        """What was written."""
        have = self.seen(resource)
        action = Action.UPDATE if have else Action.CREATE
        change = Change(
            resource.ref, resource.kind, resource.target, action, "Test", want=resource, have=have
        )
        self.written.clear()
        writer = CountedWriter(self)
        try:
            HANDS[resource.kind].apply(writer, change, mark_for(OWNER, resource))
        finally:
            writer.close()
        return list(self.written)


class CountedWriter(Writer):
    def __init__(self, place: Place) -> None:
        super().__init__(place.target, place.places)
        self.place = place

    @contextmanager
    def rucio(self, what: str) -> Iterator[Any]:
        with super().rucio(what) as real:
            yield Counted(real, self.place.limit, self.place.written)


def fields(resource: Resource, have: Observed) -> list[FieldChange]:
    return list(of_specs(resource.spec, resource.spec, have.spec))


def a_name(prefix: str = "NEW") -> str:
    return f"{prefix}-{secrets.token_hex(5)}"


@pytest.fixture
def place(bed: Bed) -> Place:  # noqa: F811  the fixture
    return Place(bed)


def whole(name: str) -> dict[str, Any]:
    """The spec of an element with everything in it."""
    return {
        "type": "disk",
        "quality": "fast",
        "deterministic": True,
        "verifyChecksum": False,
        "attributes": {"country": "IT", "tier": 1, "QoS": "disk", "greedyDeletion": True, "odd": "TRUE"},
        "availability": {"delete": False},
        "limits": {"minFreeSpace": "10TiB", "maxBeingDeletedFiles": 5},
        "distances": {"cnaf-disk": 1, "BARI-DISK": 3},
        "protocols": [
            {"scheme": "file", "prefix": f"/tmp/{name}", "extendedAttributes": {"a": "b"}},
            {"scheme": "davs", "hostname": "x.example.org", "port": 8443, "prefix": "/rucio/"},
        ],
    }


SMALL: Mapping[str, Any] = {
    "quality": "fast",  # not said when it is made, but afterwards
    "attributes": {"country": "IT", "tier": 1},
    "limits": {"minFreeSpace": "10TiB"},
    "distances": {"cnaf-disk": 1, "BARI-DISK": 3},
    "protocols": whole("small")["protocols"],
}


def element(place: Place, **more: Any) -> Resource:
    name = a_name("new")
    return place.want("StorageElement", name, {**whole(name), **more})


# ── storage elements ─────────────────────────────────────────────────────────────────────────────


def test_an_element_is_made_as_declared_and_then_nothing_is_written(place: Place) -> None:
    resource = element(place)
    rse = rse_of(resource)
    assert place.seen(resource) is None
    place.apply(resource)
    thing = place.seen(resource)
    assert thing is not None
    assert fields(resource, thing) == []
    assert (thing.state, thing.reason) == (State.READY, "")
    assert thing.mark is not None
    assert (thing.mark.owner, thing.mark.id) == (OWNER, mark_id(resource.ref))
    assert thing.attributes == {"files": 0, "bytes": 0}
    assert place.apply(resource) == []
    root = place.bed.client()
    kept = root.list_rse_attributes(rse)
    assert kept.pop("reconciler") == f"rc1.{OWNER}.{mark_id(resource.ref)}"
    assert kept == {
        rse: True,
        "country": "IT",
        "tier": "1",
        "QoS": "disk",
        "greedyDeletion": True,
        "odd": True,
        "verify_checksum": False,
    }
    info = root.get_rse(rse)
    assert (info["rse_type"], info["qos_class"]) == ("DISK", "fast")
    assert [info[f"availability_{way}"] for way in ("read", "write", "delete")] == [True, True, False]
    assert root.get_rse_limits(rse) == {"MinFreeSpace": 10 * 1024**4, "MaxBeingDeletedFiles": 5}
    assert [entry["distance"] for entry in root.get_distance(rse, "BARI-DISK")] == [3]


def rse_of(resource: Resource) -> str:
    return str(resource.facts["natural"]).partition(":")[2]


def test_what_somebody_else_changed_is_changed_back_and_nothing_besides(place: Place) -> None:
    resource = element(place)
    rse, root = rse_of(resource), place.bed.client()
    place.apply(resource)
    root.add_rse_attribute(rse, "country", "FR")
    root.delete_rse_attribute(rse, "tier")
    root.update_rse(rse, {"qos_class": "slow", "availability_delete": True, "availability_write": False})
    root.set_rse_limits(rse, "MinFreeSpace", 7)
    root.update_distance(rse, "BARI-DISK", {"distance": 9})
    root.update_protocols(rse, "file", {"prefix": "/elsewhere"}, "localhost", "0")
    root.add_rse_attribute(rse, "istape", "operators")
    root.set_rse_limits(rse, "Theirs", 3)
    root.add_distance(rse, "LYON-DISK", {"distance": 5})
    assert place.wanting(resource) == [
        "attributes.country",
        "attributes.tier",
        "availability.delete",
        "distances.BARI-DISK",
        "limits.MinFreeSpace",
        "protocols.file://localhost:0.prefix",
        "quality",
    ]
    place.apply(resource)
    assert place.wanting(resource) == []
    assert root.list_rse_attributes(rse)["istape"] == "operators"
    assert root.get_rse_limits(rse)["Theirs"] == 3
    assert [entry["distance"] for entry in root.get_distance(rse, "LYON-DISK")] == [5]
    assert root.get_rse(rse)["availability_write"] is False  # an operator's, the file says nothing
    assert place.apply(resource) == []


def test_an_edited_file_changes_what_it_names(place: Place) -> None:
    resource = element(place)
    place.apply(resource)
    attributes = {**resource.spec["attributes"], "country": "CH", "new": "x"}
    protocols = {**resource.spec["protocols"]}
    protocols["davs://x.example.org:8443"] = {
        **protocols["davs://x.example.org:8443"],
        "domains": {"lan": {"read": 2}, "wan": {"third_party_copy_write": 0}},
    }
    edited = replace(
        resource, spec={**resource.spec, "type": "TAPE", "attributes": attributes, "protocols": protocols}
    )
    assert place.wanting(edited)
    place.apply(edited)
    assert place.wanting(edited) == []
    assert place.bed.client().get_rse(rse_of(resource))["rse_type"] == "TAPE"


def test_a_kill_between_any_two_writes_is_finished_by_the_next_run(place: Place) -> None:
    finished, limit = False, 0
    while not finished:
        resource = place.want("StorageElement", a_name("new"), SMALL)
        try:
            place.limit = limit
            place.apply(resource)
            finished = True
        except Killed:
            half = place.seen(resource)
            assert (half is None) == (limit == 0)
            assert half is None or (half.mark is not None and half.mark.owner == OWNER)
            if limit == 1:
                assert half is not None
                assert half.partial
            place.limit = 10**6
            place.apply(resource)
        assert place.wanting(resource) == []
        limit += 1
    assert limit == 11


def test_what_is_there_without_our_mark_is_left_alone_until_it_is_adopted(place: Place) -> None:
    name, root = a_name("theirs"), place.bed.client()
    root.add_rse(name.upper())
    root.add_rse_attribute(name.upper(), "country", "IT")
    spec = {"attributes": {"country": "IT", "tier": 2}}
    resource = place.want("StorageElement", name, spec)
    thing = place.seen(resource)
    assert thing is not None
    assert (thing.mark, thing.state) == (None, State.READY)
    with pytest.raises(NotOurs):
        place.apply(resource)
    assert place.written == []
    adopting = place.want("StorageElement", name, spec, adopt=True)
    place.apply(adopting)
    assert place.wanting(resource) == []
    seen = place.seen(resource)
    assert seen is not None
    assert seen.mark is not None


def test_what_another_owner_keeps_is_not_taken_even_by_adoption(place: Place) -> None:
    name, root = a_name("theirs"), place.bed.client()
    root.add_rse(name.upper())
    root.add_rse_attribute(name.upper(), "reconciler", "rc1.other-owner.abcdefghijklmnopqrst")
    resource = place.want("StorageElement", name, {"attributes": {"a": 1}}, adopt=True)
    thing = place.seen(resource)
    assert thing is not None
    assert thing.mark is None
    with pytest.raises(NotOurs, match="other-owner"):
        place.apply(resource)
    assert "a" not in root.list_rse_attributes(name.upper())


def test_a_deleted_element_is_not_made_again_and_says_who_can(place: Place) -> None:
    resource = element(place)
    place.apply(resource)
    place.bed.client().delete_rse(rse_of(resource))
    assert place.seen(resource) is None
    with pytest.raises(Rejected, match="deleted at Rucio"):
        place.apply(resource)


def test_a_distance_to_what_is_not_there_yet_waits_and_the_rest_is_done(place: Place) -> None:
    later = a_name("later")
    resource = element(place, distances={later: 1, "cnaf-disk": 2})
    with pytest.raises(Transient, match=later.upper()):
        place.apply(resource)
    assert place.wanting(resource) == [f"distances.{later.upper()}"]
    place.apply(place.want("StorageElement", later, {"attributes": {"a": 1}}))
    place.apply(resource)
    assert place.wanting(resource) == []


def test_files_keep_their_places(place: Place) -> None:
    resource = element(place)
    place.apply(resource)
    with pytest.raises(Rejected, match="deterministic"):
        place.apply(replace(resource, spec={**resource.spec, "deterministic": False}))


def test_elements_that_nobody_asks_for_are_not_read(place: Place) -> None:
    reader = Reader(place.target, place.places)
    try:
        asked = Ask(OWNER, frozenset({"other.target:CNAF-DISK", "cnaf-disk"}))
        assert list(ElementHand().observe(reader, asked)) == []
        assert reader._connection is None
    finally:
        reader.close()


def test_any_account_may_read_elements_accounts_and_scopes(place: Place) -> None:
    reading = Place(place.bed, account=place.bed.new_account())
    for resource in (element(place), account(place), a_scope(place)):
        place.apply(resource)
        assert reading.wanting(resource) == []


def test_marks_say_what_becomes_of_it_and_which_object_it_is(place: Place) -> None:
    for kind, spec in (("StorageElement", {"attributes": {"a": 1}}), ("DataAccount", {"email": "a@b.org"})):
        name = a_name("a")
        place.apply(place.want(kind, name, spec))
        locked = place.want(kind, name, spec, locked=True, keep=True)
        place.apply(locked)
        thing = place.seen(locked)
        assert thing is not None
        assert thing.mark is not None
        assert (thing.mark.lock, thing.mark.keep) == (True, True)
        assert thing.mark.id == mark_id(locked.ref)
        renamed = replace(locked, ref=locked.ref._replace(name=a_name("b")))
        place.apply(renamed)
        thing = place.seen(locked)
        assert thing is not None
        assert thing.mark is not None
        assert thing.mark.id == mark_id(renamed.ref)


def test_a_released_thing_has_no_mark(place: Place) -> None:
    for resource in (element(place), account(place)):
        place.apply(resource)
        thing = place.seen(resource)
        change = Change(resource.ref, resource.kind, resource.target, Action.UPDATE, "Released", have=thing)
        writer = Writer(place.target, place.places)
        try:
            for _ in range(2):
                HANDS[resource.kind].release(writer, change)
        finally:
            writer.close()
        left = place.seen(resource)
        assert left is not None
        assert left.mark is None
        assert fields(resource, left) == []


# ── accounts ─────────────────────────────────────────────────────────────────────────────────────


def account(place: Place, **more: Any) -> Resource:
    place.more = {"env:ADA": "canary-of-ada"}
    name = a_name("a")
    spec = {
        "type": "group",
        "email": "ada@example.org",
        "attributes": {"admin": True, "country": "it", "level": 5},
        "identities": [
            {"type": "userpass", "identity": f"user-{name}", "secret": "env:ADA"},
            {"type": "x509", "identity": f"/DC=org/CN=Ada {name}", "email": "x@example.org"},
        ],
        "quotas": {
            "local": {"cnaf-disk": "10TiB", "BARI-DISK": "unlimited"},
            "global": {"country=IT&tier=1": "5TB"},
        },
    }
    return place.want("DataAccount", name, {**spec, **more})


def test_an_account_is_made_as_declared_and_then_nothing_is_written(place: Place) -> None:
    resource = account(place)
    name = resource.ref.name
    place.apply(resource)
    thing = place.seen(resource)
    assert thing is not None
    assert fields(resource, thing) == []
    assert thing.mark is not None
    assert (thing.mark.owner, thing.mark.id, thing.state) == (OWNER, mark_id(resource.ref), State.READY)
    assert place.apply(resource) == []
    root = place.bed.client()
    assert root.get_account(name)["account_type"] == "GROUP"
    assert root.get_local_account_limits(name)["CNAF-DISK"] == 10 * 1024**4
    assert root.get_local_account_limits(name)["BARI-DISK"] == float("inf")
    assert root.get_global_account_limits(name)["country=IT&tier=1"]["limit"] == 5 * 10**12
    assert {entry["email"] for entry in root.list_identities(name)} == {"ada@example.org", "x@example.org"}
    assert thing.attributes["use"]["CNAF-DISK"] == {"bytes": 0, "files": 0}
    assert "canary" not in repr(thing)
    place.bed._passwords[name] = "canary-of-ada"
    auth = {"username": f"user-{name}", "password": "canary-of-ada"}
    assert (
        type(root)(
            rucio_host=place.bed.url, auth_host=place.bed.url, account=name, auth_type="userpass", creds=auth
        ).whoami()["account"]
        == name
    )


def test_an_accounts_drift_is_healed_and_what_others_added_stays(place: Place) -> None:
    resource = account(place)
    name, root = resource.ref.name, place.bed.client()
    place.apply(resource)
    root.delete_account_attribute(name, "level")
    root.add_account_attribute(name, "level", "6")
    root.delete_account_attribute(name, "country")
    root.update_account(name, "email", "other@example.org")
    root.set_account_limit(name, "CNAF-DISK", 1, "local")
    root.set_account_limit(name, "country=IT&tier=1", 1, "global")
    root.del_identity(name, f"/DC=org/CN=Ada {name}", "X509")
    root.add_account_attribute(name, "theirs", "yes")
    root.set_account_limit(name, "LYON-DISK", 3, "local")
    assert place.wanting(resource) == [
        "attributes.country",
        "attributes.level",
        "email",
        f"identities.X509 /DC=org/CN=Ada {name}",
        "quotas.global.country=IT&tier=1",
        "quotas.local.CNAF-DISK",
    ]
    place.apply(resource)
    assert place.wanting(resource) == []
    assert root.get_local_account_limits(name)["LYON-DISK"] == 3
    (attributes,) = root.list_account_attributes(name)
    assert {"key": "theirs", "value": "yes"} in attributes


def test_a_killed_account_is_finished_by_the_next_run(place: Place) -> None:
    finished, limit = False, 0
    while not finished:
        resource = account(place, attributes={"country": "it"})
        try:
            place.limit = limit
            place.apply(resource)
            finished = True
        except Killed:
            half = place.seen(resource)
            assert (half is None) == (limit == 0)
            assert half is None or (half.mark is not None and half.mark.owner == OWNER)
            assert half is None or half.partial == (limit < 3)
            place.limit = 10**6
            place.apply(resource)
        assert place.wanting(resource) == []
        limit += 1
    assert limit == 10


def test_accounts_of_others_are_left_alone_until_adopted(place: Place) -> None:
    name, root = a_name("a"), place.bed.client()
    root.add_account(name, "USER", "who@example.org")
    root.add_account_attribute(name, "theirs", "yes")
    spec = {"email": "me@example.org"}
    with pytest.raises(NotOurs):
        place.apply(place.want("DataAccount", name, spec))
    assert root.get_account(name)["email"] == "who@example.org"
    adopting = place.want("DataAccount", name, spec, adopt=True)
    place.apply(adopting)
    assert place.wanting(adopting) == []


def test_deleted_and_suspended_accounts(place: Place) -> None:
    resource = account(place)
    name, root = resource.ref.name, place.bed.client()
    place.apply(resource)
    root.update_account(name, "status", "SUSPENDED")
    thing = place.seen(resource)
    assert thing is not None
    assert (thing.state, thing.reason, thing.mark) == (State.FAILED, "Suspended", None)
    with pytest.raises(NotOurs):
        place.apply(resource)
    adopting = replace(resource, metadata=Metadata(adopt=True))
    with pytest.raises(Rejected, match="SUSPENDED"):
        place.apply(adopting)
    root.update_account(name, "status", "ACTIVE")
    assert place.wanting(resource) == []
    root.delete_account(name)
    with pytest.raises(NotOurs):
        place.apply(resource)
    place.apply(adopting)
    assert place.wanting(resource) == []


def test_a_quota_for_an_expression_that_selects_nothing_does_not_blind(place: Place) -> None:
    resource = account(place)
    name, root = resource.ref.name, place.bed.client()
    place.apply(resource)
    root.set_account_limit(name, "country=NOWHERE", 1, "global")
    assert place.wanting(resource) == []
    assert place.apply(resource) == []


# ── scopes ───────────────────────────────────────────────────────────────────────────────────────


def a_scope(place: Place, account: str = "root", **metadata: Any) -> Resource:
    return place.want("Scope", a_name("s"), {"account": account}, **metadata)


def test_a_scope_is_made_and_changes_its_owner_only_by_adoption(place: Place) -> None:
    resource, root = a_scope(place), place.bed.client()
    name = resource.ref.name
    place.apply(resource)
    assert place.wanting(resource) == []
    assert place.apply(resource) == []
    other = place.bed.new_account()
    wish = place.want("Scope", name, {"account": other})
    assert place.wanting(wish) == ["account"]
    with pytest.raises(NotOurs):
        place.apply(wish)
    assert name in root.list_scopes_for_account("root")
    place.apply(replace(wish, metadata=Metadata(adopt=True)))
    assert place.wanting(wish) == []
    assert name in root.list_scopes_for_account(other)


def test_nothing_is_deleted(place: Place) -> None:
    making: tuple[Callable[[Place], Resource], ...] = (element, account, a_scope)
    for make in making:
        resource = make(place)
        change = Change(resource.ref, resource.kind, resource.target, Action.DELETE, "Orphaned")
        with pytest.raises(Rejected):
            HANDS[resource.kind].delete(Writer(place.target, place.places), change)
