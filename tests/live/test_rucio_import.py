"""A Rucio that others set up becomes a repository that validates, and whose first plan is empty."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.live.rucio_bed.bed import Bed
from tests.live.rucio_bed.elements import ELEMENTS
from tests.live.rucio_bed.fixture import bed, started_bed  # noqa: F401  fixtures

pytestmark = [
    pytest.mark.live,
    pytest.mark.machines,
    pytest.mark.network,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:rucio"),
]

COMMAND = (sys.executable, "-c", "import sys; from reconciler.cli import main; sys.exit(main())")
MOVING = ("conveyor-submitter", "conveyor-poller", "conveyor-finisher")
ATTEMPTS = 4
MONTH = 30 * 86400
MANY = 1000
PASSES = 300


@dataclass
class Lake:
    """A Rucio in use: two accounts with a scope each, and rules of several shapes."""

    bed: Bed
    folder: Path
    rules: dict[str, str] = field(default_factory=dict)  # what for → id

    def __post_init__(self) -> None:
        self.rucio = self.bed.client()
        self.account = self.bed.new_account(admin=True)
        self.other = self.bed.new_account()
        self.rucio.add_account_attribute(self.account, "country", "it")
        self.rucio.set_account_limit(self.account, "country=IT", 5 * 2**40, "global")
        self.rucio.add_identity(
            self.account, f"/DC=org/CN={self.account}", "X509", f"{self.account}@example.org"
        )
        self.scope, self.other_scope = self.bed.new_scope(self.account), self.bed.new_scope(self.other)

    def dataset(self, name: str, files: int = 1, scope: str = "") -> dict[str, str]:
        content = {f"{name}-{number}": f"{name} {number}".encode() for number in range(files)}
        return self.bed.upload_dataset(scope or self.scope, name, content, "BARI-DISK")

    def rule(self, what: str, did: Mapping[str, str], copies: int, expression: str, **told: Any) -> None:
        told = {"account": self.account} | told
        (self.rules[what],) = self.rucio.add_replication_rule([did], copies, expression, **told)

    def call(self, *words: str, account: str = "") -> subprocess.CompletedProcess[str]:
        secrets = {"RUCIO_PASSWORD": self.bed.password(account or self.account)}
        home = {"XDG_CACHE_HOME": str(self.folder / "cache"), "XDG_STATE_HOME": str(self.folder / "state")}
        home |= {"XDG_DATA_HOME": str(self.folder / "data"), "HOME": str(self.folder)}
        return subprocess.run(
            [*COMMAND, *words],
            cwd=self.folder,
            env={**os.environ, **home, **secrets},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def imported(self, name: str = "lake", *more: str, account: str = "") -> subprocess.CompletedProcess[str]:
        account = account or self.account
        login = ("--account", account, "--username", self.bed.user(account))
        where = ("--url", self.bed.url, *login, "--password", "env:RUCIO_PASSWORD", "--out", name)
        return self.call("import", "rucio", *where, "--owner", "imported", *more, account=account)

    def objects(self, name: str = "lake") -> dict[str, Any]:
        files = sorted((self.folder / name).rglob("*.yaml"))
        found = {
            str(path.relative_to(self.folder / name)): yaml.safe_load(path.read_text()) for path in files
        }
        found.pop("reconciler.yaml")
        return found

    def spec_of(self, rule: str, name: str = "lake") -> Any:
        """The object that a rule became, and the text of its file; None: it became none."""
        for path in (self.folder / name).rglob("*.yaml"):
            text = path.read_text()
            if self.rules[rule] in text:
                return yaml.safe_load(text), text
        return None

    def commit(self, name: str = "lake") -> None:
        git = ("git", "-C", str(self.folder / name), "-c", "user.name=x", "-c", "user.email=x@example.org")
        for words in (("init", "--quiet", "-b", "main"), ("add", "."), ("commit", "-qm", "as it is")):
            subprocess.run([*git, *words], check=True, timeout=60, capture_output=True)

    def plan(self, name: str = "lake") -> Any:
        done = self.call("plan", str(self.folder / name), "--format", "json")
        assert done.returncode in (0, 5), done.stdout + done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def lake(bed: Bed, tmp_path: Path) -> Lake:  # noqa: F811  the fixture
    return Lake(bed, tmp_path)


def in_use(lake: Lake) -> None:
    """30 rules of several shapes, and one subscription."""
    rucio = lake.rucio
    for number in range(22):
        lake.rule(f"plain-{number}", lake.dataset(f"plain-{number}"), 1 + number % 2, "country=IT&QoS=disk")
    first = lake.dataset("first", 2)
    lake.rule("tape", first, 1, "QoS=tape")
    lake.rule("other", first, 1, "LYON-DISK", account=lake.other, grouping="ALL", activity="Express")
    lake.rule(
        "named", first, 2, r"(tier=1|tier=2)\QoS=tape", priority=5, purge_replicas=True, comment="keep: me"
    )
    lake.rule("ends", first, 1, "LYON-DISK", lifetime=MONTH)
    lake.rule("soon", lake.dataset("soon"), 1, "LYON-DISK", lifetime=3600)
    rucio.add_container(lake.scope, "all")
    rucio.attach_dids(lake.scope, "all", [first])
    lake.rule("container", {"scope": lake.scope, "name": "all"}, 1, "LYON-DISK")
    lake.rule("file", {"scope": lake.scope, "name": "first-0"}, 1, "LYON-DISK")
    lake.bed.fts.fail("/stuck", "TRANSFER [28] No space left on device")
    lake.rule("stuck", lake.dataset("stuck"), 1, "LYON-DISK")
    lake.bed.pump(ATTEMPTS, MOVING)
    told = [{"copies": 1, "rse_expression": "LYON-DISK", "lifetime": 14 * 86400, "activity": "Express"}]
    told.append({"copies": "*", "rse_expression": "QoS=disk", "activity": "User Subscriptions"})
    filters = {"scope": [lake.scope], "pattern": "raw.*"}
    rucio.add_subscription("T0 raw", lake.account, filters, told, 'for "T0"', False, False, False)
    lake.dataset("raw-1")
    for _ in range(PASSES):  # what other tests left comes first
        lake.bed.pump(only=("transmogrifier",))
        if not rucio.get_metadata(lake.scope, "raw-1")["is_new"]:
            break


def test_a_rucio_in_use_becomes_a_repository_without_changes(lake: Lake) -> None:
    in_use(lake)
    before = sorted((rule["id"], rule["updated_at"]) for rule in lake.rucio.list_replication_rules())
    done = lake.imported("lake", "--accounts", f"{lake.account},{lake.other}", "--group", f"{lake.other}=cms")
    assert done.returncode == 0, done.stdout + done.stderr
    checked = lake.call("validate", "lake")
    assert checked.returncode == 0, checked.stdout + checked.stderr

    spec, text = lake.spec_of("tape")
    assert (spec["spec"]["expression"], "locked" in text) == ("QoS=tape", True)
    spec, text = lake.spec_of("other")
    assert (spec["metadata"]["group"], spec["spec"]["account"]) == ("cms", lake.other)
    assert (spec["spec"]["grouping"], spec["spec"]["activity"]) == ("ALL", "Express")
    spec, text = lake.spec_of("named")
    assert (spec["spec"]["expression"], spec["spec"]["copies"]) == (r"(tier=1|tier=2)\QoS=tape", 2)
    assert (spec["spec"]["priority"], spec["spec"]["purge"], "keep: me" in text) == (5, True, True)
    spec, text = lake.spec_of("ends")
    ends = lake.rucio.get_replication_rule(lake.rules["ends"])["expires_at"]
    assert spec["metadata"]["expires"] < ends.date().isoformat()
    assert lake.spec_of("container")[0]["spec"]["dataset"] == f"{lake.scope}:all"
    assert "No space left on device" in lake.spec_of("stuck")[1]
    left = (lake.folder / "lake/left-out.txt").read_text()
    for what in ("file", "soon"):
        assert lake.spec_of(what) is None
        assert lake.rules[what] in left
    assert left.count("a subscription made it") == 2
    everything = "".join(path.read_text() for path in (lake.folder / "lake").rglob("*") if path.is_file())
    assert lake.bed.password(lake.account) not in everything
    assert "env:RUCIO_PASSWORD" in everything

    lake.commit()
    planned = lake.plan()
    (failed,) = planned["conditions"]  # the stuck one is shown as what it is
    assert (planned["changes"], "No space left" in failed["message"]) == ([], True)
    assert sorted((rule["id"], rule["updated_at"]) for rule in lake.rucio.list_replication_rules()) == before
    lake.bed.fts.clear()
    lake.rucio.update_replication_rule(lake.rules["stuck"], {"boost_rule": True})
    lake.bed.pump(2)
    healed = lake.plan()
    assert (healed["changes"], healed["conditions"]) == ([], [])


def test_what_was_imported_can_be_adopted(lake: Lake) -> None:
    did = lake.dataset("one", 2)
    lake.rule("one", did, 1, "LYON-DISK")
    filters = {"scope": [lake.scope], "pattern": "raw.*"}
    told = [{"copies": 1, "rse_expression": "LYON-DISK", "activity": "Express"}]
    lake.rucio.add_subscription("raw", lake.account, filters, told, "", False, False, False)
    lake.bed.pump(1, MOVING)
    assert lake.imported("lake", "--accounts", lake.account).returncode == 0
    adopted = ("DataRule", "Subscription", "DataAccount")
    for path, one in lake.objects().items():
        if one["kind"] in adopted:
            file = lake.folder / "lake" / path
            file.write_text(file.read_text().replace("metadata:\n", "metadata:\n  adopt: true\n"))
    lake.commit()
    changes = lake.plan()["changes"]
    assert {change["action"] for change in changes} == {"update"}
    done = lake.call("apply", str(lake.folder / "lake"), "--wait", "1m")
    assert done.returncode == 0, done.stdout + done.stderr
    assert lake.plan()["changes"] == []
    assert lake.rucio.get_replication_rule(lake.rules["one"])["comments"] == "rc1.imported"
    (subscription,) = lake.rucio.list_subscriptions("raw", lake.account)
    assert subscription["comments"].startswith("rc1.imported.")
    assert len(list(lake.rucio.list_replication_rules({"scope": lake.scope}))) == 1


def test_elements_accounts_scopes_and_subscriptions_are_said_as_they_are(lake: Lake) -> None:
    lake.rucio.set_rse_limits("BARI-DISK", "MinFreeSpace", 10**13)
    told = [{"copies": 2, "rse_expression": "country=IT", "lifetime": 7 * 86400, "activity": "Express"}]
    filters = {"scope": [lake.scope], "pattern": "raw.*"}
    lake.rucio.add_subscription("T0 raw", lake.account, filters, told, "", False, False, False)
    assert lake.imported("lake", "--accounts", lake.account).returncode == 0
    found = lake.objects()
    assert {path for path in found if "/elements/" in path} == {
        f"data/elements/{name.lower()}.yaml" for name in ELEMENTS
    }
    bari = found["data/elements/bari-disk.yaml"]["spec"]
    assert bari["attributes"]["tier"] == "2"
    assert bari["limits"] == {"minFreeSpace": "10TB"}
    assert bari["distances"] == {"CNAF-DISK": 1, "CNAF-TAPE": 1, "LYON-DISK": 1}
    assert bari["protocols"][0]["prefix"] == str(lake.bed.rse_folder("BARI-DISK"))
    account = found[f"data/accounts/{lake.account}.yaml"]["spec"]
    assert account["attributes"]["country"] == "it"
    assert account["quotas"]["global"] == {"country=IT": "5TiB"}
    assert [one["type"] for one in account["identities"]] == ["x509"]  # passwords are nobody's to know
    assert found[f"data/scopes/{lake.scope}.yaml"]["spec"]["account"] == lake.account
    (subscription,) = (one["spec"] for path, one in found.items() if "/subscriptions/" in path)
    assert (subscription["name"], subscription["filter"]) == ("T0 raw", filters)
    assert subscription["rules"][0]["lifetime"] == "1w"
    assert not any(lake.other in path for path in found)


def test_a_second_import_calls_everything_the_same(lake: Lake) -> None:
    did = lake.dataset("one")
    lake.rule("one", did, 1, "LYON-DISK")
    for name in ("first", "second"):
        if name == "second":
            lake.rule("two", did, 1, "LYON-DISK|CNAF-DISK")
        assert lake.imported(name, "--accounts", lake.account).returncode == 0
    first, second = lake.objects("first"), lake.objects("second")
    assert {path: one for path, one in second.items() if path in first} == first
    assert len(second) == len(first) + 1


def test_nothing_is_overwritten_and_nothing_half_written(lake: Lake) -> None:
    (lake.folder / "lake").mkdir()
    (lake.folder / "lake/mine.txt").write_text("mine")
    done = lake.imported()
    assert (done.returncode, [path.name for path in (lake.folder / "lake").iterdir()]) == (64, ["mine.txt"])
    wrong = lake.imported("other", "--username", "nobody")
    assert wrong.returncode == 5
    assert not list(lake.folder.glob("*other*"))


def test_an_account_that_may_only_read_is_enough(lake: Lake) -> None:
    lake.rule("one", lake.dataset("one"), 1, "LYON-DISK")
    done = lake.imported("lake", "--accounts", lake.account, account=lake.other)
    assert done.returncode == 0, done.stderr
    assert lake.spec_of("one")[0]["spec"]["account"] == lake.account
    assert lake.objects()["data/elements/bari-disk.yaml"]["spec"]["distances"]["LYON-DISK"] == 1


def test_a_thousand_rules_take_less_than_a_minute(lake: Lake) -> None:
    names = [{"scope": lake.scope, "name": f"set-{number:04}"} for number in range(MANY)]
    lake.rucio.add_datasets(names)
    lake.rucio.add_replication_rule(names, 1, "LYON-DISK", account=lake.account)
    started = time.monotonic()
    done = lake.imported("lake", "--accounts", lake.account)
    seconds = time.monotonic() - started
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{MANY} DataRule" in done.stdout
    assert seconds < 60
