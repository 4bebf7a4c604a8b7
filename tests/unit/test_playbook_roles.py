"""What a role says of itself, and whether variables fit it: read and judged without running anything."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.library import Library
from reconciler.placement.inspection import problems_of
from reconciler.playbook.arguments import check_arguments
from reconciler.playbook.roles import builtin_roles, files_of, read_role
from reconciler.playbook.tasks import Setting, task_flaws
from reconciler.playbook.tasks_modules import installed
from reconciler.source.catalogue import read_catalogue
from tests.unit.paper import deployment, library

CANARY = "canary-5d1f0c77b2"

_OPTIONS = b"argument_specs:\n  main:\n    options:\n"
GOOD = {
    "tasks/main.yml": b"[]\n",
    "tasks/remove.yml": b"[]\n",
    "meta/reconciler.yml": b"rootless: true\nremovable: true\ndescription: A page\n",
    "meta/argument_specs.yml": _OPTIONS + b"      web_port: {type: int, default: 80}\n",
}


def test_a_role_is_read() -> None:
    found, problems = read_role("web", GOOD)
    assert problems == []
    assert found is not None
    assert (found.rootless, found.removable, found.description) == (True, True, "A page")
    assert found.options == {"web_port": {"type": "int", "default": 80}}
    assert len(found.content) == 12


def test_content_changes_with_every_name_and_byte() -> None:
    variants: list[dict[str, bytes]] = [GOOD, {**GOOD, "files/a": b""}, {**GOOD, "files/b": b""}]
    variants += [{**GOOD, "files/a": b"b"}, {**GOOD, "tasks/main.yml": b"[] \n"}]
    found = [read_role("web", files)[0] for files in variants]
    assert len({entry.content for entry in found if entry}) == len(variants)
    turned = read_role("web", dict(reversed(GOOD.items())))[0]
    assert turned is not None
    assert found[0] is not None
    assert turned.content == found[0].content


@pytest.mark.parametrize(
    ("file", "text", "place", "message"),
    [
        ("meta/reconciler.yml", b"a: 1\nrootles: true\n", 1, "unknown key a"),
        ("meta/reconciler.yml", b"rootless: maybe\n", 1, "rootless must be true or false"),
        ("meta/reconciler.yml", b"\n- 1\n", 2, "one mapping is expected"),
        ("meta/reconciler.yml", b"x: [\n", 2, "YAML"),
        ("meta/argument_specs.yml", b"argument_specs:\n  man: {}\n", 1, "a mapping main is expected"),
        (
            "meta/argument_specs.yml",
            b"argument_specs:\n  main:\n    options:\n      port: {}\n",
            4,
            "must begin with web_",
        ),
        (
            "meta/argument_specs.yml",
            b"argument_specs:\n  main:\n    options:\n      web_x:\n        type: strr\n",
            5,
            "unknown type strr",
        ),
    ],
)
def test_what_is_wrong_with_a_role_has_its_line(file: str, text: bytes, place: int, message: str) -> None:
    found, problems = read_role("web", {**GOOD, file: text})
    assert found is None
    assert message in problems[0].message or problems[0].code == "Syntax"
    assert (problems[0].path, problems[0].line) == (f"roles/web/{file}", place)


def test_a_role_needs_its_files() -> None:
    files = {name: data for name, data in GOOD.items() if not name.startswith("tasks/")}
    messages = [problem.message for problem in read_role("web", files)[1]]
    assert messages == ["role web has no tasks/main.yml", "the role is removable but has no tasks/remove.yml"]
    assert "no name of a role" in read_role("We b", GOOD)[1][0].message
    assert read_role("web", {"tasks/main.yml": b""})[0] is not None


def test_the_roles_that_ship_are_well_described(tmp_path: Path) -> None:
    for name, found in builtin_roles().items():
        assert found.name == name
        assert found.description


def test_hidden_files_are_no_part_of_a_role(tmp_path: Path) -> None:
    for path in (".git/config", "tasks/main.yml", "meta/.hidden.yml", "files/__pycache__/a.pyc"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x")
    assert list(files_of(str(tmp_path))) == ["tasks/main.yml"]


COPY = b"- ansible.builtin.copy: {src: a, dest: b}\n"
MISTAKES = {  # file, text, line, message, hint
    "a tab": ("tasks/main.yml", b"- name: x\n\tansible.builtin.copy: {}\n", 2, "a tab", "use spaces"),
    "an open bracket": ("handlers/main.yml", b"- meta: [\n", 2, "bracket", "close it"),
    "another tag": ("vars/main.yml", b"web_x: 1\nweb_y: !secret x\n", 2, "no tag `!secret`", "quote"),
    "twice": ("tasks/main.yml", COPY + b"  when: a\n  when: b\n", 3, "`when` is given twice", "keep one"),
    "no quotes": ("defaults/main.yml", b"web_x: {{ web_y }}\n", 1, "must be in quotes", '"{{ … }}"'),
    "two documents": ("tasks/more.yaml", b"[]\n---\n[]\n", 3, "more than one document", ""),
    "tasks in a mapping": ("tasks/main.yml", b"name: x\nping:\n", 1, "must be a list of tasks", "`- `"),
    "tasks as text": ("tasks/a/b.yml", b"- ping:\n- x\n", 2, "a task must be a mapping", "name"),
    "defaults in a list": ("defaults/main.yml", b"\n- web_x: 1\n", 2, "one mapping is expected", "`-`"),
    "vars in a list": ("vars/a.yaml", b"- web_x: 1\n", 1, "one mapping is expected", "`-`"),
    "meta in a list": ("meta/main.yml", b"- galaxy_info: 1\n", 1, "one mapping is expected", ""),
    "a keyword": ("tasks/main.yml", COPY + b"  wen: x\n", 2, "`wen` is no keyword of a task", "'when'"),
    "a keyword first": (
        "tasks/main.yml",
        b"- wen: x\n  ping:\n",
        1,
        "`wen` is no keyword of a task",
        "'when'",
    ),
    "an argument": ("tasks/main.yml", COPY + b"  mode: x\n", 2, "`mode` is no keyword", "below its name"),
    "for handlers": ("tasks/main.yml", COPY + b"  listen: x\n", 2, "`listen` is no keyword of a task", ""),
    "for includes": (
        "tasks/main.yml",
        b"- include_tasks: x.yml\n  become: no\n",
        2,
        "`become` is no",
        "apply",
    ),
    "beside action": ("tasks/main.yml", b"- action: ping\n  wen: x\n", 2, "`wen` is no keyword", "'when'"),
    "in a block": (
        "tasks/main.yml",
        b"- block:\n  - ping:\n  loop: []\n",
        3,
        "no keyword of a block",
        "tasks in",
    ),
    "below a block": (
        "tasks/main.yml",
        b"- block:\n  - ping:\n    wen: x\n",
        3,
        "`wen` is no keyword",
        "'when'",
    ),
    "below rescue": (
        "handlers/main.yml",
        b"- block: []\n  rescue:\n  - ping:\n  - block:\n    - ping:\n    always:\n    - pong:\n",
        7,
        "no module `pong`",
        "'ping'",
    ),
    "a block of one": ("tasks/main.yml", b"- block:\n    ping:\n", 1, "a block must be a list of tasks", ""),
    "no block": ("tasks/main.yml", b"- rescue:\n  - ping:\n", 1, "no `block` here", "below `block`"),
    "no module": ("tasks/main.yml", COPY + b"- name: x\n  when: y\n", 2, "the task has no module", ""),
    "two modules": ("tasks/main.yml", b"- ping:\n  command: x\n", 2, "this one has ping and command", "two"),
    "no such module": ("tasks/main.yml", b"- coppy:\n", 1, "no module `coppy`", "'copy'"),
    "not in core": (
        "tasks/main.yml",
        b"- ansible.builtin.fiel:\n",
        1,
        "`ansible.builtin.fiel`",
        "builtin.file'",
    ),
    "not ours in core": ("tasks/main.yml", b"- ansible.builtin.own:\n", 1, "`ansible.builtin.own`", ""),
    "two parts": ("tasks/main.yml", b"- builtin.copy:\n", 1, "no module `builtin.copy`", "three parts"),
    "by action": ("tasks/main.yml", b"- action: coppy src=a dest=b\n", 1, "no module `coppy`", "'copy'"),
    "by local_action": ("tasks/main.yml", b"- local_action: {module: coppy}\n", 1, "no module `coppy`", ""),
    "no such collection": (
        "tasks/main.yml",
        b"- a.bc.d.e:\n",
        1,
        "collection a.bc is not installed here",
        "builtin",
    ),
    "gone to one": (
        "tasks/main.yml",
        b"- ufw:\n",
        1,
        "collection community.general is not installed",
        "builtin",
    ),
    "root": (
        "tasks/main.yml",
        COPY + b"  become: yes\n",
        2,
        "a private directory has no root",
        "take `become` out",
    ),
    "root of a block": ("tasks/main.yml", b"- block: []\n  become: True\n", 2, "has no root", "run as root"),
    "root as a variable": (
        "tasks/main.yml",
        COPY + b"  vars:\n    ansible_become: 1\n",
        3,
        "has no root",
        "",
    ),
    "root of what comes": (
        "tasks/main.yml",
        b"- include_role:\n    name: x\n    apply:\n      become: true\n",
        4,
        "has no root",
        "",
    ),
    "a default": (
        "defaults/main.yml",
        b"web_x: 1\nport: 2\n",
        2,
        "port must begin with web_",
        "call it web_port",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_role_is_one_problem_at_its_line(mistake: str) -> None:
    file, text, line, message, hint = MISTAKES[mistake]
    found, problems = read_role("web", {**GOOD, "library/own.py": b"", file: text})
    assert found is None
    assert [(problem.path, problem.line) for problem in problems] == [(f"roles/web/{file}", line)]
    assert message in problems[0].message
    assert hint in problems[0].hint


FINE = {
    "nothing": ("tasks/main.yml", b"---\n# later\n"),
    "no defaults": ("defaults/main.yml", b""),
    "what Ansible's YAML has": (
        "vars/main.yml",
        (
            b"base: &base {1: a, yes: b}\nweb_a: {<<: *base, c: 0644}\nweb_b: !unsafe '{{ x }}'\n"
            b'web_c: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  61\nweb_d: "\\e[1m"\n'
        ),
    ),
    "an encrypted file": ("vars/secret.yml", b"$ANSIBLE_VAULT;1.1;AES256\n6162\n"),
    "a module from an anchor": (
        "tasks/main.yml",
        b"- &it {name: x, ping: }\n- <<: *it\n  name: y\n- {<<: [*it], <<: {when: z}}\n",
    ),
    "every way to say a module": (
        "tasks/main.yml",
        (
            b"- copy: {src: a}\n- ansible.builtin.copy: {src: a}\n- ansible.legacy.copy: {src: a}\n- own:\n"
            b"- action: copy src=a\n- local_action: {module: copy, src: a}\n- action: '{{ x }} a=b'\n- yum:\n"
        ),
    ),
    "includes": (
        "tasks/main.yml",
        (
            b"- include_tasks: {file: a.yml, apply: {become: no}}\n  loop: [a]\n"
            b"- import_tasks: a\n  become: no\n"
            b"- include_role: {name: a, public: yes}\n  when: x\n- ansible.builtin.import_role: {name: a}\n"
        ),
    ),
    "loops": ("tasks/main.yml", COPY + b"  with_items: [a]\n" + COPY + b"  with_a.b.c: [a]\n"),
    "blocks": ("tasks/main.yml", b"- block:\n  - ping:\n  rescue: [{ping: }]\n  always: []\n  when: x\n"),
    "handlers": ("handlers/main.yml", COPY + b"  listen: x\n- meta: noop\n  name: x\n"),
    "no root": (
        "tasks/main.yml",
        COPY + b"  become: no\n" + COPY + b"  become: '{{ not reconciler_rootless }}'\n",
    ),
    "names of defaults": ("defaults/main.yml", b"web_x: 1\n_web_y: 2\n__web_z: 3\nreconciler_root: ''\n"),
    "names of vars": ("vars/main.yml", b"x: 1\n"),
    "other files": ("templates/main.yml", b"{{ x }}\n\t"),
    "hidden files": ("tasks/.main.yml", b"\t"),
    "by its collections": ("tasks/main.yml", b"- coppy:\n  collections: [a.b]\n"),
}


@pytest.mark.parametrize("what", FINE)
def test_what_ansible_takes_is_no_problem(what: str) -> None:
    file, text = FINE[what]
    assert read_role("web", {**GOOD, "library/own.py": b"", file: text})[1] == []


def test_root_is_no_problem_on_real_machines() -> None:
    files = {
        **GOOD,
        "meta/reconciler.yml": b"removable: true\n",
        "tasks/main.yml": COPY + b"  become: true\n",
    }
    assert read_role("web", files)[1] == []


def test_a_module_of_another_role_may_be_used_by_who_depends_on_it() -> None:
    files = {**GOOD, "tasks/main.yml": b"- theirs:\n", "meta/main.yml": b"dependencies: [other]\n"}
    assert read_role("web", files)[1] == []
    assert len(read_role("web", {**files, "meta/main.yml": b"dependencies: []\n"})[1]) == 1
    wrong = {**files, "tasks/main.yml": COPY + b"  wen: x\n"}
    assert [problem.line for problem in read_role("web", wrong)[1]] == [2]


def test_a_collection_that_is_there_is_no_problem(tmp_path: Path) -> None:
    (tmp_path / "community/general/plugins/modules").mkdir(parents=True)
    here = installed()
    assert here is not None
    setting = Setting(replace(here, collections=(str(tmp_path),)))
    assert list(task_flaws([{"community.general.ufw": ""}, {"ufw": ""}], setting)) == []
    assert len(list(task_flaws([{"community.docker.x": ""}], setting))) == 1


def test_without_ansible_nothing_is_said_of_modules_but_of_keywords() -> None:
    nothing = Setting(None)
    assert list(task_flaws([{"coppy": ""}, {"a.b.c": ""}, {"ansible.builtin.fiel": ""}], nothing)) == []
    [(path, message, hint)] = task_flaws([{"ansible.builtin.copy": "", "wen": ""}], nothing)
    assert (path, hint) == ((0, "wen"), "did you mean 'when'?")
    assert "wen" in message
    assert [path for path, _, _ in task_flaws([{"copy": "", "wen": ""}], nothing)] == [(0, "wen")]
    assert [path for path, _, _ in task_flaws([{"src": "x", "a.b.c": ""}], nothing)] == [(0, "src")]


LOOKS = """
import sys
if sys.argv[1] == "absent":
    sys.modules["ansible"] = None
