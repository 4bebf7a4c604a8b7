"""What the import makes of a Rucio: names, YAML, what a file says and what it does not, and the folder."""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.cli import imported
from reconciler.cli.importing import choices_of, configure, settings_of
from reconciler.cli.parser import Parser
from reconciler.drivers.rucio.import_elements import size_text
from reconciler.drivers.rucio.import_entries import Draft, element_label, label, tagged
from reconciler.drivers.rucio.import_objects import Choices, drafted
from reconciler.drivers.rucio.import_yaml import document
from reconciler.drivers.rucio.importing import Account, Element, Found
from reconciler.errors import ReconcilerError, UsageError
from reconciler.strict_yaml import read
from reconciler.units import size

NOW = datetime(2026, 11, 21, 12)  # noqa: DTZ001  as Rucio's times
AUTH = {"type": "userpass", "username": "ours", "password": "env:RUCIO"}
SETTINGS = {"url": "https://rucio.example.org", "account": "ours", "auth": AUTH}
CHOICES = Choices("o", "lake", SETTINGS, NOW, "", {"tier0": "cms"})
LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"


def rule(**told: Any) -> dict[str, Any]:
    common = {
        "id": "abc", "account": "tier0", "scope": "cms", "name": "higgs", "copies": 1, "did_type": "DATASET",
        "rse_expression": "QoS=disk", "grouping": "DATASET", "activity": "User Subscriptions", "priority": 3,
        "purge_replicas": False, "source_replica_expression": None, "comments": None, "meta": None,
        "subscription_id": None, "child_rule_id": None, "expires_at": None, "locked": False, "state": "OK",
        "error": None, "created_at": NOW,
    }  # fmt: skip
    return common | told


def element(name: str = "CNAF-DISK", **told: Any) -> Element:
    more = {key: told.pop(key) for key in ("attributes", "limits", "distances") if key in told}
    common = {
        "rse_type": "DISK", "deterministic": True, "volatile": False, "protocols": [], "qos_class": None,
        "availability_read": True, "availability_write": True, "availability_delete": True,
    }  # fmt: skip
    attributes = more.get("attributes", {"country": "IT"})
    return Element(name, common | told, attributes, more.get("limits", {}), more.get("distances", {}))


def account(name: str = "tier0", **told: Any) -> Account:
    identities = told.get("identities", [{"type": "X509", "identity": "/CN=x", "email": ""}])
    attributes, local = told.get("attributes", {}), told.get("local", {})
    about = {"type": "USER", "email": "x@example.org"}
    return Account(name, about, attributes, identities, local, {}, told.get("scopes", ()))


def draft(**told: Any) -> Draft:
    parts = {key: told.get(key, ()) for key in ("elements", "accounts", "rules", "subscriptions")}
    return drafted(Found(**parts), CHOICES)


def only(kind: str, made: Draft) -> Any:
    (entry,) = (entry for entry in made.entries.values() if entry.kind == kind)
    return entry


# -- YAML ---------------------------------------------------------------------------------------------

LETTERS = st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="\ufffe\uffff")
SCALARS = st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(LETTERS, max_size=30)
KEYS = st.text(st.characters(codec="ascii", categories=("L", "N", "P")), min_size=1, max_size=10)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(SCALARS, max_size=4) | st.lists(st.dictionaries(KEYS, inner, max_size=3))
    | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)  # fmt: skip


@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=5), st.lists(st.text(max_size=200), max_size=3))
def test_what_is_written_is_read_as_it_was(value: dict[str, Any], comments: list[str]) -> None:
    (found,) = read(document(value, comments).encode())
    assert found.value == value


@pytest.mark.parametrize("value", [None, 0.5, [[1, None]], "a\x00", "\x1f"])
def test_what_has_no_form_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        document({"key": value})


# -- names --------------------------------------------------------------------------------------------

NAMES = st.text(st.sampled_from("aAbB01-_."), min_size=1, max_size=80)


@given(NAMES, NAMES)
def test_names_are_labels_and_stay_apart(one: str, other: str) -> None:
    import re  # noqa: PLC0415  for this test

    for make in (label, element_label, tagged):
        made: Callable[[str], str] = make
        assert re.fullmatch(LABEL, made(one))
        assert made(one) == made(one)
        assert (made(one) == made(other)) == (one == other)


def test_plain_names_stay() -> None:
    assert (element_label("CNAF-DISK"), label("tier0")) == ("cnaf-disk", "tier0")


@given(st.integers(0, 10**15 - 1))
def test_sizes_are_exact(count: int) -> None:
    assert size(size_text(count)) == count


# -- rules --------------------------------------------------------------------------------------------


def test_a_rule_says_what_is_unusual() -> None:
    spec = only("DataRule", draft(rules=[rule(activity="Express", purge_replicas=True)])).spec
    assert spec == {
        "target": "lake", "dataset": "cms:higgs", "copies": 1, "expression": "QoS=disk",
        "grouping": "DATASET", "account": "tier0", "activity": "Express", "purge": True,
    }  # fmt: skip
    assert "account" not in only("DataRule", draft(rules=[rule(account="ours")])).spec


