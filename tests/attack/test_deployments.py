"""What somebody tries with services, who may commit to the folders of one group, or propose more.

D1 secrets of others · D2 crashing everybody's pass · D3 names and places · D4 templates that read or hang ·
D5 branches that are not trusted.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.drivers.hosts.variables import opened
from reconciler.errors import Denied, ExitCode
from reconciler.late import attribute_of, resolve
from reconciler.line.places import laid_down
from reconciler.model import Ref
from reconciler.past import outputs
from reconciler.source.git import open_repository
from reconciler.stages.load import load
from reconciler.tosca.patterns import matches
from tests.laws.lab import GENEROUS, Lab, base, refs

OWNERSHIP = """ownership:
  - {path: 'providers/*.yaml', kinds: [Provider]}
  - {path: 'groups/*.yaml', kinds: [UserGroup]}
  - {path: 'elements/*.yaml', kinds: [StorageElement]}
  - {path: 'deployments/{group}/*.yaml', kinds: [Deployment], fields: {adopt: deny}}
"""
PROVIDER = """apiVersion: reconciler/v1
kind: Provider
metadata: {name: bench}
spec:
  targets: [{name: bench, type: hosts, machines: local, capacity: {machines: 8, cores: 16, memory: 32GiB}}]
"""
TASKS = """- name: Write the note
  ansible.builtin.copy: {content: "{{ note_text }}", dest: "{{ reconciler_root }}/note.txt", mode: "0600"}
- name: Say something
  ansible.builtin.set_fact: {reconciler_outputs: {said: "done"}}
"""
ARGUMENTS = "argument_specs: {main: {options: {note_text: {type: raw, default: ''}}}}\n"
ROLE = {
    "roles/note/tasks/main.yml": TASKS,
    "roles/note/meta/argument_specs.yml": ARGUMENTS,
    "roles/note/meta/reconciler.yml": "rootless: true\n",
}
TEMPLATE = """tosca_definitions_version: tosca_simple_yaml_1_0
imports: [reconciler_types]
metadata: {display_name: Note, template_version: 1.0.0}
topology_template:
  inputs:
    text: {type: string, default: hello}
    more: {type: map, entry_schema: {type: string}, required: false}
    count: {type: integer, default: 1}
    location: {type: string, default: /data}
  node_templates:
    note:
      type: tosca.nodes.reconciler.Role
      properties: {role: note, variables: {note_text: {get_input: text}}}
      requirements: [{host: server}]
    server:
      type: tosca.nodes.indigo.Compute
      capabilities: {scalable: {properties: {count: {get_input: count}}}}
      requirements:
        - local_storage:
            node: disk
            capability: tosca.capabilities.Attachment
            relationship:
              type: tosca.relationships.AttachesTo
              properties: {location: {get_input: location}}
    disk: {type: tosca.nodes.BlockStorage, properties: {size: 1 GB}}
  outputs:
    said: {value: {get_attribute: [note, said]}}
"""
MINE = "deployments/a/mine.yaml"
SERVICE = "catalogue/note/template.yaml"


def deployment(name: str = "mine", group: str = "a", service: str = "note", **inputs: Any) -> str:
    """A Deployment as its author would write it."""
    head = f"apiVersion: reconciler/v1\nkind: Deployment\nmetadata: {{name: {name}, group: {group}}}\n"
    body = f"  service: {service}\n  inputs: {json.dumps(inputs)}\n  placement: {{targets: [bench]}}\n"
    return f"{head}spec:\n{body}"


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Group b has a deployment; a has none yet."""
    files = {"providers/bench.yaml": PROVIDER, "deployments/b/theirs.yaml": deployment("theirs", "b")}
    with Lab({**base(GENEROUS + OWNERSHIP), **ROLE, SERVICE: TEMPLATE, **files}) as found:
        yield found


def problems(lab: Lab, *files: tuple[str, str]) -> str:
    """What is said of these files; what group b has is planned all the same."""
    lab.commit(dict(files))
    planned = lab.plan()
    assert "Deployment/b/theirs/server.0.server" in refs(planned)
    assert not [ref for ref in refs(planned) if ref.startswith("Deployment/a/")]
    return "\n".join(map(str, planned.invalid))


