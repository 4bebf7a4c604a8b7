"""The catalogue of a repository: its services, bad ones among them, and the command that shows them."""

from __future__ import annotations

import json
import subprocess
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli import catalogue as command
from reconciler.cli.parser import Parser, add_common
from reconciler.errors import ExitCode, UsageError
from reconciler.playbook.arguments import check_arguments
from reconciler.playbook.roles import builtin_roles
from reconciler.source.catalogue import catalogue_at, catalogue_of, is_catalogue_file, read_catalogue
from reconciler.source.git import open_repository
from reconciler.strict_yaml import read
from reconciler.tosca.check import check
from reconciler.tosca.flaw import FlawError
from reconciler.tosca.inputs import resolve
from reconciler.tosca.services import find
from reconciler.tosca.topology import Topology
from reconciler.tosca.topology import compile as compile_topology

SAMPLE = Path(__file__).parents[2] / "sample-config-repo"
TEMPLATE = """\
tosca_definitions_version: tosca_simple_yaml_1_0
description: a machine
metadata: {template_version: %s}
topology_template:
  inputs: {cores: {type: integer, description: "how  many\\n cores"}}
  node_templates: {machine: {type: tosca.nodes.indigo.Compute}}
"""


def template(version: str = "1.0.0") -> bytes:
    return (TEMPLATE % version).encode()


def sample() -> dict[str, bytes]:
    folder = SAMPLE / "catalogue"
    return {str(path.relative_to(SAMPLE)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def said(files: dict[str, bytes]) -> list[str]:
    return [str(problem) for problem in read_catalogue(files).problems]


# ── reading ─────────────────────────────────────────────────────────────────────────────────────


def test_the_newest_version_comes_first_and_older_ones_stay() -> None:
    found = read_catalogue(
        {
            "catalogue/vm/template.yaml": template("1.10.0"),
            "catalogue/vm/1.9.0/tosca.yml": template("1.9.0"),
            "catalogue/vm/1.2.0/template.yml": template("1.2.0"),
        }
    )
    assert found.problems == ()
    assert list(found.services["vm"]) == ["1.10.0", "1.9.0", "1.2.0"]
    assert find(found, "vm").version == "1.10.0"
    assert find(found, "vm", "1.9.0").path == "catalogue/vm/1.9.0/tosca.yml"


def test_a_service_that_is_not_there_is_guessed() -> None:
    found = read_catalogue(
        {"catalogue/jupyterlab/template.yaml": template(), "catalogue/bad/tosca.yaml": b"a"}
    )
    with pytest.raises(FlawError, match="no service `jupyterlb`") as error:
        find(found, "jupyterlb")
    assert error.value.flaw.hint == "did you mean 'jupyterlab'?"
    with pytest.raises(FlawError, match="no version `2") as error:
        find(found, "jupyterlab", "2.0.0")
    assert error.value.flaw.hint == "there are 1.0.0"
    with pytest.raises(FlawError) as error:
        find(found, "bad")
    assert error.value.flaw.hint == "its files have problems"


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        (
            {"template.yaml": b"a: [1"},
            "catalogue/bad/template.yaml:2:1: not YAML: a bracket that is never closed",
        ),
        ({"template.yaml": b"a: 1\na: 2"}, "catalogue/bad/template.yaml:2:1: the key `a` is given twice"),
        ({"parameters.yml": b"inputs: {}"}, "there is no template.yaml beside it"),
        (
            {"template.yaml": template(), "tosca.yaml": template()},
            "there is also catalogue/bad/template.yaml",
        ),
        ({"template.yaml": template("1.0")}, "`metadata.template_version` is 1.0"),
        ({"template.yaml": template("01.0.0")}, "`metadata.template_version` is 01.0.0"),
        ({"template.yaml": b"[]"}, "`tosca_definitions_version` is missing"),
        ({"template.yaml": b"tosca_definitions_version: 2.0"}, "`tosca_definitions_version` is 2.0"),
        ({"template.yaml": template(), "parameters.yml": b"inputs: []"}, ""),
        ({"template.yaml": template(), "parameters.yml": b"inputs: [1]"}, "must be a mapping with `inputs`"),
        ({"template.yaml": template(), "parameters.yml": b"inputs: {cores: 1}"}, "`cores` must be a mapping"),
        ({"template.yaml": template(), "metadata.yml": b"metadata: [1]"}, "`metadata` must be a mapping"),
        ({"2.0.0/template.yaml": template()}, "the folder says version 2.0.0, the template 1.0.0"),
        (
            {"template.yaml": template(), "1.0.0/template.yaml": template()},
            "the version 1.0.0 of bad is also in",
        ),
    ],
)
def test_a_bad_service_is_told_and_hurts_no_other(files: dict[str, bytes], problem: str) -> None:
    whole = {f"catalogue/bad/{name}": data for name, data in files.items()}
    found = read_catalogue({**whole, "catalogue/good/template.yaml": template()})
    assert "good" in found.services
    assert problem in "\n".join(map(str, found.problems))
    assert bool(found.problems) == bool(problem)
    assert all("catalogue/good" not in entry.path for entry in found.problems)


