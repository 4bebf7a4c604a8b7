"""What was read of a Rucio, as the files of a new repository. Pure.

The first plan of that repository changes nothing: what stands at Rucio without a mark and is as its file says
is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from reconciler.drivers.rucio.import_accounts import add_account
from reconciler.drivers.rucio.import_elements import add_element
from reconciler.drivers.rucio.import_entries import Draft, Entry, label
from reconciler.drivers.rucio.import_rules import Place, add_rule
from reconciler.drivers.rucio.import_yaml import document
from reconciler.drivers.rucio.importing import Found
from reconciler.drivers.rucio.subscription_words import loaded, read_comments, rule_in_our_words

SETTINGS: Final = "reconciler.yaml"
_ACTIVE: Final = ("ACTIVE", "UPDATED")
_FOLDERS: Final = ("elements", "accounts", "scopes", "subscriptions")
_UNITS: Final = (("w", 604800), ("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


@dataclass(frozen=True, slots=True)
class Choices:
    """What the operator says. `settings` are the target's own; `groups` the group of an account's rules.

    `group`: that of all others; empty: each account has a group of its own. `now`: naive UTC.
    """

    owner: str
    provider: str
    settings: Mapping[str, Any]
    now: datetime
    group: str = ""
    groups: Mapping[str, str] = field(default_factory=dict)

    def group_of(self, account: str) -> str:
        """The group that rules of an account are for; not called like a folder of something else."""
        group = self.groups.get(account) or self.group or label(account)
        return group if group not in _FOLDERS else f"group-{group}"


_IGNORED: Final = (
    "# what `reconciler apply` and `reconciler plan --out` leave behind\n/status/\n/plan.json\n/plan.md\n"
)


def drafted(found: Found, choices: Choices) -> Draft:
    """All objects, and what none can say."""
    draft = Draft()
    draft.add(_provider(choices))
    for element in found.elements:
        add_element(draft, element, choices.provider)
    for account in found.accounts:
        add_account(draft, account, choices.provider)
    place = Place(choices.provider, str(choices.settings["account"]), choices.group_of, choices.now)
    for rule in found.rules:
        add_rule(draft, rule, place)
    for told in found.subscriptions:
        _add_subscription(draft, told, choices.provider)
    _add_groups(draft)
    for what, why in found.unread:
        draft.leave_out(what, why)
    return draft


def files_of(draft: Draft, choices: Choices) -> dict[str, str]:
    """Path → text. What has no form in YAML is left out."""
    files = {SETTINGS: settings_text(choices.owner), ".gitignore": _IGNORED}
    for path, entry in sorted(draft.entries.items()):
        try:
            files[path] = entry.text()
        except TypeError as error:
            draft.leave_out(entry.origin, f"it has a value that YAML can't hold: {error}")
    return files


def settings_text(owner: str) -> str:
    """reconciler.yaml."""
    rules = (
        ("providers/*.yaml", ["Provider"]),
        ("groups/*.yaml", ["UserGroup"]),
        ("data/elements/*.yaml", ["StorageElement"]),
        ("data/accounts/*.yaml", ["DataAccount"]),
        ("data/scopes/*.yaml", ["Scope"]),
        ("data/subscriptions/*.yaml", ["Subscription"]),
        ("data/{group}/*.yaml", ["DataRule", "Dataset", "Lifecycle"]),
    )
    ownership = [{"path": path, "kinds": kinds} for path, kinds in rules]
    comments = (
        "Settings of this repository, always read from the protected branch.",
        "`owner` is part of the mark on everything that is made from here. Never change it.",
    )
    return document({"owner": owner, "ownership": ownership}, comments)


def _provider(choices: Choices) -> Entry:
    spec = {
        "description": "A Rucio, as it was imported",
        "targets": [{"type": "rucio", **choices.settings}],
    }
    auth: Mapping[str, Any] = choices.settings["auth"]
    needed = [f"{key}: {auth[key]}" for key in ("password", "token", "certificate", "key") if key in auth]
    comments = (
        "Secrets are not in this file. Whoever plans or applies needs what it refers to:",
        *needed,
    )
    path = f"providers/{choices.provider}.yaml"
    return Entry(path, "Provider", {"name": choices.provider}, spec, str(choices.settings["url"]), comments)


def _add_groups(draft: Draft) -> None:
    """A UserGroup for every group that an object is for."""
    groups = {str(entry.metadata["group"]) for entry in draft.entries.values() if "group" in entry.metadata}
    for group in sorted(groups):
        spec = {"description": f"Owner of the rules in data/{group}"}
        origin = "nothing; groups are of git alone"
        draft.add(Entry(f"groups/{group}.yaml", "UserGroup", {"name": group}, spec, origin))


def _add_subscription(draft: Draft, told: Mapping[str, Any], target: str) -> None:
    origin = f"subscription '{told['name']}' of account {told['account']}"
    said = read_comments(told.get("comments"))
    if said.mark is not None:
        return draft.leave_out(origin, f"the repository of owner {said.mark.owner} keeps it")
    if told["state"] not in _ACTIVE:
        return draft.leave_out(origin, f"it is {told['state']}, and makes no rules")
    try:
        rules = [_rule_as_written(rule_in_our_words(rule)) for rule in loaded(told["replication_rules"])]
        filters = loaded(told["filter"])
    except (ValueError, TypeError, AttributeError) as error:
        return draft.leave_out(origin, f"its rules can't be read: {error}")
    name = label(f"{told['account']}-{told['name']}")
    spec = {"target": target, "name": told["name"], "account": told["account"], "filter": filters}
    spec |= {"rules": rules, "priority": told["policyid"]}
    if said.text:
        spec["comment"] = said.text
    ends = told.get("lifetime")
    comments = [f"ends at {ends.isoformat()}Z in Rucio, which then makes it inactive"] if ends else []
    draft.add(
        Entry(f"data/subscriptions/{name}.yaml", "Subscription", {"name": name}, spec, origin, comments)
    )
    return None


def _rule_as_written(rule: Mapping[str, Any]) -> dict[str, Any]:
    """As an author writes it: lifetimes with a unit."""
    written = dict(rule)
    if "lifetime" in written:
        seconds = written["lifetime"]
        unit, size = next((unit, size) for unit, size in _UNITS if seconds % size == 0)
        written["lifetime"] = f"{seconds // size}{unit}"
    return written