def test_the_target_is_in_the_group_that_was_said() -> None:
    made = draft(rules=[rule(), rule(account="higgs"), rule(account="elements")])
    groups = sorted(entry.metadata["group"] for entry in made.entries.values() if entry.kind == "DataRule")
    assert groups == ["cms", "group-elements", "higgs"]
    assert {f"groups/{group}.yaml" for group in groups} <= made.entries.keys()


@pytest.mark.parametrize(("told", "why"), [
    ({"did_type": "FILE"}, "single file"),
    ({"subscription_id": "x"}, "subscription"),
    ({"child_rule_id": "x"}, "moved"),
    ({"comments": "rc1.somebody"}, "owner somebody"),
    ({"expires_at": datetime(2026, 11, 22)}, "ends by itself"),  # noqa: DTZ001  as Rucio's times
])  # fmt: skip
def test_what_no_file_can_say_is_left_out_with_its_reason(told: dict[str, Any], why: str) -> None:
    made = draft(rules=[rule(**told)])
    assert not any(entry.kind == "DataRule" for entry in made.entries.values())
    (left,) = made.left_out
    assert why in left.why
    assert "abc" in left.origin


@pytest.mark.parametrize(("told", "said"), [
    ({"locked": True}, "locked in Rucio"),
    ({"state": "STUCK", "error": "no\nroom"}, "no room"),
    ({"did_type": "CONTAINER"}, "container"),
    ({"weight": "tier"}, "weight = tier"),
    ({"comments": "of\nAda"}, "of Ada"),
])  # fmt: skip
def test_comments_say_the_rest(told: dict[str, Any], said: str) -> None:
    text = only("DataRule", draft(rules=[rule(**told)])).text()
    assert said in text
    read(text.encode())


def test_a_rule_that_ends_is_not_wanted_after_its_end() -> None:
    ends = datetime(2026, 12, 24, 1)  # noqa: DTZ001  as Rucio's times
    entry = only("DataRule", draft(rules=[rule(expires_at=ends)]))
    assert entry.metadata["expires"] == "2026-12-23"


# -- elements, accounts, subscriptions -----------------------------------------------------------------


def test_what_looks_like_a_secret_is_in_no_file() -> None:
    attributes = {"country": "IT", "s3_secret": "canary", "access_key": "canary"}
    protocol = {
        "scheme": "s3", "hostname": "h", "port": 1, "prefix": "/", "impl": "x", "domains": {"wan": {}},
        "extended_attributes": {"token": "canary"},
    }  # fmt: skip
    entry = only("StorageElement", draft(elements=[element(attributes=attributes, protocols=[protocol])]))
    assert "canary" not in entry.text()
    assert "s3_secret" in entry.text()


def test_an_element_says_what_its_name_hides() -> None:
    entry = only("StorageElement", draft(elements=[element("CNAF_DISK", availability_write=False)]))
    assert (entry.spec["rse"], "closed for writing" in entry.text()) == ("CNAF_DISK", True)
    assert entry.metadata["name"].startswith("cnaf-disk-")


@pytest.mark.parametrize("told", [
    {"elements": [element(attributes={"CNAF-DISK": True})]},
    {"elements": [element(attributes={"reconciler": "rc1.somebody.x"})]},
    {"accounts": [account(identities=())]},
    {"accounts": [account(attributes={"reconciler": "somebody"})]},
])  # fmt: skip
def test_bare_things_and_those_of_others_are_left_out(told: dict[str, Any]) -> None:
    made = draft(**told)
    assert [entry.kind for entry in made.entries.values()] == ["Provider"]
    assert len(made.left_out) == 1


def test_an_account_has_its_quotas_and_no_password() -> None:
    local = {"CNAF-DISK": 10**13, "BARI-DISK": float("inf"), "LYON-DISK": -1}
    identities = [{"type": "USERPASS", "identity": "ada", "email": "a@b"}]
    entry = only("DataAccount", draft(accounts=[account(local=local, identities=identities)]))
    assert entry.spec["quotas"]["local"] == {
        "BARI-DISK": "unlimited", "CNAF-DISK": "10TB", "LYON-DISK": "unlimited"
    }  # fmt: skip
    assert ("identities" in entry.spec, "users ada" in entry.text()) == (False, True)


@pytest.mark.parametrize(("told", "why"), [
    ({"state": "INACTIVE"}, "INACTIVE"),
    ({"comments": f"rc1.somebody.{'a' * 20} Subscription/x at y"}, "somebody"),
    ({"replication_rules": "["}, "can't be read"),
])  # fmt: skip
def test_subscriptions_without_a_file_are_said(told: dict[str, Any], why: str) -> None:
    common = {
        "name": "raw", "account": "tier0", "state": "ACTIVE", "comments": "", "filter": '{"scope": ["cms"]}',
        "replication_rules": '[{"copies": 1, "rse_expression": "*"}]', "policyid": 3, "lifetime": None,
    }  # fmt: skip
    assert only("Subscription", draft(subscriptions=[common])).spec["name"] == "raw"
    (left,) = draft(subscriptions=[common | told]).left_out
    assert why in left.why