def test_all_flaws_of_a_template_come_at_once() -> None:
    text = TEMPLATE.replace("type: integer", "type: intger").replace("indigo.Compute", "indigo.Comput") % "x"
    found = said({"catalogue/bad/template.yaml": text.encode()})
    assert [line.split(":")[1] for line in found] == ["3", "5", "6"]
    assert "did you mean 'tosca.nodes.indigo.Compute'?" in found[2]


def test_the_name_of_a_folder_is_that_of_a_service() -> None:
    assert "lower-case letters" in said({"catalogue/Bad_One/template.yaml": template()})[0]
    assert "\x1b" not in said({"catalogue/\x1b[31m/template.yaml": template()})[0]


def test_only_files_of_services_are_looked_at() -> None:
    names = ["catalogue/a/template.yaml", "catalogue/a/1.0.0/metadata.yml", "catalogue/a/parameters.yaml"]
    assert all(map(is_catalogue_file, names))
    others = [
        "catalogue/template.yaml",
        "catalogue/a/README.md",
        "x/a/template.yaml",
        "catalogue/a/b/c/tosca.yml",
    ]
    assert not any(map(is_catalogue_file, others))
    assert (
        catalogue_of({"catalogue/a/icon.png": b"\x89", "catalogue/a/template.yaml": template()}).problems
        == ()
    )


def test_the_digest_is_of_all_files_and_of_no_path() -> None:
    one = find(read_catalogue({"catalogue/a/template.yaml": template()}), "a")
    two = find(read_catalogue({"catalogue/b/1.0.0/template.yaml": template()}), "b")
    three = find(
        read_catalogue({"catalogue/a/template.yaml": template(), "catalogue/a/metadata.yml": b"{}"}), "a"
    )
    assert one.digest == two.digest != three.digest
    assert len(one.digest) == 12


def test_parameters_and_metadata_refine_the_template() -> None:
    found = find(
        read_catalogue(
            {
                "catalogue/a/template.yaml": template(),
                "catalogue/a/metadata.yml": b"metadata: {description: better, template_version: 2.0.0}",
                "catalogue/a/parameters.yml": b"inputs: {__hidden: {type: text}, "
                b"cores: {display_name: Cores, default: 4, updatable: false}}",
            }
        ),
        "a",
    )
    assert (found.version, found.description) == ("2.0.0", "better")
    assert list(found.inputs) == ["cores"]
    cores = found.inputs["cores"]
    assert (cores.default, cores.display_name, cores.updatable) == (4, "Cores", False)


# ── the sample ──────────────────────────────────────────────────────────────────────────────────


NEEDED: dict[str, dict[str, Any]] = {"jupyterlab": {}, "slurm": {"workers": 3}, "web": {"page": "Hello"}}


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_the_services_of_the_sample_are_whole(name: str) -> None:
    found = catalogue_of(sample())
    assert found.problems == ()
    assert sorted(found.services) == sorted(NEEDED)
    service = find(found, name)
    values, problems = resolve(service, NEEDED[name], "Deployment/cms/x")
    assert problems == ()
    assert check(service, values) == ()
    made = compile_topology(service, values)
    assert isinstance(made, Topology)
    roles = builtin_roles()
    for software in made.software.values():
        if software.role in roles:
            assert check_arguments(roles[software.role].options, software.variables) == ()


def test_the_front_of_the_web_waits_for_what_is_behind_it() -> None:
    made = topology_of("web")
    assert made.software["proxy"].needs == {"site"}
    join = made.software["proxy"].variables["nginx_upstreams"][0]["$join"]
    assert join == [
        {"$attribute": ["backend", "private_address", 0]}, ":", {"$attribute": ["backend", "ports", "http"]},
    ]  # fmt: skip


def test_the_cluster_has_as_many_workers_as_asked_for() -> None:
    made = topology_of("slurm")
    assert made.computes["worker"].count == 3
    assert made.software["slurm_front"].variables["slurm_workers"] == {"$attribute": ["worker", "instances"]}
    assert made.software["slurm_worker"].needs == {"slurm_front"}
    keys = {
        json.dumps(made.software[name].variables["slurm_key"]) for name in ("slurm_front", "slurm_worker")
    }
    assert keys == {'{"$secret": "generated:password:Deployment/cms/x#key:1"}'}