# -- D1: secrets of others ---------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["$secret", "$after", "$join", "$attribute"])
def test_d1_an_input_can_not_pretend_to_be_one_of_our_marks(key: str, lab: Lab) -> None:
    said = problems(lab, (MINE, deployment(more={key: "env:HOME"})))
    assert f"`more` has the key `{key}`" in said
    assert "deployments/a/mine.yaml:6:20" in said


@pytest.mark.parametrize("key", ["$secret", "$after", "$join"])
def test_d1_neither_can_a_template(key: str, lab: Lab) -> None:
    text = TEMPLATE.replace("{get_input: text}", f'{{{key}: "file:/etc/hostname"}}')
    said = problems(lab, (SERVICE.replace("note", "evil"), text), (MINE, deployment(service="evil")))
    assert "keys that begin with $ are not for templates" in said


@pytest.mark.parametrize("reference", ["env:HOME", "file:/etc/hostname", "age:/etc/hostname"])
def test_d1_a_group_names_only_what_the_operator_lists(reference: str, lab: Lab) -> None:
    lab.commit({MINE: deployment(text={"secret": reference})})
    planned = lab.plan()
    condition = planned.conditions[Ref("Deployment", "a", "mine")]
    assert (condition.reason, f"may not name the secret {reference}" in condition.message) == (
        "SecretMissing",
        True,
    )
    assert not [ref for ref in refs(planned) if ref.startswith("Deployment/a/")]


@pytest.mark.parametrize(
    "reference", ["generated:password:Deployment/b/theirs#text:1", "file:relative", "file:/a#b#c"]
)
def test_d1_what_is_generated_for_others_can_not_be_named(reference: str, lab: Lab) -> None:
    said = problems(lab, (MINE, deployment(text={"secret": reference})))
    assert "`text` does not say where the secret is kept" in said


def test_d1_a_pattern_of_the_operator_does_not_lead_out_of_its_folder(lab: Lab) -> None:
    settings = lab.files["reconciler.yaml"] + "secrets:\n  a: ['file:/srv/a/*']\n"
    lab.commit(
        {"reconciler.yaml": settings, MINE: deployment(text={"secret": "file:/srv/a/../../etc/hostname"})}
    )
    condition = lab.plan().conditions[Ref("Deployment", "a", "mine")]
    assert "without `.`, `..` and `//`" in condition.message


LIE = {
    "said": {"$secret": "file:/etc/hostname"},
    "deep": [{"x": {"$after": "Deployment/b/t/n.server#address"}}],
}


@pytest.mark.parametrize("name", ["said", "deep", "deep.0", "deep.0.x"])
def test_d1_what_a_machine_says_is_never_opened(name: str) -> None:
    """Else a machine could answer with a reference, and be sent the secret as a variable of its next role."""
    wish = {"text": {"$after": f"Deployment/a/mine/n.configuration#{name}"}}
    spec = resolve(wish, lambda _ref, attribute: attribute_of(LIE, attribute))
    assert opened(spec, lambda _reference: "open sesame") == (wish, ())


# -- D2: crashing everybody's pass -------------------------------------------------------------------


def test_d2_no_machines_and_outputs_of_theirs(lab: Lab) -> None:
    """Zero machines is a wish like another; what would be told of them is not there."""
    lab.drop("deployments/b/theirs.yaml")
    lab.commit({MINE: deployment(count=0)})
    assert lab.apply().exit_code == ExitCode.CONVERGED
    assert outputs(lab.request(), Ref("Deployment", "a", "mine")) == {"said": None}
    assert not lab.plan().plan.changes


@pytest.mark.parametrize(
    "steps", ["[server, private_address, abc]", "[server, private_address, -7]", "[server, instances, 0, x]"]
)
def test_d2_outputs_that_lead_nowhere(steps: str, lab: Lab) -> None:
    lab.drop("deployments/b/theirs.yaml")
    lab.commit({SERVICE: TEMPLATE.replace("[note, said]", steps), MINE: deployment(count=1)})
    lab.plan()
    assert outputs(lab.request(), Ref("Deployment", "a", "mine")) == {"said": None}