from reconciler.playbook.roles import read_role
print(len(read_role("web", {"tasks/main.yml": b"- coppy:\\n- a.b.c:\\n"})[1]))
print(sorted(name for name in sys.modules if name.startswith("ansible") and sys.modules[name]))
"""


@pytest.mark.parametrize(("ansible", "said"), [("there", "2\n[]\n"), ("absent", "0\n[]\n")])
def test_modules_are_looked_up_without_loading_ansible(ansible: str, said: str) -> None:
    command = [sys.executable, "-c", LOOKS, ansible]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == (said, "")


WORDS = """
from ansible.playbook.block import Block
from ansible.playbook.handler import Handler
from ansible.playbook.task import Task
from ansible.playbook.task_include import TaskInclude
from reconciler.playbook import tasks_words as ours
inner = {"async_val", "loop_with"}  # what is in no documentation
assert ours.TASK == {*Task.fattributes, "local_action"} - inner
assert ours.HANDLER == {*Handler.fattributes, "local_action"} - inner
assert ours.BLOCK == set(Block.fattributes)
assert ours.INCLUDE == {*TaskInclude.VALID_INCLUDE_KEYWORDS, "listen", "local_action"} - inner
"""


def test_the_keywords_are_those_of_the_ansible_that_runs_roles() -> None:
    command = [sys.executable, "-c", WORDS]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_very_many_mistakes_are_told_in_part() -> None:
    files = {**GOOD, "tasks/main.yml": b"- {ping: , wen: x}\n" * 5000}
    assert len(read_role("web", files)[1]) == 100


def test_untrusted_names_are_printable() -> None:
    files = {**GOOD, "tasks/main.yml": b'- {ping: , "\\e[2J": x}\n- "a.b\\e.c": x\n- "\\e.c": \n'}
    problems = read_role("web", files)[1]
    assert len(problems) == 3
    assert all((problem.message + problem.hint).isprintable() for problem in problems)


SILENT = """\
tosca_definitions_version: tosca_simple_yaml_1_0
metadata: {template_version: 1.0.0}
topology_template:
  node_templates:
    machine: {type: tosca.nodes.indigo.Compute}
    queue:
      type: tosca.nodes.reconciler.Role
      properties: {role: queue}
      requirements: [{host: machine}]
