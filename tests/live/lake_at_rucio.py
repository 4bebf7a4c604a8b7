"""A configuration repository whose providers are one Rucio, pushed to a git server and applied from there.

What tests of the data lake at Rucio work with: files to declare, people who push, the command, and the
storage elements on disk.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from demo.make_uploads import make_uploads
from tests.live.rucio_bed.bed import Bed

CHECKOUT: Final = Path(__file__).parents[2]
SAMPLE: Final = CHECKOUT / "sample-config-repo"
OWNER: Final = "demo-datacloud"
ELEMENTS: Final = ("CATANIA-DISK", "CNAF-DISK", "CNAF-TAPE", "RECAS-DISK")
LIMIT: Final = 300  # seconds for one command


class Lake:
    """A repository in a folder of its own, and the Rucio that its targets are."""

    def __init__(self, bed: Bed, root: Path, account: str) -> None:
        self.bed, self.root, self.account = bed, root, account
        self.former: list[str] = []  # whose rules are ours, too
        self.clone, self.remote = root / "clone", root / "config.git"
        self.home = root / "home"
        self.uploads = self.home / ".local/share/reconciler" / OWNER / "uploads"
        make_uploads(self.uploads)
        self.clone.mkdir()
        self.git("init", "--quiet", "--initial-branch", "main")
        subprocess.run(
            ["git", "init", "--quiet", "--bare", "--initial-branch", "main", str(self.remote)], check=True
        )
        self.git("remote", "add", "origin", str(self.remote))

    # -- what people do ----------------------------------------------------------------------

    def take_sample(self) -> None:
        """The sample's settings, groups and data, and its providers as this Rucio."""
        for name in ("reconciler.yaml", "groups", "data"):
            source, there = SAMPLE / name, self.clone / name
            shutil.copytree(source, there) if source.is_dir() else shutil.copy(source, there)
        self.take_providers()

    def take_providers(self) -> None:
        """The sample's providers that hold data; each of their targets is this Rucio."""
        for path in sorted((SAMPLE / "providers").glob("*.yaml")):
            provider = yaml.safe_load(path.read_text())
            targets = [entry for entry in provider["spec"]["targets"] if entry["type"] == "storage"]
            if targets:
                named = [{"name": entry["name"]} if "name" in entry else {} for entry in targets]
                provider["spec"]["targets"] = [{**name, **self.settings()} for name in named]
                self.write(f"providers/{path.name}", yaml.safe_dump(provider))

    def settings(self) -> dict[str, Any]:
        """What a target says of this Rucio, and of the elements that it is to have."""
        ways = {"scheme": "file", "hostname": "localhost", "prefix": f"{self.elements}/{{rse}}"}
        return {
            "type": "rucio",
            "url": self.bed.url,
            "account": self.account,
            "formerAccounts": self.former,
            "auth": {
                "type": "userpass",
                "username": self.bed.user(self.account),
                "password": "env:RUCIO_PASSWORD",
            },
            "uploads": "uploads/data",
            "mounts": [str(self.elements)],
            "elements": {
                "attributes": {"fts": self.bed.fts.url, "greedyDeletion": True},
                "protocols": [ways],
                "distances": dict.fromkeys(ELEMENTS, 1),
            },
        }

    @property
    def elements(self) -> Path:
        """Where the storage elements lie; each is a folder of its name."""
        return self.bed.folder / "elements"

    def write(self, path: str, text: str) -> None:
        (self.clone / path).parent.mkdir(parents=True, exist_ok=True)
        (self.clone / path).write_text(text)

    def edit(self, path: str, old: str, new: str) -> None:
        text = (self.clone / path).read_text()
        assert old in text
        self.write(path, text.replace(old, new))

    def push(self, message: str = "change") -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        self.git("push", "--quiet", "origin", "main")

    def git(self, *words: str) -> None:
        who = ("-c", "user.name=ada", "-c", "user.email=ada@example.org")
        subprocess.run(["git", *who, *words], cwd=self.clone, check=True, capture_output=True)

    # -- the command -------------------------------------------------------------------------

    def reconciler(self, *words: str, password: str = "") -> subprocess.CompletedProcess[str]:
        """Run the command on what was pushed."""
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("XDG_", "RUCIO"))}
        secret = password or self.bed.password(self.account)
        where = ["--repo", str(self.remote)] if words[0] == "status" else [str(self.remote)]
        command = [sys.executable, "-m", "reconciler", words[0], *where, *words[1:]]
        return subprocess.run(
            command,
            env={**kept, "HOME": str(self.home), "RUCIO_PASSWORD": secret},
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )

    def apply(self, *words: str, expect: int = 0) -> str:
        done = self.reconciler("apply", "--wait", "20s", *words)
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout

    def plan(self, *words: str) -> Any:
        done = self.reconciler("plan", "--format", "json", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def status(self) -> Mapping[str, Any]:
        """How every object stands, by its Ref."""
        done = self.reconciler("status", "--all", "--format", "json")
        return {entry["ref"]: entry for entry in json.loads(done.stdout)["conditions"]}

    # -- the world ---------------------------------------------------------------------------

    def files(self) -> dict[str, dict[str, bytes]]:
        """Element → the files that really lie there, by their path below the scope and the hash folders."""
        found: dict[str, dict[str, bytes]] = {}
        for path in sorted(self.elements.rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                element = path.relative_to(self.elements).parts[0]
                found.setdefault(element, {})[path.name] = path.read_bytes()
        return found

    def rules(self, dataset: str = "") -> list[dict[str, Any]]:
        """The rules that stand at Rucio, of one data set or of all; those on their way out left out."""
        listed = self.bed.client().list_replication_rules()
        rules = [rule for rule in listed if rule["name"] == dataset or not dataset]
        return sorted((rule for rule in rules if rule["expires_at"] is None), key=lambda rule: rule["id"])
