"""Is all there that a rule promises? Every file of its data set, at as many elements as it wants copies.

What Rucio's catalogue says of replicas is compared with the files of the data set and with the rule's locks.
Bytes are not read: that is the matter of the elements and of Rucio's auditors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from reconciler.drivers.rucio.client import Reader
from reconciler.errors import BackendError, Conflict
from reconciler.model import FieldChange, Observed, State
from reconciler.printable import shown

INCOMPLETE: Final = "Incomplete"
_NAMED: Final = 3
File = tuple[str, str]  # scope, name


@dataclass(frozen=True, slots=True)
class Copies:
    """What is there of a rule: files, the elements that hold a file for this rule, and the states there."""

    files: tuple[File, ...]
    locks: Mapping[File, Mapping[str, str]]
    states: Mapping[File, Mapping[str, str]]

    def good(self, file: File) -> list[str]:
        """The elements where the rule has a copy of this file."""
        states = self.states.get(file, {})
        locked = self.locks.get(file, {})
        return sorted(rse for rse, lock in locked.items() if lock == "OK" and states.get(rse) == "AVAILABLE")


def verify_rule(client: Reader, thing: Observed) -> Observed:
    """The rule with where its copies are; Failed with what is missing. Raises Conflict if not Ready."""
    if thing.state is not State.READY:
        raise Conflict(f"rule {thing.uid} is {thing.state}: there is nothing to verify yet")
    try:
        copies, wanted = _read(client, thing), thing.spec["copies"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        said = f"what Rucio says of the copies of {thing.spec['dataset']} makes no sense"
        raise BackendError(said, hint="the operator of Rucio can look at them in its database") from error
    elements = sorted({rse for file in copies.files for rse in copies.good(file)})
    found = replace(thing, attributes={**thing.attributes, "rses": elements})
    lacking = [file for file in copies.files if len(copies.good(file)) < wanted]
    return _incomplete(found, copies, lacking) if lacking else found


def _read(client: Reader, thing: Observed) -> Copies:
    scope, _, name = thing.spec["dataset"].partition(":")
    with client.rucio(f"copies of {thing.spec['dataset']}") as rucio:
        files = [(one["scope"], one["name"]) for one in rucio.list_files(scope, name)]
        locks = list(rucio.list_replica_locks(thing.uid))
        replicas = list(rucio.list_replicas([{"scope": scope, "name": name}], all_states=True))
    return Copies(tuple(sorted(files)), _locks(locks), {_file(one): one["states"] for one in replicas})


def _locks(locks: Iterable[Mapping[str, Any]]) -> dict[File, dict[str, str]]:
    found: dict[File, dict[str, str]] = {}
    for lock in locks:
        found.setdefault(_file(lock), {})[lock["rse"]] = lock["state"]
    return found


def _file(one: Mapping[str, Any]) -> File:
    return one["scope"], one["name"]


def _incomplete(thing: Observed, copies: Copies, lacking: list[File]) -> Observed:
    wanted = thing.spec["copies"]
    total = wanted * len(copies.files)
    good = sum(min(wanted, len(copies.good(file))) for file in copies.files)
    named = [f"{shown(file[1])} ({_why(copies, file)})" for file in lacking[:_NAMED]]
    more = [f"{len(lacking) - _NAMED} files more"] if len(lacking) > _NAMED else []
    message = f"{good} of {total} files' copies are there; missing: {', '.join([*named, *more])}"
    drift = (FieldChange("files.copies", good, total),)
    return replace(thing, state=State.FAILED, reason=INCOMPLETE, message=message, drift=drift)


def _why(copies: Copies, file: File) -> str:
    """What is known of the copies of a file that are not good."""
    states = copies.states.get(file, {})
    bad = [f"{states.get(rse, 'no copy').lower()} at {rse}" for rse in sorted(copies.locks.get(file, {}))]
    good = set(copies.good(file))
    return (
        ", ".join(text for text in bad if text.rpartition(" ")[2] not in good) or "Rucio has not yet seen it"
    )
