"""Many small worlds in one Rucio, all alike: each has an owner, an account, a scope and elements of its own.

So what a run that was killed leaves can be compared with what one leaves that was not.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any, Final

from demo.make_uploads import noise
from tests.live.rucio_bed.bed import Bed
from tests.live.rucio_ground import put_uploads
from tests.live.rucio_lab import Lab, Row, meta_of

DATA: Final = {
    name: {f"{name}-{number}": noise(f"{name}/{number}", 900) for number in range(2)}
    for name in ("one", "two")
}
_RULE: Final = (
    "name",
    "copies",
    "rse_expression",
    "grouping",
    "priority",
    "activity",
    "comments",
    "locked",
    "state",
)
_PROTOCOL: Final = ("scheme", "hostname", "port", "prefix", "impl", "domains")


class World(Lab):
    """One of them; `tag` is in all its names."""

    def __init__(self, bed: Bed, root: Path, account: str, number: int, url: str = "") -> None:
        self.tag = f"w{number:02}x"
        root.mkdir()
        super().__init__(bed, root, account, f"owner-{self.tag}")
        self.url = url or bed.url
        self.rses = (f"{self.tag.upper()}-A", f"{self.tag.upper()}-B")
        for rse in self.rses:
            (self.elements / rse).mkdir(parents=True, exist_ok=True)
        put_uploads(self, DATA)
        self.declare_all()

    def settings(self) -> dict[str, Any]:
        said = super().settings()
        return {**said, "elements": {**said["elements"], "distances": dict.fromkeys(self.rses, 3)}}

    # -- what is declared --------------------------------------------------------------------

    def declare_all(self) -> None:
        guards = "guards: {removal: {minimum: 1000, share: 100}, run: {minimum: 1000, share: 100}}"
        self.write("reconciler.yaml", f"apiVersion: reconciler/v1\nowner: {self.owner}\n{guards}\n")
        targets = [self.settings()]
        self.declare("providers/lake.yaml", "Provider", "lake", {"groups": ["cms"], "targets": targets})
        self.declare("groups/cms.yaml", "UserGroup", "cms", {"description": "CMS"})
        for letter, rse in zip("ab", self.rses, strict=True):
            self.declare_element(letter, rse)
        account = {
            "target": "lake",
            "account": self.tag,
            "attributes": {"site": "x"},
            "email": "x@example.org",
        }
        self.declare("data/account.yaml", "DataAccount", "people", account)
        scope = {"target": "lake", "scope": self.tag, "account": self.account}
        self.declare("data/scope.yaml", "Scope", "data", scope)
        self.rule("one", copies=2)
        self.rule("two", copies=1, expression=f"world={self.tag}&half=a")
        self.commit()

    def declare_element(self, letter: str, rse: str, **more: Any) -> None:
        spec = {"target": "lake", "rse": rse, "attributes": {"world": self.tag, "half": letter}, **more}
        self.declare(f"data/{letter}.yaml", "StorageElement", letter, spec)

    def rule(self, name: str, **spec: Any) -> None:
        known = {"dataset": f"{self.tag}:{name}", "source": name, "expression": f"world={self.tag}"}
        self.declare(f"data/cms/{name}.yaml", "DataRule", name, {**known, "repairs": 50, **spec}, group="cms")

    def change(self) -> None:
        """Fewer copies, more copies, other words, another element; and what operators did by hand."""
        self.rule("one", copies=1, expression=f"world={self.tag}&half=b", priority=4, lastCopy="delete")
        self.rule("two", copies=2)
        self.declare_element("b", self.rses[1], limits={"minFreeSpace": "1GB"})
        self.commit()
        self.client.add_rse_attribute(self.rses[0], "half", "z")
        for rule in self.standing():
            if rule["name"] == "two":
                self.client.update_replication_rule(rule["id"], {"state": "SUSPENDED"})

    # -- what is there -----------------------------------------------------------------------

    def picture(self) -> dict[str, Any]:
        """All of this world at Rucio and on disk, in words that are the same in every world."""
        found = {
            "rules": sorted(_told(rule) for rule in self.rows().values() if rule["scope"] == self.tag),
            "dids": self._dids(),
            "elements": [self._element(rse) for rse in self.rses],
            "account": [self.client.get_account(self.tag)["email"], self._attributes()],
            "files": self._files(),
        }
        text = json.dumps(found, sort_keys=True, default=str)
        text = text.replace(self.tag, "wNNx").replace(self.tag.upper(), "WNNX").replace(self.account, "us")
        picture: dict[str, Any] = json.loads(text)
        return picture

    def _dids(self) -> list[Any]:
        names = sorted(self.client.list_dids(self.tag, {}, did_type="all"))
        dids = [self.client.get_did(self.tag, name) for name in names]
        kept = [[did["name"], did["type"], did.get("open"), did.get("bytes"), did["account"]] for did in dids]
        inside = {
            name: sorted(one["name"] for one in self.client.list_content(self.tag, name))
            for name in DATA
            if name in names
        }
        return [kept, inside]

    def _element(self, rse: str) -> Any:
        attributes = self.client.list_rse_attributes(rse)
        ways = [{key: way[key] for key in _PROTOCOL} for way in self.client.get_protocols(rse)]
        limits = self.client.get_rse_limits(rse)
        distances = [self.client.get_distance(rse, other) for other in self.rses if other != rse]
        return [
            sorted(map(list, attributes.items()), key=str),
            ways,
            limits,
            [one[0]["distance"] for one in distances],
        ]

    def _attributes(self) -> Any:
        (told,) = self.client.list_account_attributes(self.tag)
        return sorted([one["key"], one["value"]] for one in told)

    def _files(self) -> dict[str, str]:
        """Path → digest, of everything on the elements, half-made files too."""
        return {
            re.sub("/[0-9a-f]{2}/[0-9a-f]{2}/", "/…/", str(path.relative_to(self.elements))): hashlib.sha256(
                path.read_bytes()
            ).hexdigest()
            for rse in self.rses
            for path in sorted((self.elements / rse).rglob("*"))
            if path.is_file()
        }


def _told(rule: Row) -> str:
    meta = meta_of(rule) if rule["meta"] else {}
    marks = {key: meta.get(key) for key in ("target", "expression", "last", "repairs")}
    marks["refs"] = sorted(meta.get("refs", {}).values())
    going = rule["expires_at"] is not None
    return json.dumps({**{key: rule[key] for key in _RULE}, "going": going, **marks}, default=str)
