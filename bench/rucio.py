"""Rows about a data lake at Rucio, against Rucio's own interface used bare.

They need what the tests of a real Rucio need: the package `rucio-clients`, and PostgreSQL (Debian's package
`postgresql`) for all but the row on SQLite. Server and daemons are installed into the cache folder the first
time. Each row starts a server of its own and ends it.
"""

from __future__ import annotations

import json
import secrets
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench.command import Sample, run, run_program
from bench.generate import BRANCH, git, settle
from bench.ground import CHECKOUT, DONE, LIMIT, environment_of
from bench.real import NotHere

POSTGRESQL: Final = "postgresql"
SQLITE: Final = "sqlite"
BEST: Final = 100  # data sets in one call: 50, 250 and 1,000 were no faster (see README.md)
ELEMENT: Final = "LYON-DISK"
_FILLING: Final = 500  # names in one call that prepares
_IMPORTED: Final = (60, 100)  # elements and accounts beside those of the bed
_RULE: Final = """\
apiVersion: reconciler/v1
kind: DataRule
metadata: {{ name: {name}, group: bench }}
spec: {{ target: rucio, dataset: "{scope}:{name}", expression: {element} }}
"""
_OBJECT: Final = "apiVersion: reconciler/v1\nkind: {}\nmetadata: {{ name: {} }}\nspec: {}\n"


@dataclass(slots=True)
class Lake:
    """A Rucio (tests.live.rucio_bed), an account of ours there, and a folder for repositories."""

    folder: Path
    bed: Any
    account: str
    scope: str
    made: int = 0
    environment: dict[str, str] = field(default_factory=dict)

    # -- what is there before ----------------------------------------------------------------------

    def datasets(self, number: int) -> list[str]:
        """New data sets without files: rules for them cost Rucio least, so what we add shows most."""
        self.made += 1
        names = [f"set-{self.made}-{place:05}" for place in range(number)]
        root = self.bed.client()
        dids = [{"scope": self.scope, "name": name} for name in names]
        for start in range(0, number, _FILLING):
            root.add_datasets(dids[start : start + _FILLING])
        return names

    def bulk(self, names: Sequence[str], size: int) -> Sample:
        """The same rules by a bare script: one process, one login, `size` data sets in one call."""
        told = {"url": self.bed.url, "account": self.account, "scope": self.scope, "size": size}
        (self.folder / "names.json").write_text(json.dumps({**told, "names": names, "element": ELEMENT}))
        command = [sys.executable, "-m", "bench.rucio_bulk", str(self.folder / "names.json")]
        environment = {**self.environment, "PYTHONPATH": str(CHECKOUT)}
        return run_program(command, self.folder, environment, expect=DONE, limit=LIMIT)

    def rules(self, owner: str = "") -> int:
        """How many rules stand for our account; those of an owner, where one is named."""
        more = {"comments": f"rc1.{owner}"} if owner else {}
        return len(list(self.bed.client().list_replication_rules({"account": self.account, **more})))

    # -- our side ----------------------------------------------------------------------------------

    def repository(self, names: Sequence[str]) -> tuple[str, Path]:
        """A repository of a new owner that declares a rule for each data set: its owner, and where it is."""
        owner = f"bench-{secrets.token_hex(4)}"
        repository = self.folder / owner
        git(self.folder, "init", "--quiet", "--initial-branch", BRANCH, str(repository))
        for path, text in self._texts(owner, names):
            (repository / path).parent.mkdir(parents=True, exist_ok=True)
            (repository / path).write_text(text)
        git(repository, "add", "--all")
        who = ("-c", "user.name=Bench", "-c", "user.email=bench@example.org")
        git(repository, *who, "commit", "--quiet", "--message", "rules")
        settle(repository)
        return owner, repository

    def _texts(self, owner: str, names: Sequence[str]) -> Iterator[tuple[str, str]]:
        yield "reconciler.yaml", f"owner: {owner}\n"
        yield "groups/bench.yaml", _OBJECT.format("UserGroup", "bench", "{}")
        targets = json.dumps({"targets": [{"type": "rucio", **self.settings()}]})
        yield "providers/rucio.yaml", _OBJECT.format("Provider", "rucio", targets)
        for name in names:
            yield (
                f"data/bench/{name}.yaml",
                _RULE.format(name=name, scope=self.scope, element=ELEMENT),
            )

    def settings(self) -> dict[str, Any]:
        """What a target says of this Rucio."""
        auth = {"type": "userpass", "username": self.account, "password": "env:RUCIO_PASSWORD"}
        return {"url": self.bed.url, "account": self.account, "auth": auth}

    def reconciler(self, *words: str) -> Sample:
        return run(words, self.folder, self.environment, expect=DONE, limit=LIMIT)

    def forget_cache(self) -> None:
        """Everything, our login among it: the other side logs in, too."""
        shutil.rmtree(self.folder / "home" / "cache", ignore_errors=True)


