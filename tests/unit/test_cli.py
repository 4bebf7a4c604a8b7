"""The command line: exit codes, guesses, what goes to stdout and what to stderr, signals, files."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reconciler.cli import COMMANDS, main
from reconciler.cli.failure import redacted, report
from reconciler.cli.init import owner_of
from reconciler.cli.terminal import progress_text
from reconciler.errors import ExitCode, Transient
from tests.conftest import GitRepository

ROOT = Path(__file__).parents[2]
Out = pytest.CaptureFixture[str]

HELLO = "SoftwareUpload/demo/hello"


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out) -> GitRepository:
    """What `init` makes, and we are in it."""
    folder = tmp_path / "cloud"
    assert main(["init", str(folder)]) == 0
    monkeypatch.chdir(folder)
    capsys.readouterr()
    return GitRepository(folder)


def process(*words: str | Path, **more: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    command = [sys.executable, "-m", "reconciler", *map(str, words)]
    return subprocess.Popen(command, env=environment, text=True, **pipes)  # type: ignore[call-overload, no-any-return]  # the pipes are mixed


# ── start ────────────────────────────────────────────────────────────────────────────────────────


def test_version_and_help(capsys: Out) -> None:
    assert main(["--version"]) == 0
    assert re.fullmatch(r"reconciler \d+\.\d+\.\d+\n", capsys.readouterr().out)
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, summary in COMMANDS.items():
        assert re.search(rf"^    {name} +{re.escape(summary)}$", shown, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_examples(command: str, capsys: Out) -> None:
    assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"examples:\n  reconciler {command}" in shown
    assert "--quiet" in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_80_columns(command: str, capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    main([command, "--help"])
    shown = capsys.readouterr().out.partition("examples:")[0]
    assert max(map(len, shown.splitlines())) <= 80


def test_without_a_command_the_help_is_on_stderr(capsys: Out) -> None:
    assert main([]) == 64
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "usage: reconciler" in shown.err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["plam"], "did you mean 'plan'?"),
        (["plan", "--formt", "json"], "did you mean '--format'?"),
        (["plan", "--format", "jsn"], "did you mean 'json'?"),
        (["plan", "--exit"], "did you mean '--exit-code'?"),
        (["plan", "--only", "nonsense"], "expected Kind/group/name or Kind/name"),
        (["plan", "a", "b"], "one argument too many: 'b'"),
        (["apply", "--wait", "soon"], "expected a number and s, m, h, d or w"),
        (["apply", "--approve", "yes"], "as the plan prints it"),
        (["apply", "--approve", "intent:sha256:" + "0" * 64], "can't be approved"),
        (["apply", "--retry"], "name the objects that are tried again"),
        (["apply", "--remove", "cms", "--only", "DataRule/cms/a"], "--remove goes alone"),
        (["apply", "--plan", "nowhere.json"], "make one with: reconciler plan --out plan.json"),
        (["plan", "--out", "no/such/folder/x.json"], "name a file in a folder that exists"),
        (["plan", "--against", "main", "--deep"], "leave one of them out"),
        (["history", "--limit", "0"], "expected a number from 1"),
        (["plan", "--now", "noon"], "expected 2026-11-21T03:00"),
        (["explain", "DataRul"], "did you mean 'DataRule'?"),
        (["schema", "Provder"], "did you mean 'Provider'?"),
        (["outputs"], "required: REF"),
    ],
    ids=" ".join,
)
def test_wrong_use_is_64_with_a_hint_and_no_data(words: list[str], hint: str, capsys: Out) -> None:
    assert main(words) == 64
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert hint in shown.err


# ── init ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_repository_validates_plans_applies_and_is_quiet(cloud: GitRepository, capsys: Out) -> None:
    assert main(["validate"]) == 0
    assert capsys.readouterr().out == "Valid: 7 objects in 8 files.\n"
    assert main(["plan"]) == 0
    assert "3 to create · digest sha256:" in capsys.readouterr().out
    assert main(["apply"]) == 0
    assert "3 applied" in capsys.readouterr().out
    assert main(["plan", "--exit-code"]) == 0
    assert capsys.readouterr().out.endswith("Nothing to do: 7 objects are as declared, 1 suspended.\n")
    assert main(["apply"]) == 0
    assert "Nothing to do: 7 objects are as declared, 1 suspended." in capsys.readouterr().out
    assert cloud.git("status", "--short") == ""


def test_the_files_of_init_are_for_this_owner(cloud: GitRepository) -> None:
    settings = (cloud.path / "reconciler.yaml").read_text()
    owner = re.search(r"^owner: (cloud-[a-z2-7]{4})$", settings, re.MULTILINE)
    assert owner
    for file in cloud.git("ls-files").splitlines():
        assert "@OWNER@" not in (cloud.path / file).read_text()
    assert (cloud.path / ".gitlab-ci.yml").is_file()
    assert (cloud.path / ".gitignore").is_file()
    assert cloud.git("log", "--format=%s") == "A new configuration repository"


@pytest.mark.parametrize(
    "name", ["My Cloud", "Ünïcode", "---", "x" * 200, "a.b_c", "1", "a-" * 30, "cloud of INFN, Bari"]
)
def test_any_folder_gives_a_valid_owner(name: str) -> None:
    owner = owner_of(name)
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", owner)
    assert len(owner) <= 30
    assert owner != owner_of(name)


def test_init_leaves_a_folder_that_is_in_use_alone(tmp_path: Path, capsys: Out) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["init", str(tmp_path)]) == 64
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    assert "nothing was written" in capsys.readouterr().err
    assert main(["init", str(tmp_path / "mine.txt")]) == 64


def test_init_needs_no_git_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    assert main(["init", str(tmp_path / "new")]) == 0
    assert GitRepository(tmp_path / "new").git("log", "--format=%an") == "reconciler init"


def test_init_inside_a_hook_of_another_repository(
    tmp_path: Path, repository: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit({"a.txt": "a"})
    monkeypatch.setenv("GIT_DIR", str(repository.path / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(repository.path / ".git" / "index"))
    assert main(["init", str(tmp_path / "new")]) == 0
    monkeypatch.undo()
    assert repository.git("log", "--format=%s") == "change"
    assert (tmp_path / "new" / ".git").is_dir()


# ── plan and apply ───────────────────────────────────────────────────────────────────────────────


def test_pending_changes_are_2_only_if_asked(cloud: GitRepository) -> None:
    assert main(["plan"]) == 0
    assert main(["plan", "--exit-code"]) == 2


def test_out_writes_the_form_that_the_ending_says(cloud: GitRepository, capsys: Out) -> None:
    assert main(["-q", "plan", "--out", "p.json", "--out", "p.md", "--out", "p.txt", "--out", "p"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert json.loads(Path("p.json").read_text())["summary"]["create"] == 3
    assert Path("p.md").read_text().startswith("<!-- reconciler: plan -->\n### Plan: 3 to create")
    assert Path("p.txt").read_text() == Path("p").read_text() == shown.out
    assert main(["-q", "plan", "--format", "json", "--out", "q"]) == 0
    assert json.loads(Path("q").read_text()) == json.loads(Path("p.json").read_text())
    assert json.loads(capsys.readouterr().out)["schemaVersion"] == 1
    assert list(Path().glob(".*.json*")) == []


def test_apply_does_what_the_file_shows_and_refuses_the_rest(cloud: GitRepository, capsys: Out) -> None:
    assert main(["plan", "--only", HELLO, "--out", "p.json"]) == 0
    main(["apply", "--plan", "p.json"])
    shown = capsys.readouterr().out
    assert "1 applied" in shown
    assert "2 other changes not applied by this run" in shown
    assert main(["plan", "--out", "p.json"]) == 0
    content = json.loads(Path("p.json").read_text())
    content["changes"][0]["digest"] = "sha256:" + "0" * 64
    Path("p.json").write_text(json.dumps(content))
    assert main(["apply", "--plan", "p.json"]) == 8
    assert "stale" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"changes": []}', '{"schemaVersion": 2, "changes": []}', "[" * 100_000]
)
def test_a_file_that_is_no_plan_is_wrong_use(content: str, cloud: GitRepository, capsys: Out) -> None:
    Path("p.json").write_text(content)
    assert main(["apply", "--plan", "p.json"]) == 64
    assert "p.json" in capsys.readouterr().err


def test_an_intent_is_shown_and_never_applied(cloud: GitRepository, capsys: Out) -> None:
    cloud.commit(
        {
            "software/demo/hello.yaml": (cloud.path / "software/demo/hello.yaml")
            .read_text()
            .replace("1.0", "1.1")
        }
    )
    assert main(["plan", "--against", "HEAD~1", "--format", "json", "--out", "i.json"]) == 0
    assert json.loads(capsys.readouterr().out)["digest"].startswith("intent:sha256:")
    assert main(["apply", "--plan", "i.json"]) == 64
    assert "can't be applied" in capsys.readouterr().err


def test_status_pages_follow_the_groups(cloud: GitRepository) -> None:
    groups = cloud.path / "status" / "groups"
    groups.mkdir(parents=True)
    (groups / "gone.md").write_text("<!-- reconciler: status -->\nold\n")
    (groups / "mine.md").write_text("my own notes\n")
    assert main(["apply"]) == 0
    assert sorted(path.name for path in groups.iterdir()) == ["demo.md", "everyone.md", "mine.md"]
    assert json.loads((cloud.path / "status" / "status.json").read_text())["summary"]["Ready"] == 6
    assert (cloud.path / "status" / "index.md").read_text().startswith("<!-- reconciler: status -->")


def test_no_status_pages(cloud: GitRepository) -> None:
    assert main(["apply", "--no-status"]) == 0
    assert not (cloud.path / "status").exists()
    assert main(["apply", "--status", "elsewhere"]) == 0
    assert (cloud.path / "elsewhere" / "index.md").is_file()


def test_status_that_can_not_be_written_takes_nothing_from_the_result(
    cloud: GitRepository, capsys: Out
) -> None:
    (cloud.path / "status").write_text("a file of yours")
    assert main(["apply"]) == 0
    shown = capsys.readouterr()
    assert "3 applied" in shown.out
    assert "status pages in status: File exists" in shown.err


def test_a_bad_file_is_3_everywhere(cloud: GitRepository, capsys: Out) -> None:
    cloud.commit({"software/demo/bad.yaml": "apiVersion: reconciler/v1\nkind: SoftwareUplod\n"})
    assert main(["validate"]) == 3
    assert "software/demo/bad.yaml:2:" in capsys.readouterr().out
    for form in ("json", "junit", "gitlab"):
        assert main(["validate", "--format", form]) == 3
        assert "bad.yaml" in capsys.readouterr().out
    assert main(["plan"]) == 3
    assert "Not valid (" in capsys.readouterr().out
    assert main(["apply"]) == 3


def test_settings_that_can_not_be_read_stop_everything(cloud: GitRepository, capsys: Out) -> None:
    cloud.commit({"reconciler.yaml": "owner: [\n"})
    for command in ("plan", "apply", "status"):
        assert main([command]) == 3
        shown = capsys.readouterr()
        assert shown.out == ""
        assert "reconciler.yaml:" in shown.err


# ── looking ──────────────────────────────────────────────────────────────────────────────────────


def test_status_explain_history_outputs(cloud: GitRepository, capsys: Out) -> None:
    assert main(["status"]) == 0
    assert "7 never looked at" in capsys.readouterr().out
    main(["apply"])
    capsys.readouterr()
    assert main(["status"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("7 objects: 1 Suspended · 6 Ready\n")
    assert main(["status", HELLO, "--format", "json"]) == 0
    assert [entry["ref"] for entry in json.loads(capsys.readouterr().out)["conditions"]] == [HELLO]
    assert main(["status", "--format", "markdown"]) == 0
    assert f"- `{HELLO}`" in capsys.readouterr().out
    assert main(["explain", HELLO]) == 0
    shown = capsys.readouterr()
    assert "declared in software/demo/hello.yaml:" in shown.out
    assert "Last changes" in shown.out
    assert main(["history"]) == 0
    assert f"+ {HELLO}  rehearsal  Applied" in capsys.readouterr().out
    assert main(["history", HELLO, "--format", "json"]) == 0
    [run] = json.loads(capsys.readouterr().out)["runs"]
    assert [entry["ref"] for entry in run["changes"]] == [HELLO]
    assert main(["outputs", HELLO]) == 0


@pytest.mark.parametrize("command", ["status", "explain", "outputs"])
def test_a_misspelt_object_gets_a_guess(command: str, cloud: GitRepository, capsys: Out) -> None:
    assert main([command, "SoftwareUpload/demo/helo"]) == 64
    assert f"did you mean '{HELLO}'?" in capsys.readouterr().err


def test_explain_kind_is_readable_in_80_columns(capsys: Out) -> None:
    assert main(["explain", "softwareupload"]) == 0
    assert "Example\n  apiVersion: reconciler/v1\n" in capsys.readouterr().out
    assert main(["explain", "SoftwareUpload", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "SoftwareUpload"


def test_schemas_are_printed_and_written(tmp_path: Path, capsys: Out) -> None:
    assert main(["schema"]) == 0
    names = capsys.readouterr().out.split()
    assert "DataRule" in names
    assert main(["schema", "--write", str(tmp_path / "schemas")]) == 0
    assert sorted(path.stem for path in (tmp_path / "schemas").iterdir()) == sorted(names)
    for path in (tmp_path / "schemas").iterdir():
        assert '"metadata.json' not in path.read_text()


# ── terminals, pipes, signals, defects ───────────────────────────────────────────────────────────


def on_a_terminal(words: list[str], **environment: str) -> str:
    """What the command shows on a terminal of 80 columns."""
    leader, follower = pty.openpty()
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "80", **environment}
    command = [sys.executable, "-m", "reconciler", *words]
    done = subprocess.Popen(command, stdout=follower, stderr=follower, stdin=follower, env=variables)
    os.close(follower)
    shown = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # the end of a terminal on Linux
            break
        if not part:
            break
        shown += part
    done.wait(30)
    os.close(leader)
    return shown.decode()


def test_colour_and_progress_are_for_terminals_only(cloud: GitRepository) -> None:
    coloured = on_a_terminal(["plan"])
    assert "\x1b[32;1m+" in coloured
    assert "\r\x1b[2K" in coloured
    assert "\x1b[3" not in on_a_terminal(["plan"], NO_COLOR="1")
    assert "\x1b[3" not in on_a_terminal(["plan", "--no-color"])
    assert "\x1b[3" not in on_a_terminal(["plan"], TERM="dumb")
    assert "\r\x1b[2K" not in on_a_terminal(["plan", "-q"])
    piped = process("plan").communicate(timeout=60)
    assert "\x1b" not in piped[0] + piped[1]


def test_a_reader_that_goes_away_is_no_error(cloud: GitRepository) -> None:
    running = process("schema", "Settings")
    assert running.stdout is not None
    assert running.stderr is not None
    running.stdout.close()
    assert running.wait(60) == 0
    assert running.stderr.read() == ""


def slow_cloud(cloud: GitRepository) -> None:
    file = "providers/rehearsal.yaml"
    text = (cloud.path / file).read_text()
    cloud.commit({file: text.rstrip() + "\n      buildSeconds: 1h\n"})


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_apply_cleanly(number: signal.Signals, code: int, cloud: GitRepository) -> None:
    slow_cloud(cloud)
    running = process("apply", "--wait", "10m")
    world = Path(os.environ["XDG_DATA_HOME"])
    _until(lambda: any(world.rglob("*.sqlite")))
    time.sleep(1.5)
    running.send_signal(number)
    _shown, said = running.communicate(timeout=20)
    assert running.returncode == code
    assert "ending cleanly" in said
    assert "Traceback" not in said
    after = process("history", "--format", "json").communicate(timeout=60)[0]
    assert json.loads(after)["runs"][0]["exitCode"] is not None


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_plan_at_once(number: signal.Signals, code: int, cloud: GitRepository) -> None:
    file = "providers/rehearsal.yaml"
    cloud.commit({file: (cloud.path / file).read_text().rstrip() + "\n      latency: 20s\n"})
    running = process("plan")
    _until((Path(os.environ["XDG_CACHE_HOME"]) / "reconciler").is_dir)  # reading has begun
    time.sleep(1)
    running.send_signal(number)
    shown, said = running.communicate(timeout=10)
    assert running.returncode == code
    assert shown == ""
    assert "Traceback" not in said


def _until(true: object) -> None:
    assert callable(true)
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_defect_is_told_kept_private_and_without_secrets(
    home: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECONCILER_KEY", "the-instance-key")
    error = ValueError("https://me:hunter2@example.org refused the-instance-key\x1b[2J")
    assert report(error, ["plan"]) is ExitCode.DEFECT
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "This is a defect of ours" in shown.err
    assert "\x1b" not in shown.err
    [file] = (home / ".cache" / "reconciler" / "defects").iterdir()
    assert str(file) in shown.err
    assert file.stat().st_mode & 0o077 == 0
    for text in (shown.err, file.read_text()):
        assert "hunter2" not in text
        assert "the-instance-key" not in text
    assert "ValueError" in file.read_text()


def test_verbose_shows_the_traceback(home: Path, capsys: Out) -> None:
    report(ValueError("x"), ["plan", "-vv"])
    assert "ValueError: x" in capsys.readouterr().err
    assert not (home / ".cache" / "reconciler").exists()


def test_errors_of_ours_have_their_own_codes(capsys: Out) -> None:
    assert report(Transient("no answer", hint="try later"), []) is ExitCode.FAILED
    assert capsys.readouterr().err == "error: no answer\nhint: try later\n"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("git clone https://user:pa55word@host/x.git", "https://***@host/x.git"),
        ("Authorization: Bearer abc.def.ghi", "Authorization: Bearer ***"),
        ('{"password": "pa55word", "name": "x"}', '"name": "x"'),
        ("token=abc123&x=1", "token=***"),
        ("nothing secret here: 12", "nothing secret here: 12"),
    ],
)
def test_what_looks_like_a_secret_is_struck_out(text: str, kept: str) -> None:
    shown = redacted(text)
    assert kept in shown
    assert "pa55word" not in shown
    assert "abc" not in shown


def test_progress_says_where_we_are() -> None:
    facts = {"done": 3, "total": 20, "waiting": ["a", "b", "c", "d"]}
    assert progress_text("observe", facts) == "observe 3/20 · waiting for a, b, c and 1 more"
    assert progress_text("load", {"revision": "4f\x1b"}) == "load · revision 4f\\x1b"