"""


def test_variables_for_a_role_that_describes_none_are_one_problem() -> None:
    known = library()
    bare = {name: replace(role, described=False) for name, role in known.roles.items()}
    found = list(problems_of(deployment(), Library(known.services, bare)))
    assert [message.partition(": ")[2] for _, message, _ in found] == [
        f"roles/{name}/meta/argument_specs.yml is missing" for name in ("queue", "agent")
    ]
    described = [message for _, message, _ in problems_of(deployment(), known)]
    assert len(described) == 4
    assert all("has no variable" in message for message in described)


def test_a_role_without_variables_needs_no_description() -> None:
    files = {"catalogue/farm/template.yaml": SILENT.encode()}
    services = read_catalogue(files).services
    bare = {name: replace(role, described=False) for name, role in library().roles.items()}
    assert list(problems_of(deployment(), Library(services, bare))) == []


def test_a_role_knows_whether_it_describes_its_variables() -> None:
    found = [read_role("web", files)[0] for files in (GOOD, {"tasks/main.yml": b""})]
    assert [role.described for role in found if role] == [True, False]


OPTIONS: dict[str, dict[str, Any]] = {
    "web_port": {"type": "int", "required": True},
    "web_mode": {"type": "str", "choices": ["fast", "safe"]},
    "web_key": {"type": "str", "no_log": True, "choices": ["k"]},
    "web_on": {"type": "bool"},
    "web_names": {"type": "list", "elements": "str", "choices": ["a", "b"]},
    "web_users": {
        "type": "list",
        "elements": "dict",
        "options": {"name": {"type": "str", "required": True}, "id": {"type": "int"}},
    },
}
LATER = {"$after": "Deployment/a/b/c.server#address"}


def complaints(**variables: Any) -> dict[str, str]:
    return {found.variable: found.message for found in check_arguments(OPTIONS, {"web_port": 1, **variables})}


def test_variables_that_fit() -> None:
    assert complaints() == {}
    fits = {"web_mode": "fast", "web_on": True, "web_names": ["a"], "web_users": [{"name": "n", "id": 3}]}
    assert complaints(**fits) == {}


def test_variables_that_do_not_fit() -> None:
    assert complaints(web_port="many")["web_port"].endswith("cannot be converted to an int")
    assert complaints(web_port=None) == {"web_port": "web_port is required"}
    assert check_arguments(OPTIONS, {})[0].message == "web_port is required"
    assert "must be one of: fast, safe" in complaints(web_mode="slow")["web_mode"]
    assert complaints(web_mode={"a": 1}) == {"web_mode": "web_mode must be text, not a mapping"}
    assert complaints(web_on="yes") == {"web_on": "web_on must be true or false, not text"}
    assert complaints(web_names="a,b") == {"web_names": "web_names must be a list, not text"}
    assert "web_names" in complaints(web_names=["c"])
    assert "missing required arguments: name" in complaints(web_users=[{"id": 1}])["web_users"]
    assert CANARY not in complaints(web_key=CANARY)["web_key"]


def test_an_unknown_variable_is_guessed() -> None:
    [found] = check_arguments(OPTIONS, {"web_port": 1, "web_prot": 2})
    assert (found.message, found.hint) == ("the role has no variable web_prot", "did you mean 'web_port'?")


@pytest.mark.parametrize(
    "late", [LATER, {"$join": ["a", LATER]}, {"$secret": "x"}, {"$attribute": ["a", "b"]}]
)
def test_what_is_not_known_yet_fits(late: dict[str, Any]) -> None:
    assert check_arguments(OPTIONS, {"web_port": late}) == ()
    assert complaints(web_mode=late, web_on=late, web_names=late, web_users=late) == {}
    assert complaints(web_names=["a", late], web_users=[{"name": late, "id": late}, late]) == {}
    assert "web_users" in complaints(web_users=[{"name": late, "id": "x"}])
    assert "web_names" in complaints(web_names=[late, "c"])