@contextmanager
def opened(folder: Path, database: str) -> Iterator[Lake]:
    """A new Rucio that ends with this. Raises NotHere."""
    import pytest  # noqa: PLC0415  what is shared with the tests says by pytest that it can't work here

    from tests.live.rucio_bed import bed as beds  # noqa: PLC0415  ditto

    try:
        with beds.opened(database) as bed:
            account = bed.new_account(admin=True)
            (folder / "home").mkdir(parents=True)
            environment = {**environment_of(folder / "home"), "RUCIO_PASSWORD": bed.password(account)}
            yield Lake(folder, bed, account, bed.new_scope(account), environment=environment)
    except (pytest.skip.Exception, ImportError) as error:
        raise NotHere(f"no Rucio here: {error}") from error


Found = tuple[int, list[Sample], list[float]]  # objects, our runs, and ratios where there are pairs

# -- rows ------------------------------------------------------------------------------------------


def compare_creation(lake: Lake, rules: int, repeat: int) -> Found:
    """Our `apply` of new rules, and how much longer it took than the bare script after it, A B A B …

    Both are whole processes, each with data sets of its own. Ours also reads git, plans, and looks again.
    """
    samples, ratios = [], []
    for _ in range(repeat):
        ours, theirs = lake.datasets(rules), lake.datasets(rules)
        owner, repository = lake.repository(ours)
        lake.forget_cache()
        before = lake.rules()
        samples.append(lake.reconciler("apply", str(repository)))
        ratios.append(samples[-1].seconds / lake.bulk(theirs, BEST).seconds)
        if lake.rules(owner) != rules or lake.rules() - before != 2 * rules:
            raise AssertionError("not all rules were made")
    return rules, samples, ratios


def imported(lake: Lake, rules: int, repeat: int) -> Found:
    """`reconciler import rucio` of rules, elements and accounts; the first plan of it has to be quiet."""
    elements, accounts = _fill(lake, rules)
    samples = []
    for number in range(repeat):
        name = f"imported-{number}"
        login = ("--account", lake.account, "--username", lake.account, "--password", "env:RUCIO_PASSWORD")
        where = ("--url", lake.bed.url, *login, "--out", name, "--owner", "imported")
        samples.append(lake.reconciler("import", "rucio", *where))
    files = len(list((lake.folder / "imported-0").rglob("*.yaml")))
    if files < rules + elements + accounts:
        raise AssertionError(f"{files} files for {rules} rules, {elements} elements, {accounts} accounts")
    _commit(lake.folder / "imported-0")
    lake.reconciler("plan", str(lake.folder / "imported-0"), "--exit-code")
    return rules + elements + accounts, samples, []


def planned(lake: Lake, rules: int, repeat: int) -> Found:
    """A quiet `plan` of what was imported: Rucio lists neither elements nor accounts as a whole."""
    objects, _, _ = imported(lake, rules, 1)
    repository = str(lake.folder / "imported-0")
    return objects, [lake.reconciler("plan", repository, "--exit-code") for _ in range(repeat)], []


def _commit(repository: Path) -> None:
    who = ("-c", "user.name=Bench", "-c", "user.email=bench@example.org")
    git(repository, "init", "--quiet", "--initial-branch", BRANCH)
    git(repository, "add", "--all")
    git(repository, *who, "commit", "--quiet", "--message", "as it is")
    settle(repository)


def _fill(lake: Lake, rules: int) -> tuple[int, int]:
    """A Rucio of some size: how many elements and accounts it has then."""
    root = lake.bed.client()
    for number in range(_IMPORTED[0]):
        name = f"SITE-{number:03}"
        root.add_rse(name)
        root.add_rse_attribute(name, "country", "IT")
        root.add_protocol(name, _protocol(f"/data/{name}"))
    for number in range(_IMPORTED[1]):
        name = f"person-{number:03}"
        root.add_account(name, "USER", f"{name}@example.org")
        root.add_identity(name, name, "USERPASS", f"{name}@example.org", password=secrets.token_urlsafe(12))
        root.set_account_limit(name, ELEMENT, 10**12, "local")
        root.add_account_attribute(name, "country", "it")
    if rules:
        lake.bulk(lake.datasets(rules), BEST)
    return _IMPORTED[0] + 4, _IMPORTED[1] + 2


def _protocol(prefix: str) -> dict[str, Any]:
    ways = {"read": 1, "write": 1, "delete": 1}
    domains = {"lan": ways, "wan": {**ways, "third_party_copy_read": 1, "third_party_copy_write": 1}}
    told = {"scheme": "file", "hostname": "localhost", "port": 0, "prefix": prefix, "domains": domains}
    return {**told, "impl": "rucio.rse.protocols.posix.Default"}