# -- the folder ----------------------------------------------------------------------------------------


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What a Rucio has, without one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    told: dict[str, Any] = dict.fromkeys(("elements", "accounts", "rules", "subscriptions"), ())
    monkeypatch.setattr(imported, "read_all", lambda *_: Found(**told))
    return told


def test_what_validation_refuses_is_left_out(found: dict[str, Any], tmp_path: Path) -> None:
    found["rules"] = [rule(), rule(id="def", name="/with/slashes"), rule(id="ghi", rse_expression="a%b")]
    done = imported.read_and_write(tmp_path / "lake", CHOICES, ())
    assert done.counts["DataRule"] == 1
    assert sorted(left.origin.split()[1] for left in done.left_out) == ["def", "ghi"]
    assert "/with/slashes" in (tmp_path / "lake" / imported.LEFT_OUT).read_text()
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["lake"]


def test_two_imports_write_the_same_bytes(found: dict[str, Any], tmp_path: Path) -> None:
    found["rules"] = [rule(), rule(id="def", name="other")]
    found["elements"], found["accounts"] = [element()], [account(scopes=("cms",))]
    for name in ("one", "two"):
        imported.read_and_write(tmp_path / name, CHOICES, ())
        found["rules"].reverse()
    files = [
        {
            str(path.relative_to(tmp_path / name)): path.read_bytes()
            for path in (tmp_path / name).rglob("*.yaml")
        }
        for name in ("one", "two")
    ]
    assert files[0] == files[1]
    assert len(files[0]) == 8


def test_what_is_there_is_not_overwritten(found: dict[str, Any], tmp_path: Path) -> None:
    for name in ("full", "file", "link"):
        place = tmp_path / name
        if name == "full":
            place.mkdir()
            (place / "mine").touch()
        elif name == "file":
            place.touch()
        else:
            place.symlink_to(tmp_path / "nowhere")
        with pytest.raises(UsageError, match="nothing was written"):
            imported.require_empty(place)
    (tmp_path / "empty").mkdir()
    imported.require_empty(tmp_path / "empty")
    assert imported.read_and_write(tmp_path / "empty", CHOICES, ()).counts["Provider"] == 1


def test_a_folder_that_git_ignores_is_no_place(found: dict[str, Any], tmp_path: Path) -> None:
    above = tmp_path / "above"
    above.mkdir()
    subprocess.run(["git", "-C", str(above), "init", "-q"], check=True, timeout=60)
    (above / ".gitignore").write_text("*\n")
    with pytest.raises(ReconcilerError, match="ignore"):
        imported.read_and_write(above / "lake", CHOICES, ())
    (above / ".gitignore").unlink()
    assert imported.read_and_write(above / "lake", CHOICES, ()).counts["Provider"] == 1


def test_nothing_is_left_of_what_failed(found: dict[str, Any], tmp_path: Path) -> None:
    wrong = Choices("o", "lake", SETTINGS | {"url": "ftp://x"}, NOW)
    with pytest.raises(ReconcilerError, match="no valid repository"):
        imported.read_and_write(tmp_path / "lake", wrong, ())
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == []


# -- the command line ----------------------------------------------------------------------------------


def arguments(*words: str) -> argparse.Namespace:
    parser = Parser(prog="reconciler")
    configure(parser)
    return parser.read(["rucio", "--out", "lake", *words])


LOGIN = ("--url", SETTINGS["url"], "--account", "ours", "--username", "ours", "--password", "env:RUCIO")


def test_settings_come_from_flags_and_a_file(tmp_path: Path) -> None:
    assert settings_of(arguments(*map(str, LOGIN))) == SETTINGS
    file = tmp_path / "rucio.yaml"
    file.write_text(document({"type": "rucio", **SETTINGS, "account": "other"}))
    assert settings_of(arguments("--settings", str(file), "--account", "ours")) == SETTINGS


@pytest.mark.parametrize("words", [
    (),
    (*LOGIN, "--password", "a secret itself"),
    (*LOGIN, "--settings", "/nowhere/at/all"),
    ("--url", "http://rucio.example.org", *LOGIN[2:]),
])  # fmt: skip
def test_settings_that_can_not_be_meant_are_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as error:
        settings_of(arguments(*words))
    assert "a secret itself" not in str(error.value)


def test_groups_and_names_are_checked() -> None:
    words = ("--group", "all", "--group", "tier0=cms", "--owner", "x")
    choices = choices_of(arguments(*map(str, LOGIN), *words), Path("lake"))
    assert (choices.group_of("tier0"), choices.group_of("other")) == ("cms", "all")
    for bad in (("--group", "Bad"), ("--group", "=cms"), ("--owner", "A"), ("--provider", "a.b")):
        with pytest.raises(UsageError):
            choices_of(arguments(*map(str, LOGIN), *bad), Path("lake"))
