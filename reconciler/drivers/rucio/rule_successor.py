"""The last look before a superseded rule goes: does its successor still keep the data?

Between the plan and the delete a person may have ended the successor, or Rucio lost what it kept.
"""

from __future__ import annotations

from typing import Final

from reconciler.drivers.rucio.client import Reader
from reconciler.drivers.rucio.rule_mark import Marks
from reconciler.drivers.rucio.rule_row import UNREADABLE, Row, sound_rows
from reconciler.drivers.rucio.rule_trust import trusted
from reconciler.drivers.rucio.rule_words import dataset_of
from reconciler.errors import Conflict
from reconciler.model import Change, FieldChange, Json, Observed

_REASONS: Final = ("Superseded", "ImmutableField")  # of deletes that are half of a replace


def require_successor(client: Reader, change: Change, have: Observed) -> None:
    """Raises Conflict where a rule stands in for another one, and no sound one of ours does so.

    A replace that changes the data set has no successor for the former one; that was judged in the plan.
    """
    wanted = {entry.path: entry.want for entry in change.fields if _says(entry)}
    if change.reason not in _REASONS or "dataset" in wanted:
        return
    dataset = str(have.spec["dataset"])
    scope, _, name = dataset.partition(":")
    with client.rucio(f"rules of {dataset}") as rucio:
        rules = sound_rows(rucio.list_replication_rules({"scope": scope, "name": name}))
    if not any(_stands_in(client, rule, change, have, wanted) for rule in rules):
        said = f"rule {have.uid} stays: no other rule of ours that is OK and does not end keeps {dataset} now"
        raise Conflict(
            said, hint="its successor was there when the plan was made; the next plan makes another"
        )


def _says(entry: FieldChange) -> bool:
    """Does it tell what is wanted? A plain delete says of everything that nothing is."""
    return isinstance(entry.want, str | int) and entry.want != entry.have


def _stands_in(client: Reader, rule: Row, change: Change, have: Observed, wanted: dict[str, Json]) -> bool:
    accounts = [str(have.attributes.get("account", "")), str(wanted.get("account", ""))]
    owner = have.mark.owner if have.mark else ""
    mark = Marks(trusted(client, accounts)).of(rule, owner)
    if mark is None or rule["id"] == have.uid or dataset_of(rule) != have.spec["dataset"]:
        return False
    if rule["state"] != "OK" or rule["expires_at"] is not None or rule[UNREADABLE]:
        return False
    # what its file wants is known of a replace; of what is only superseded the plan has compared the copies
    compared = change.reason == "Superseded" and mark.ref in change.needs and "copies" not in wanted
    least = 1 if compared else min(have.spec["copies"], wanted.get("copies", have.spec["copies"]))
    return bool(rule["copies"] >= least)