@pytest.mark.parametrize("name", ["a/b", "a#b", "../..", "n.0", "x" * 64, "a b"])
def test_d2_names_of_nodes_that_are_no_piece_of_a_ref(name: str, lab: Lab) -> None:
    text = TEMPLATE.replace("    note:\n", f"    {json.dumps(name)}:\n").replace(
        "[note,", f"[{json.dumps(name)},"
    )
    said = problems(lab, (SERVICE.replace("note", "evil"), text), (MINE, deployment(service="evil")))
    assert "can't be the name of a node" in said
    assert "catalogue/evil/template.yaml:11:5" in said


def test_d2_a_node_can_not_take_the_place_of_the_first_role(lab: Lab) -> None:
    text = TEMPLATE.replace("    note:\n", "    server-base:\n").replace("[note,", "[server-base,")
    said = problems(lab, (SERVICE.replace("note", "evil"), text), (MINE, deployment(service="evil")))
    assert "`server-base` is taken" in said


@pytest.mark.parametrize("count", [1001, 10**9, -1])
def test_d2_more_machines_than_anybody_has(count: int, lab: Lab) -> None:
    assert "expected a whole number from 0 to 1000" in problems(lab, (MINE, deployment(count=count)))


def test_d2_a_thousand_machines_are_placed_nowhere(lab: Lab) -> None:
    lab.commit({MINE: deployment(count=1000)})
    planned = lab.plan()
    assert "no room: " in planned.conditions[Ref("Deployment", "a", "mine")].message
    assert "Deployment/b/theirs/server.0.server" in refs(planned)


# -- D3: names and places ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "location", ["/", "/../../x", "/a/../b", "/a:/etc", "/a,b", "a", "//a", "/a/.", "/a b", "/é", "/a\n"]
)
def test_d3_volumes_stay_in_their_machine(location: str, lab: Lab) -> None:
    said = problems(lab, (MINE, deployment(location=location)))
    assert "the volume `disk` needs an absolute `location`" in said or "control character" in said


def test_d3_accounts_hold_no_references(lab: Lab) -> None:
    node = (
        "type: tosca.nodes.indigo.Compute\n      properties: {os_users: [{os_user_name: {get_input: text}}]}"
    )
    text = TEMPLATE.replace("type: tosca.nodes.indigo.Compute", node)
    mine = deployment(service="evil", text={"generate": "password"})
    assert "accounts can't hold secrets" in problems(
        lab, (SERVICE.replace("note", "evil"), text), (MINE, mine)
    )


@pytest.mark.parametrize("variable", ["ansible_connection", "reconciler_root", "nginx_page"])
def test_d3_a_role_takes_its_own_variables_only(variable: str, lab: Lab) -> None:
    text = TEMPLATE.replace("{note_text:", f"{{{variable}: x, note_text:")
    said = problems(lab, (SERVICE.replace("note", "evil"), text), (MINE, deployment(service="evil")))
    assert f"the role has no variable {variable}" in said


@pytest.mark.parametrize("role", ["../../tmp", "/etc", "note/../note", "{{ x }}"])
def test_d3_roles_are_named_not_pointed_at(role: str, lab: Lab) -> None:
    text = TEMPLATE.replace("role: note", f"role: {json.dumps(role)}")
    said = problems(lab, (SERVICE.replace("note", "evil"), text), (MINE, deployment(service="evil")))
    assert "can't be the role of" in said


# -- D4: templates that read or hang -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[reconciler_types]", "[/etc/passwd]", "is not fetched"),
        ("[reconciler_types]", "['http://127.0.0.1:9/types.yaml']", "is not fetched"),
        ("[reconciler_types]", "[{x: {file: /etc/passwd}}]", "is not fetched"),
        (
            "properties: {role",
            "interfaces: {Standard: {create: /bin/sh}}\n      properties: {role",
            "not run",
        ),
        ("metadata:", f"description: {'[' * 70}{']' * 70}\nmetadata:", "nested deeper"),
    ],
)
def test_d4_nothing_is_fetched_read_or_run(old: str, new: str, said: str, lab: Lab) -> None:
    text = TEMPLATE.replace(old, new)
    assert said in problems(lab, (SERVICE.replace("note", "evil"), text), (MINE, deployment(service="evil")))


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*", "(a|aa){1,99}$", "a*a*a*a*a*a*b", r"(a*)*\1"])
def test_d4_a_pattern_does_not_hold_up_anybody(pattern: str, lab: Lab) -> None:
    began = time.monotonic()
    constrained = f"text: {{type: string, constraints: [{{pattern: {json.dumps(pattern)}}}]}}"
    text = TEMPLATE.replace("text: {type: string, default: hello}", constrained)
    mine = deployment(service="evil", text="a" * 60 + "!")
    assert "must match the pattern" in problems(lab, (SERVICE.replace("note", "evil"), text), (MINE, mine))
    assert time.monotonic() - began < 8


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (r"^[a-z]([-a-z0-9]*[a-z0-9])?$", "a-b", "a-"),
        (r"^\S+@\S+\.\S+$", "a@b.c", "a@b"),
        (r"([a-z0-9]+\.)+[a-z]+", "www.example.org", "www."),
        (r"[a-z*+]+", "a+*", "A"),
        (r"(?P<q>['\"]).*(?P=q)", "'x'", "'x\""),
    ],
)
def test_d4_patterns_in_use_mean_what_they_did(pattern: str, yes: str, no: str) -> None:
    assert (matches(re.compile(pattern), yes), matches(re.compile(pattern), no)) == (True, False)


