"""Where machines and volumes lie, and what we write about them. The one place that knows the layout on disk.

    <path>/<mark id>/machine.json            a machine: its mark, spec, allocation, and what configures it
    <path>/<mark id>/root                    a local machine's files
    <path>/volumes/<mark id>/volume.json     a volume
    <path>/volumes/<mark id>/data/           and what is in it
    <path>/index.json                        (ssh) the records below <path> are complete
    .new~… and .gone~…                       being made or emptied: nothing yet, nothing any more

A directory without such a file is not ours. A second incarnation of one Ref is called `<mark id>-<8 hex>`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from reconciler.model import NOTHING, Json, Mark, Ref

SERVER: Final = "server"
VOLUME: Final = "volume"
CONFIGURATION: Final = "configuration"

MACHINE_FILE: Final = "machine.json"
VOLUME_FILE: Final = "volume.json"
INDEX: Final = "index.json"
VOLUMES: Final = "volumes"
ROOT: Final = "root"
DATA: Final = "data"
NEW: Final = ".new~"
GONE: Final = ".gone~"

CREATING: Final = "creating"
READY: Final = "ready"
CHANGING: Final = "changing"
REMOVING: Final = "removing"

BEGUN: Final = "begun"
DONE: Final = "done"
FAILED: Final = "failed"

_NAME: Final = re.compile(r"[a-z2-7]{20}(-[0-9a-f]{8})?")


@dataclass(frozen=True, slots=True)
class Allocation:
    """What a machine got: where it is reached, its real ports by name, the static host that it claims.

    `host_key` is one line of `known_hosts` without the name: type and key.
    """

    hostname: str = ""
    address: str = ""
    ports: Mapping[str, int] = field(default_factory=dict)
    host: str = ""
    host_key: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """One role on one machine. Secrets in the spec are references. Times are ISO 8601 UTC.

    `state` is begun, done, failed or removing. `finished` is when it was done last; `services` are the names
    of the services that it keeps running, where the machine tells. `released`: not marked any more.
    """

    mark: Mark
    spec: Mapping[str, Json]
    state: str
    created: str
    finished: str = ""
    message: str = ""
    outputs: Mapping[str, Json] = NOTHING
    services: tuple[str, ...] = ()
    released: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """One machine or volume. `target` is the target by which it was made; `state` creating, ready,
    changing or removing.

    `released`: it was given back to people and does not carry our mark any more.
    """

    mark: Mark
    target: str
    spec: Mapping[str, Json]
    created: str
    state: str = CREATING
    allocation: Allocation = field(default_factory=Allocation)
    configurations: Mapping[str, Receipt] = field(default_factory=dict)
    released: bool = False

    def dump(self) -> bytes:
        """The file's bytes."""
        allocation = self.allocation
        whole = {
            "version": 1,
            "mark": _mark_json(self.mark),
            "target": self.target,
            "spec": self.spec,
            "created": self.created,
            "state": self.state,
            "released": self.released,
            "allocation": {
                "hostname": allocation.hostname,
                "address": allocation.address,
                "ports": allocation.ports,
                "host": allocation.host,
                "hostKey": allocation.host_key,
            },
            "configurations": {key: _receipt_json(each) for key, each in self.configurations.items()},
        }
        return json.dumps(whole, sort_keys=True, indent=1, default=dict).encode() + b"\n"


def read_record(content: bytes | str) -> Record:
    """Raises ValueError when it is not a record of ours."""
    try:
        told = json.loads(content)
        _check(told)
        return Record(
            _mark(told["mark"]),
            told["target"],
            told["spec"],
            told["created"],
            told["state"],
            _allocation(told["allocation"]),
            {key: _receipt(each) for key, each in told["configurations"].items()},
            told["released"],
        )
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a record: {type(error).__name__} {error}") from error


_SHAPES: Final[Mapping[str, type]] = {
    "target": str, "created": str, "state": str, "finished": str, "message": str, "owner": str, "id": str,
    "specHash": str, "hostname": str, "address": str, "host": str, "hostKey": str,
    "spec": dict, "outputs": dict, "ports": dict, "mark": dict, "allocation": dict, "configurations": dict,
    "released": bool, "lock": bool, "keep": bool, "services": list,
}  # fmt: skip


def _check(told: Any) -> None:
    """Is everything of its type? People edit files, disks lose pieces of them. Raises TypeError."""
    parts = [told, told["mark"], told["allocation"]]
    for receipt in told["configurations"].values():
        parts += [receipt, receipt["mark"]]
    for part in parts:
        for key, value in part.items():
            if not isinstance(value, _SHAPES.get(key, object)):
                raise TypeError(f"{key} is no {_SHAPES[key].__name__}")
    for receipt in told["configurations"].values():
        if receipt["finished"]:
            datetime.fromisoformat(receipt["finished"])


def ref_of(mark: Mark) -> Ref:
    """The Ref that a mark names; ours always have room for it."""
    if mark.ref is None:
        raise ValueError("a mark on this disk names its Ref")
    return mark.ref


def _mark_json(mark: Mark) -> dict[str, Json]:
    told = {"owner": mark.owner, "id": mark.id, "ref": str(ref_of(mark)), "specHash": mark.spec_hash}
    return {**told, "lock": mark.lock, "keep": mark.keep}


def _mark(told: Mapping[str, Any]) -> Mark:
    ref = Ref.parse(told["ref"])
    return Mark(told["owner"], told["id"], ref, told["specHash"], told["lock"], told["keep"])


def _allocation(told: Mapping[str, Any]) -> Allocation:
    return Allocation(told["hostname"], told["address"], told["ports"], told["host"], told["hostKey"])


def _receipt_json(receipt: Receipt) -> dict[str, Json]:
    return {
        "mark": _mark_json(receipt.mark),
        "spec": receipt.spec,
        "state": receipt.state,
        "created": receipt.created,
        "finished": receipt.finished,
        "message": receipt.message,
        "outputs": receipt.outputs,
        "services": list(receipt.services),
        "released": receipt.released,
    }


def _receipt(told: Mapping[str, Any]) -> Receipt:
    return Receipt(
        _mark(told["mark"]),
        told["spec"],
        told["state"],
        told["created"],
        told["finished"],
        told["message"],
        told["outputs"],
        tuple(told["services"]),
        told["released"],
    )


def server_uid(target: str, name: str) -> str:
    """The uid of a machine: unique over all targets."""
    return f"{target}:{name}"


def volume_uid(target: str, name: str) -> str:
    """The uid of a volume."""
    return f"{target}:{VOLUMES}/{name}"


def configuration_uid(target: str, name: str, key: str) -> str:
    """The uid of a configuration: its machine's, and its key there."""
    return f"{target}:{name}/{key}"


def names_of(uid: str) -> tuple[str, ...]:
    """The name (and key) that a uid means. Raises ValueError for what is none of ours."""
    _, _, path = uid.partition(":")
    names = tuple(path.removeprefix(f"{VOLUMES}/").split("/"))
    if not 1 <= len(names) <= 2 or not all(_NAME.fullmatch(name) for name in names):
        raise ValueError(f"'{path[:60]}' is not the name of a machine, volume or configuration")
    return names


def is_name(name: str) -> bool:
    """Could a directory of this name be one of ours?"""
    return _NAME.fullmatch(name) is not None


def second_name(mark: Mark) -> str:
    """What another incarnation of a Ref is called while the first one stands."""
    return f"{mark.id}-{mark.spec_hash.removeprefix('sha256:')[:8]}"
