"""The mistakes that people make: what they are told, which exit code, and that nothing is lost."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TypeAlias

import pytest

from reconciler import cli
from reconciler.errors import ExitCode
from reconciler.model import Condition, Ref, Word
from reconciler.report import words
from tests.conftest import GitRepository

Out: TypeAlias = pytest.CaptureFixture[str]
UPLOAD = "software/demo/hello.yaml"
RULE = "data/demo/first.yaml"


def said(capsys: Out, *arguments: str) -> tuple[int, str]:
    """The exit code, and all that was printed."""
    code = cli.main(["--quiet", *arguments])
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def edit(cloud: GitRepository, path: str, old: str, new: str) -> None:
    """Change one file and commit it."""
    text = (cloud.path / path).read_text()
    assert old in text
    cloud.commit({path: text.replace(old, new, 1)})


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out) -> GitRepository:
    """What `init` makes, applied once; we stand in it."""
    folder = tmp_path / "cloud"
    assert cli.main(["--quiet", "init", str(folder)]) == 0
    monkeypatch.chdir(folder)
    assert cli.main(["--quiet", "apply", "--no-status"]) == 0
    capsys.readouterr()
    return GitRepository(folder)


def plan_of(capsys: Out) -> tuple[int, str]:
    """The plan, the same twice."""
    first, second = said(capsys, "plan"), said(capsys, "plan")
    assert first == second
    return first


# -- in YAML -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "change", "place", "message", "hint"),
    [
        (RULE, ("source: first", "source: 2026"), ":12:11", "expected a string, found the number", '"2026"'),
        (RULE, ("copies: 2", 'copies: "2"'), ":13:11", "expected a whole number", "take the quotes off"),
        (UPLOAD, ("name: hello", "name: hello\n  locked: yes"), ":8:11", "true or false", "write true"),
        (UPLOAD, ("name: hello", "name: hello\n  labels:"), ":8:10", "found nothing", "indent what"),
        (RULE, ('"site=here"', "&site=here"), ":14:", "can't begin with `&`", "in quotes"),
        (RULE, ('"site=here"', "*"), ":14:", "can't begin with `*`", "in quotes"),
    ],
)
def test_a_slip_in_yaml_is_told_with_its_remedy(
    path: str, change: tuple[str, str], place: str, message: str, hint: str, cloud: GitRepository, capsys: Out
) -> None:
    edit(cloud, path, *change)
    code, text = said(capsys, "validate")
    assert code == ExitCode.INVALID
    for part in (f"{path}{place}", message, hint):
        assert part in text


@pytest.mark.parametrize(
    ("old", "new"), [("kind: SoftwareUpload", "kind: SoftwareUplaod"), ("group: demo", "group: dmeo")]
)
def test_a_misspelt_object_is_not_a_removed_one(
    old: str, new: str, cloud: GitRepository, capsys: Out
) -> None:
    edit(cloud, UPLOAD, old, new)
    code, text = plan_of(capsys)
    assert code == ExitCode.INVALID
    assert "RepositoryInvalid" in text
    assert "1 to delete, all held" in text
    for _ in range(2):
        assert said(capsys, "apply", "--no-status")[0] == ExitCode.INVALID
    edit(cloud, UPLOAD, new, old)
    assert "Nothing to do" in said(capsys, "plan")[1]  # it was there all the time


def test_a_hint_is_said_once(cloud: GitRepository, capsys: Out) -> None:
    cloud.commit({"reconciler.yaml": "owner: [\n"})
    code, text = plan_of(capsys)
    assert code == ExitCode.INVALID
    assert "reconciler.yaml:2:1" in text
    assert text.count("hint:") == 1


# -- in what is meant ----------------------------------------------------------------------------


def test_an_object_that_can_not_be_fails_the_plan_too(cloud: GitRepository, capsys: Out) -> None:
    text = (cloud.path / RULE).read_text().replace("site=here", "site=nowhere")
    cloud.commit({RULE: "\n".join(line for line in text.split("\n") if "suspend:" not in line)})
    code, printed = plan_of(capsys)
    assert code == ExitCode.FAILED
    assert "ExpressionSelectsNothing" in printed
    assert said(capsys, "apply", "--no-status")[0] == ExitCode.FAILED
    assert said(capsys, "plan", "--only", "SoftwareUpload/demo/hello")[0] == ExitCode.CONVERGED
    assert "next: reconciler plan --only" in said(capsys, "explain", "DataRule/demo/first")[1]


def test_a_new_owner_makes_nothing_anew(cloud: GitRepository, capsys: Out) -> None:
    settings = (cloud.path / "reconciler.yaml").read_text()
    owner = next(line for line in settings.split("\n") if line.startswith("owner:"))
    edit(cloud, "reconciler.yaml", owner, "owner: someone-else")
    for _ in range(2):  # and an apply that did nothing does not make it good
        code, text = said(capsys, "apply", "--no-status")
        assert code == ExitCode.HELD
        assert f"put `{owner}` back into reconciler.yaml" in text
    edit(cloud, "reconciler.yaml", "owner: someone-else", owner)
    assert "Nothing to do" in said(capsys, "plan")[1]


def test_a_new_owner_is_possible(cloud: GitRepository, capsys: Out) -> None:
    settings = (cloud.path / "reconciler.yaml").read_text()
    owner = next(line for line in settings.split("\n") if line.startswith("owner:"))
    edit(cloud, "reconciler.yaml", owner, "owner: someone-else")
    digest = said(capsys, "plan")[1].rstrip().rpartition(" ")[2]
    assert said(capsys, "apply", "--no-status", "--approve", digest)[0] == ExitCode.CONVERGED
    assert "Nothing to do" in said(capsys, "apply", "--no-status")[1]


def test_nothing_declared_is_said_as_it_is(cloud: GitRepository, capsys: Out) -> None:
    cloud.git("rm", "--quiet", "-r", "data", "software")
    cloud.commit()
    code, text = plan_of(capsys)
    assert code == ExitCode.HELD
    assert "nothing that is to exist anywhere is declared any more" in text


# -- on the command line ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["plan", "--only", "DataRule/demo/frist"], "no object", "DataRule/demo/first"),
        (["apply", "--only", "DataRule/demo/frist"], "no object", "DataRule/demo/first"),
        (["plan", "--target", "her"], "no target 'her'", "'here'"),
        (["apply", "--remove", "dmeo"], "no group 'dmeo'", "'demo'"),
    ],
)
def test_what_is_not_there_is_wrong_use(
    arguments: list[str], message: str, hint: str, cloud: GitRepository, capsys: Out
) -> None:
    code, text = said(capsys, *arguments)
    assert code == ExitCode.USAGE
    assert message in text
    assert hint in text


def test_what_git_has_no_more_can_be_named_again_and_again(cloud: GitRepository, capsys: Out) -> None:
    cloud.commit({UPLOAD: None})
    only = ("apply", "--no-status", "--only", "SoftwareUpload/demo/hello")
    for _ in range(2):
        assert said(capsys, *only)[0] in (ExitCode.CONVERGED, ExitCode.HELD)


def test_outputs_of_an_object_with_a_bad_file(cloud: GitRepository, capsys: Out) -> None:
    edit(cloud, UPLOAD, "spec:", "specs:")
    code, text = said(capsys, "outputs", "SoftwareUpload/demo/hello")
    assert code == ExitCode.INVALID
    assert f"{UPLOAD}:4:1: the field `spec` is missing" in text


@pytest.mark.parametrize("file", ["catalogue/web/template.yaml", "roles/web/tasks/main.yml"])
def test_a_service_that_can_not_be_read_is_not_called_missing(
    file: str, cloud: GitRepository, capsys: Out
) -> None:
    """The one who wrote the deployment learns that the mistake is elsewhere."""
    deployment = "kind: Deployment\nmetadata: {name: d, group: demo}\nspec: {service: web}\n"
    template = (
        "tosca_definitions_version: tosca_simple_yaml_1_0\nimports: [reconciler_types]\n"
        "metadata: {template_version: 1.0.0}\ntopology_template:\n  node_templates:\n"
        "    m: {type: tosca.nodes.indigo.Compute}\n"
        "    s: {type: tosca.nodes.reconciler.Role, properties: {role: web}, requirements: [{host: m}]}\n"
    )
    files = {
        "catalogue/web/template.yaml": template,
        "roles/web/tasks/main.yml": "[]\n",
        "roles/web/meta/argument_specs.yml": "{}\n",
        "deployments/demo/d.yaml": f"apiVersion: reconciler/v1\n{deployment}",
    }
    bad = "x: [\n" if file.startswith("catalogue") else ""
    files["roles/web/meta/argument_specs.yml"] = "x: [\n" if file.startswith("roles") else "{}\n"
    cloud.commit({**files, file: files[file] + bad})
    code, text = said(capsys, "validate")
    assert code == ExitCode.INVALID
    assert f"there are problems in {file.rpartition('/')[0].removesuffix('/tasks')}/" in text
    assert "there is no service" not in text
    assert "which there is not" not in text


def test_a_bad_role_of_ones_own_is_not_taken_for_ours(cloud: GitRepository, capsys: Out) -> None:
    template = (
        "tosca_definitions_version: tosca_simple_yaml_1_0\nimports: [reconciler_types]\n"
        "metadata: {template_version: 1.0.0}\ntopology_template:\n  node_templates:\n"
        "    m: {type: tosca.nodes.indigo.Compute}\n"
        "    s: {type: tosca.nodes.reconciler.WebServer, requirements: [{host: m}]}\n"
    )
    deployment = "kind: Deployment\nmetadata: {name: d, group: demo}\nspec: {service: web}\n"
    cloud.commit(
        {
            "catalogue/web/template.yaml": template,
            "roles/nginx/tasks/main.yml": "[]\n",
            "roles/nginx/meta/argument_specs.yml": "x: [\n",
            "deployments/demo/d.yaml": f"apiVersion: reconciler/v1\n{deployment}",
        }
    )
    code, text = said(capsys, "validate")
    assert code == ExitCode.INVALID
    assert "there are problems in roles/nginx/" in text


@pytest.mark.parametrize("command", ["validate", "plan", "apply"])
def test_a_folder_that_is_not_there(command: str, capsys: Out) -> None:
    code, text = said(capsys, command, "/nonexistent")
    assert code == ExitCode.INVALID
    assert "there is no directory '/nonexistent'" in text


def test_the_note_about_the_rules_is_one_short_line(cloud: GitRepository, capsys: Out) -> None:
    cli.main(["plan"])
    assert capsys.readouterr().err == "note: the rules are those of HEAD itself (see --trusted-ref)\n"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "crlf"])
def test_files_of_other_systems_are_the_same_files(encoding: str, cloud: GitRepository, capsys: Out) -> None:
    for name in (UPLOAD, RULE):
        path = cloud.path / name
        text = path.read_text()
        data = text.replace("\n", "\r\n").encode() if encoding == "crlf" else text.encode(encoding)
        path.write_bytes(data)
    cloud.commit()
    assert "Nothing to do" in plan_of(capsys)[1]


def test_a_repository_without_a_commit(tmp_path: Path, capsys: Out) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path / "empty"], check=True)
    code, text = said(capsys, "plan", str(tmp_path / "empty"))
    assert code == ExitCode.INVALID
    assert "has no commit yet" in text


# -- in what is said ---------------------------------------------------------------------------------


def test_what_to_type_after_a_failure() -> None:
    ref = Ref("DataRule", "a", "r")
    invalid = Condition(ref, Word.FAILED, "Invalid", who="author")
    tried = Condition(ref, Word.FAILED, "Rejected", who="author", attempts=1)
    never = Condition(ref, Word.FAILED, "ExpressionSelectsNothing", who="author")
    assert words.next_command(invalid) == "reconciler validate"
    assert words.next_command(tried) == "reconciler apply --only DataRule/a/r --retry"
    assert words.next_command(never) == "reconciler plan --only DataRule/a/r"


@pytest.mark.parametrize("reason", ["Moved", "Corrupt", "Released"])
def test_every_reason_has_prose(reason: str) -> None:
    assert words.reason(reason).startswith(f"{reason}: ")


def test_explain_says_where_the_parts_are(cloud: GitRepository, capsys: Out) -> None:
    assert "  at rehearsal\n" in said(capsys, "explain", "SoftwareUpload/demo/hello")[1]