def test_the_token_of_jupyterlab_is_a_secret_and_the_notebooks_are_on_a_volume() -> None:
    made = topology_of("jupyterlab")
    assert made.outputs["token"] == {"$secret": "generated:password:Deployment/cms/x#token:1"}
    assert made.computes["machine"].volumes == {"/data": "notebooks"}
    assert made.software["jupyter"].variables["jupyter_location"] == "/data"


def topology_of(name: str) -> Topology:
    service = find(catalogue_of(sample()), name)
    made = compile_topology(service, resolve(service, NEEDED[name], "Deployment/cms/x")[0])
    assert isinstance(made, Topology)
    return made


# ── the command ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "repository"
    for name, data in sample().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder)
    return folder


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, timeout=30)


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=x")


def run(repository: Path, *words: str) -> ExitCode:
    parser = Parser(prog="reconciler catalogue")
    command.configure(parser)
    add_common(parser)
    arguments: Namespace = parser.read([*words, "--repo", str(repository)])
    return command.execute(arguments)


def test_list_names_the_services_of_the_commit(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(repository, "list") is ExitCode.CONVERGED
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["jupyterlab", "1.0.0"],
        ["slurm", "1.0.0"],
        ["web", "1.0.0"],
    ]
    (repository / "catalogue/web/template.yaml").write_text("not committed")
    assert run(repository, "list", "--format", "json") is ExitCode.CONVERGED
    assert [entry["name"] for entry in json.loads(capsys.readouterr().out)["services"]] == sorted(NEEDED)
    commit(repository)
    assert run(repository, "list", "--quiet") is ExitCode.INVALID
    assert run(repository, "list", "--ref", "HEAD~1") is ExitCode.CONVERGED


def test_a_symbolic_link_is_not_followed(repository: Path) -> None:
    outside = repository.parent / "outside.yaml"
    outside.write_bytes(template())
    (repository / "catalogue/web/template.yaml").unlink()
    (repository / "catalogue/web/template.yaml").symlink_to(outside)
    commit(repository)
    opened = open_repository(str(repository), repository.parent / "cache")
    found = catalogue_at(opened, opened.resolve("HEAD"))
    assert sorted(found.services) == ["jupyterlab", "slurm"]
    assert [problem.message for problem in found.problems] == ["there is no template.yaml beside it"]


def test_show_tells_inputs_outputs_and_roles(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(repository, "show", "jupyterlab@1.0.0") is ExitCode.CONVERGED
    text = capsys.readouterr().out
    assert "  num_cpus  integer, default 1, from 1 to 32\n      cores of the machine\n" in text
    assert "  token  string, secret, a password is generated\n" in text
    assert "Outputs\n  url  where JupyterLab is\n" in text
    assert text.endswith("Roles\n  jupyter  jupyter\n")
    assert run(repository, "show", "slurm", "--format", "json") is ExitCode.CONVERGED
    shown = json.loads(capsys.readouterr().out)
    assert shown["roles"] == {"slurm": ["slurm_front", "slurm_worker"]}
    assert shown["inputs"]["key"]["generated"] == "password"


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_new_is_valid_as_soon_as_the_needed_inputs_are_there(
    repository: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert run(repository, "new", name, "--group", "cms", "--name", "mine") is ExitCode.CONVERGED
    text = capsys.readouterr().out
    service = find(catalogue_of(sample()), name)
    value = read(text.encode())[0].value
    assert value["metadata"] == {"name": "mine", "group": "cms"}
    assert value["spec"]["service"] == f"{name}@1.0.0"
    needed = value["spec"].get("inputs", {})
    assert [*needed.values()] == [None] * len(needed)
    filled = dict.fromkeys(needed, "some text")
    assert resolve(service, filled, "Deployment/cms/mine")[1] == ()


def test_what_new_offers_is_valid_when_the_marks_are_taken_off(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(repository, "new", "slurm")
    lines = capsys.readouterr().out.splitlines()
    offered = [line.replace("    # ", "    ", 1) for line in lines if line.startswith("    # ")][1::2]
    inputs = read("\n".join(line.strip() for line in offered).encode())[0].value
    values, problems = resolve(find(catalogue_of(sample()), "slurm"), inputs, "Deployment/cms/mine")
    assert problems == ()
    assert list(inputs) == list(values)


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["show"], "catalogue show needs the name of a service", "reconciler catalogue list shows them"),
        (["list", "web"], "one argument too many: 'web'", "type: reconciler catalogue show web"),
        (["show", "wbe"], "the catalogue has no service `wbe`", "did you mean 'web'?"),
        (["show", "web@9.9.9"], "the service web has no version `9.9.9`", "there are 1.0.0"),
        (["show", "web", "--group", "cms"], "--group and --name are for catalogue new", ""),
    ],
)
def test_wrong_use_is_told(repository: Path, words: list[str], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as error:
        run(repository, *words)
    assert (str(error.value), error.value.hint) == (message, hint)