# -- D5: branches that are not trusted ---------------------------------------------------------------


def test_d5_a_role_of_a_branch_is_not_used(lab: Lab) -> None:
    lab.git("branch", "trusted")
    evil = {name.replace("note", "evil"): text.replace("note_", "evil_") for name, text in ROLE.items()}
    lab.commit(
        {**evil, SERVICE: TEMPLATE.replace("role: note", "role: evil").replace("note_text", "evil_text")}
    )
    said = "\n".join(map(str, lab.plan(trusted_ref="trusted").invalid))
    assert "is configured by the role 'evil', which there is not" in said


def test_d5_links_in_roles_and_catalogue_are_not_followed(lab: Lab) -> None:
    for path in ("roles/note/files", "catalogue/other"):
        (lab.repository / path).mkdir(parents=True, exist_ok=True)
    os.symlink("/etc/passwd", lab.repository / "roles/note/files/stolen")
    os.symlink("/etc/passwd", lab.repository / "catalogue/other/template.yaml")
    lab.git("add", "--all")
    lab.git("commit", "--quiet", "--message", "links")
    repository = open_repository(str(lab.repository), lab.root)
    snapshot = load(repository, repository.resolve("HEAD"), None)
    folder = Path(laid_down(snapshot))
    assert sorted(file.name for file in folder.rglob("*") if file.is_file()) == sorted(
        Path(name).name for name in ROLE
    )
    assert {problem.path for problem in snapshot.problems} == {
        "catalogue/other/template.yaml",
        "roles/note/files/stolen",
    }


def test_d5_paths_that_lead_out_of_the_folder_of_roles_are_not_written(lab: Lab, tmp_path: Path) -> None:
    """git itself does not make such trees; who writes objects by hand can."""
    repository = open_repository(str(lab.repository), lab.root)
    snapshot = load(repository, repository.resolve("HEAD"), None)
    blob = snapshot.library["roles/note/tasks/main.yml"]
    for path in ("roles/../../escaped.yml", "roles//escaped.yml", "roles/note/../../../escaped.yml"):
        bad = replace(snapshot, library={path: blob}, read=lambda _paths: iter([b"x"]))
        with pytest.raises(Denied, match="is no path of a file of a role"):
            laid_down(bad)
    assert not [*lab.root.rglob("escaped.yml")]


def test_d5_a_large_file_of_a_role_is_not_cut_off(lab: Lab) -> None:
    """Half a program would be laid down, and run."""
    lab.commit({"roles/note/files/program": "x" * 3 * 2**20})
    said = "\n".join(map(str, lab.plan().invalid))
    assert "roles/note/files/program" in said
    assert "larger than" in said


def test_d1_nothing_an_author_writes_becomes_a_template(lab: Lab, tmp_path: Path) -> None:
    """Through the whole line: onto the machine as it was written."""
    text = "{{ lookup('ansible.builtin.pipe', 'touch " + str(tmp_path / "ran") + "') }}{% raw %}"
    lab.drop("deployments/b/theirs.yaml")
    lab.commit({MINE: deployment(text=text)})
    assert lab.apply().exit_code == ExitCode.CONVERGED
    assert [note.read_text() for note in lab.data.rglob("note.txt")] == [text]
    assert not (tmp_path / "ran").exists()
