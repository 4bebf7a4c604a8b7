"""The Ansible engine on local machines: data stays data, nothing is left behind, failures stay apart."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import BackendError, Rejected
from reconciler.playbook.folder import run_folder, sweep
from reconciler.playbook.outcome import Tally
from reconciler.playbook.processes import processes_of
from reconciler.playbook.run import Assignment, HostResult, Machine, Work, run, run_all

CANARY = "canary-5d1f0c77b2"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def scratch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short private folder for temporary files: sockets need short paths."""
    folder = Path(tempfile.mkdtemp(prefix="pb", dir="/tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    shutil.rmtree(folder)


def role(folder: Path, name: str, tasks: str, **files: str) -> None:
    """A role in `folder`; `files` are paths with __ for / and a last _ for the dot."""
    for path, text in {"tasks__main_yml": tasks, **files}.items():
        stem, _, end = path.replace("__", "/").rpartition("_")
        target = folder / "roles" / name / f"{stem}.{end}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


def machine(folder: Path, name: str) -> Machine:
    root = folder / "machines" / name.replace("/", "_")
    root.mkdir(parents=True, exist_ok=True)
    facts = {"reconciler_root": str(root), "reconciler_rootless": True, "reconciler_machine": name}
    return Machine(name, {"ansible_connection": "local"}, "", facts)


def work(folder: Path, name: str, variables: Mapping[str, Mapping[str, Any]], **changes: Any) -> Work:
    assignments = tuple(
        Assignment(machine(folder, host), own, (CANARY,)) for host, own in sorted(variables.items())
    )
    settled: dict[str, Any] = {
        "role": name,
        "entry": "main",
        "assignments": assignments,
        "roles": (str(folder / "roles"),),
        "identity": "",
        "check": False,
        "timeout": 240,  # a busy machine is slow
    }
    return Work(**{**settled, **changes})


EVIL = {
    "lookup": "{{ lookup('pipe', 'touch MARK') }}",
    "statement": "{% for x in [1] %}{{ x }}{% endfor %}",
    "raw": "{% raw %}{{ x }}{% endraw %}",
    "comment": "{# gone? #}x",
    "shell": "$(touch MARK) `touch MARK`; touch MARK & \"quoted\" 'single'",
    "lines": "one\ntwo\n\n  three\t",
    "unicode": "Grüße 日本 \U0001f600 \u202e",
    "yaml": "- a: !unsafe b\n",
    "unsafe": {"__ansible_unsafe": "{{ 1 + 1 }}", "__ansible_vault": "x", "__ansible_type": "y"},
    "keys": {"{{ 1 + 1 }}": ["{{ 2 + 2 }}", {"deep": "{{ lookup('env', 'HOME') }}"}]},
    "kinds": [1, 2.5, True, None, "yes", "0o17", "null", ""],
}


def test_no_value_is_ever_a_template(scratch: Path) -> None:
    tasks = """
- name: Dump
  ansible.builtin.copy:
    content: "{{ pure_value | to_json }}"
    dest: "{{ reconciler_root }}/dump"
    mode: "0600"
- name: Render
  ansible.builtin.template: {src: text.j2, dest: "{{ reconciler_root }}/rendered", mode: "0600"}
- name: Echo
  ansible.builtin.shell: "printf %s {{ pure_value.shell | quote }} > {{ reconciler_root }}/echoed"
  changed_when: false
- name: Argue
  ansible.builtin.command: {argv: [printf, "%s", "{{ pure_value.lookup }}"]}
  register: pure_said
  changed_when: false
- name: Say
  ansible.builtin.set_fact:
    reconciler_outputs: {said: "{{ pure_said.stdout }}", whole: "{{ pure_value }}", again: "{{ pure_alias }}"}
"""
    files = {
        "templates__text_j2": "{{ pure_value.statement }}|{{ pure_value.raw }}",
        "defaults__main_yml": "",
    }
    files["defaults__main_yml"] = 'pure_alias: "{{ pure_value.lookup }}"\n'
    role(scratch, "pure", tasks, **files)
    mark = scratch / "mark"
    evil = json.loads(json.dumps(EVIL).replace("MARK", str(mark)))
    asked = work(scratch, "pure", {"one": {"pure_value": evil}})
    result = run(asked)["one"]
    assert result.ok, result
    root = scratch / "machines" / "one"
    assert json.loads((root / "dump").read_text()) == evil
    assert (root / "rendered").read_text() == f"{evil['statement']}|{evil['raw']}"
    assert (root / "echoed").read_text() == evil["shell"]
    assert result.outputs == {"said": evil["lookup"], "whole": evil, "again": evil["lookup"]}
    assert not mark.exists()
    again = run(asked)["one"]
    assert again == HostResult(True, False, False, "", "", result.outputs, ())


def test_one_machine_fails_alone_and_in_its_own_words(scratch: Path) -> None:
    tasks = """
- name: Try
  block:
    - name: Stumble
      ansible.builtin.command: "false"
  rescue:
    - name: Recover
      ansible.builtin.command: "true"
      changed_when: false
- name: Never mind
  ansible.builtin.command: "false"
  ignore_errors: true
- name: Judge {{ apart_word }}
  ansible.builtin.fail: {msg: "no {{ apart_word }}\x1b[31m for {{ reconciler_machine }}"}
  when: apart_bad
- name: Hush
  ansible.builtin.command: {argv: ["sh", "-c", "echo {{ apart_word }} >&2; exit 3"]}
  no_log: true
  when: apart_hush
- name: Loop
  ansible.builtin.command: {argv: ["sh", "-c", "echo item {{ item }} >&2; exit {{ item }}"]}
  loop: "{{ apart_codes }}"
  changed_when: false
- name: Say
  ansible.builtin.set_fact: {reconciler_outputs: {fine: true}}
"""
    role(scratch, "apart", tasks.replace("\x1b", "\\x1b"))
    quiet = {"apart_word": CANARY, "apart_bad": False, "apart_hush": False, "apart_codes": [0]}
    variables = {
        "Deployment/a/b/ok": quiet,
        "bad; rm": {**quiet, "apart_bad": True},
        "all": {**quiet, "apart_hush": True},
        "loop": {**quiet, "apart_codes": [0, 4, 0]},
    }
    results = run(work(scratch, "apart", variables))
    assert results.keys() == variables.keys()
    assert results["Deployment/a/b/ok"].outputs == {"fine": True}
    assert [name for name, result in results.items() if result.ok] == ["Deployment/a/b/ok"]
    bad = results["bad; rm"]
    assert (bad.task, bad.message) == ("Judge ***", "no ***\\u001b[31m for bad; rm")
    assert (bad.outputs, bad.unreachable) == ({}, False)
    assert results["all"].task == "Hush"
    assert results["all"].message == "the task hides what it says (no_log)"
    assert results["loop"].task == "Loop"
    assert "item 4" in results["loop"].message
    assert CANARY not in str(results)


def test_a_check_says_what_would_change_and_changes_nothing(scratch: Path) -> None:
    tasks = """
- name: Place
  ansible.builtin.copy: {content: x, dest: "{{ reconciler_root }}/file", mode: "0600"}
- name: Keep
  ansible.builtin.file: {path: "{{ reconciler_root }}", state: directory}
"""
    role(scratch, "seen", tasks)
    wish: dict[str, dict[str, Any]] = {"one": {}, "two": {}}
    looked = run(work(scratch, "seen", wish, check=True))
    assert [result.differences for result in looked.values()] == [("Place",)] * 2
    assert list((scratch / "machines").rglob("file")) == []
    assert all(result.changed for result in run(work(scratch, "seen", wish)).values())
    looked = run(work(scratch, "seen", wish, check=True))
    assert [(result.changed, result.differences) for result in looked.values()] == [(False, ())] * 2


def test_what_a_hidden_task_would_change_is_not_overlooked(scratch: Path) -> None:
    tasks = WRITE.replace("CONTENT", "shy_text").rstrip() + "\n  no_log: true\n"
    role(scratch, "shy", tasks + "- ansible.builtin.debug: {msg: x}\n")
    asked = work(scratch, "shy", {"one": {"shy_text": "a"}})
    assert run(replace(asked, check=True))["one"].differences == ("a task that hides what it says (no_log)",)
    assert here(scratch, "one") == ""
    assert run(asked)["one"].changed
    assert run(replace(asked, check=True))["one"].differences == ()


def test_a_coded_secret_is_a_secret(scratch: Path) -> None:
    tasks = '- ansible.builtin.fail: {msg: "<{{ leak_word | b64encode }}> <{{ leak_word | urlencode }}>"}\n'
    role(scratch, "leak", tasks)
    word = "pass/word+with=signs"
    asked = work(scratch, "leak", {"one": {"leak_word": word}})
    told = tuple(replace(one, secrets=(word,)) for one in asked.assignments)
    assert run(replace(asked, assignments=told))["one"].message == "<***> <***>"


def test_runs_at_the_same_time_do_not_mix(scratch: Path) -> None:
    role(scratch, "both", "- set_fact: {reconciler_outputs: {text: '{{ both_text }}'}}\n")
    asked = [work(scratch, "both", {"one": {"both_text": text}}) for text in ("a", "b")]
    with ThreadPoolExecutor(2) as threads:
        results = [result["one"].outputs for result in threads.map(run, asked)]
    assert results == [{"text": "a"}, {"text": "b"}]


def test_a_role_is_taken_away_by_its_own_entry(scratch: Path) -> None:
    remove = '- ansible.builtin.file: {path: "{{ reconciler_root }}/here", state: absent}\n'
    role(scratch, "gone", '- ansible.builtin.file: {path: "{{ reconciler_root }}/here", state: touch}\n')
    with pytest.raises(BackendError, match=r"no tasks/remove\.yml"):
        run(work(scratch, "gone", {"one": {}}, entry="remove"))
    (scratch / "roles/gone/tasks/remove.yml").write_text(remove)
    here = scratch / "machines/one/here"
    assert run(work(scratch, "gone", {"one": {}}))["one"].ok
    assert here.exists()
    assert run(work(scratch, "gone", {"one": {}}, entry="remove"))["one"].changed
    assert not here.exists()
    assert not run(work(scratch, "gone", {"one": {}}, entry="remove"))["one"].changed


WRITE = '- ansible.builtin.copy: {dest: "{{ reconciler_root }}/here", content: "{{ CONTENT }}"}\n'
SPOILT = "- ansible.builtin.fail: {msg: spoilt}\n  when: first_text == 'spoilt'\n"


def after(asked: Work, needs: Mapping[str, tuple[int, str]]) -> Work:
    """The same work, with what each of its machines comes after."""
    told = (
        replace(one, after=frozenset({needs[one.machine.name]}) if one.machine.name in needs else frozenset())
        for one in asked.assignments
    )
    return replace(asked, assignments=tuple(told))


def here(scratch: Path, name: str) -> str:
    file = scratch / "machines" / name / "here"
    return file.read_text() if file.exists() else ""


def chain(scratch: Path, *, second: str = "fine") -> list[Work]:
    """`first` on three machines, then `second` on two of them, the one after the other."""
    role(scratch, "first", SPOILT + WRITE.replace("CONTENT", "first_text"))
    role(scratch, "second", WRITE.replace("CONTENT", "lookup('file', reconciler_root ~ '/here') ~ '+2'"))
    texts = {"one": "a", "two": second, "three": "c"}
    return [
        work(scratch, "first", {name: {"first_text": text} for name, text in texts.items()}),
        work(scratch, "second", {"two": {}}),
        after(work(scratch, "second", {"one": {}}), {"one": (1, "two")}),
    ]


def test_roles_come_one_after_the_other_in_one_run(scratch: Path) -> None:
    first, second, third = run_all(chain(scratch))
    assert all(result.ok and result.tried for result in (*first.values(), *second.values(), *third.values()))
    assert [here(scratch, name) for name in ("one", "two", "three")] == ["a+2", "fine+2", "c"]


def test_what_comes_after_a_failure_is_not_begun(scratch: Path) -> None:
    first, second, third = run_all(chain(scratch, second="spoilt"))
    assert {name: result.ok for name, result in first.items()} == {"one": True, "two": False, "three": True}
    assert (second["two"].ok, second["two"].tried) == (False, False)
    assert (third["one"].ok, third["one"].tried) == (False, False)
    assert [here(scratch, name) for name in ("one", "two", "three")] == ["a", "", "c"]


def test_a_handler_that_fails_fails_the_role(scratch: Path) -> None:
    handlers = "- name: Tell\n  ansible.builtin.fail: {msg: no handler today}\n"
    role(scratch, "told", WRITE.replace("CONTENT", "'x'") + "  notify: Tell\n", handlers__main_yml=handlers)
    role(scratch, "next", WRITE.replace("CONTENT", "'y'"))
    first, then = run_all([work(scratch, name, {"one": {}}) for name in ("told", "next")])
    assert (first["one"].ok, first["one"].task) == (False, "Tell")
    assert first["one"].message == "no handler today"
    assert not then["one"].tried
    assert here(scratch, "one") == "x"


def test_a_role_that_ends_early_has_gone_well(scratch: Path) -> None:
    role(scratch, "early", "- ansible.builtin.meta: end_host\n- ansible.builtin.fail: {msg: never}\n")
    role(scratch, "quick", "- debug: {msg: x}\n- ansible.builtin.meta: end_host\n")
    (quick,) = run_all([work(scratch, "quick", {"one": {}})])
    assert quick["one"].ok
    first, last = run_all([work(scratch, name, {"one": {}}) for name in ("early", "quick")])
    assert first["one"].ok
    assert last["one"].ok


def test_nothing_of_the_person_counts(
    scratch: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(scratch)
    for folder in (home, scratch):
        (folder / ("ansible.cfg" if folder == scratch else ".ansible.cfg")).write_text(
            "[defaults]\nforks=boom\n"
        )
    monkeypatch.setenv("ANSIBLE_CHECK_MODE_MARKERS", "broken")
    monkeypatch.setenv("ANSIBLE_FORKS", "broken")
    monkeypatch.setenv("ANSIBLE_ROLES_PATH", "/nowhere")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/nowhere")
    monkeypatch.setenv("RECONCILER_KEY", CANARY)
    role(
        scratch, "env", '- ansible.builtin.shell: "env > {{ reconciler_root }}/env"\n  changed_when: false\n'
    )
    assert run(work(scratch, "env", {"one": {}}))["one"].ok
    found = (scratch / "machines/one/env").read_text()
    assert CANARY not in found
    assert "SSH_AUTH_SOCK" not in found
    assert capfd.readouterr() == ("", "")
    assert list(home.iterdir()) == [home / ".ansible.cfg"]


def test_secrets_are_in_no_argument_list_and_in_no_file_afterwards(scratch: Path) -> None:
    tasks = """
- name: Place
  ansible.builtin.copy: {content: "{{ safe_word }}", dest: "{{ reconciler_root }}/secret", mode: "0600"}
- name: Wait
  ansible.builtin.command: sleep 1
  changed_when: false
"""
    role(scratch, "safe", tasks)
    arguments: set[bytes] = set()
    modes: set[str] = set()
    word = f"{CANARY}-of-this-test"  # other tests have theirs, at the same time
    done = threading.Event()
    watch = threading.Thread(target=_watch, args=(scratch, arguments, modes, done))
    watch.start()
    assert run(work(scratch, "safe", {"one": {"safe_word": word}}))["one"].ok
    done.set()
    watch.join()
    assert any(b"playbook.json" in entry for entry in arguments)  # the watch saw the run
    assert not any(word.encode() in entry for entry in arguments)
    assert modes == {"0o600", "0o700"}
    kept = [path for path in scratch.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]
    assert kept == [scratch / "machines/one/secret"]
    assert list(scratch.glob("rcplay-*")) == []


def _watch(base: Path, arguments: set[bytes], modes: set[str], done: threading.Event) -> None:
    while not done.wait(0.02):
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                arguments.add(path.read_bytes())
            except OSError:
                continue
        for folder in base.glob("rcplay-*"):
            for name in ("", "inventory.json", "identity", "playbook.json", "ansible.cfg"):
                try:
                    modes.add(oct((folder / name).stat().st_mode & 0o777))
                except OSError:
                    continue


SLOW = """
- name: Sleep
  ansible.builtin.shell: "echo $$ > {{ reconciler_root }}/pid; sleep 600 & wait"
"""


def test_when_the_time_is_over_everything_ends(scratch: Path) -> None:
    role(scratch, "slow", SLOW)
    for seconds in (3, 9, 27):  # enough to begin, also where the machine is busy
        started = time.monotonic()
        result = run(work(scratch, "slow", {"one": {}, "two": {}}, timeout=seconds))["one"]
        assert time.monotonic() - started < seconds + 10
        assert (result.ok, result.unreachable) == (False, False)
        assert result.message == f"TimedOut: role slow was ended after {seconds} s"
        if begun := list((scratch / "machines").rglob("pid")):
            break
    assert begun
    assert [path for path in begun if _alive(int(path.read_text()))] == []
    assert list(scratch.glob("rcplay-*")) == []


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_after_a_kill_the_next_run_clears_away(scratch: Path) -> None:
    role(scratch, "slow", SLOW)
    program = f"""
import sys, tempfile
from pathlib import Path
sys.path[:0] = [{str(ROOT)!r}]
tempfile.tempdir = {str(scratch)!r}
from tests.unit.test_playbook import run, work
run(work(Path({str(scratch)!r}), "slow", {{"one": {{"slow_word": {CANARY!r}}}}}))
"""
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT) as process:
        pid = scratch / "machines/one/pid"
        _until(lambda: pid.exists() and pid.read_text().strip() != "")
        with run_folder():  # what lives is left alone
            assert len(list(scratch.glob("rcplay-*"))) == 2
        assert _alive(int(pid.read_text()))
        process.send_signal(signal.SIGKILL)
    [folder] = scratch.glob("rcplay-*")
    sweep(str(scratch))
    assert not _alive(int(pid.read_text()))
    assert processes_of(str(folder)) == set()
    assert list(scratch.glob("rcplay-*")) == []


def _until(condition: Any, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_folders_that_are_not_ours_to_remove_stay(scratch: Path) -> None:
    (scratch / "rcplay-file").write_text("")
    (scratch / "rcplay-young").mkdir()
    (scratch / "rcplay-link").symlink_to(scratch / "other")
    (scratch / "other").mkdir()
    (scratch / "other/lock").write_text("")
    (scratch / "rcplay-old").mkdir()
    os.utime(scratch / "rcplay-old", (0, 0))
    sweep(str(scratch))
    assert sorted(path.name for path in scratch.iterdir()) == [
        "other",
        "rcplay-file",
        "rcplay-link",
        "rcplay-young",
    ]


def test_what_cannot_be_meant_is_refused(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    role(scratch, "fine", "[]\n")
    assert run(work(scratch, "fine", {})) == {}
    assert run(work(scratch, "fine", {"one": {}}))["one"].ok
    for name in ("../fine", "a.b.c", "{{ x }}", ""):
        with pytest.raises(Rejected, match="no name of a role"):
            run(work(scratch, name, {"one": {}}))
    with pytest.raises(BackendError, match="no role other"):
        run(work(scratch, "other", {"one": {}}))
    for name in ("ansible_connection", "reconciler_root", "a-b"):
        with pytest.raises(Rejected, match="can't be a variable"):
            run(work(scratch, "fine", {"one": {name: "x"}}))
    twice = tuple(Assignment(machine(scratch, "one"), {}) for _ in range(2))
    with pytest.raises(BackendError, match="twice"):
        run(work(scratch, "fine", {}, assignments=twice))
    far = (Assignment(Machine("far", {"ansible_host": "127.0.0.1"}), {}),)
    with pytest.raises(BackendError, match="no private key"):
        run(work(scratch, "fine", {}, assignments=far))
    monkeypatch.setenv("PATH", str(scratch))
    with pytest.raises(BackendError, match="no program ssh"):
        run(work(scratch, "fine", {}, assignments=far, identity="key"))


def test_a_role_that_can_not_be_read_says_so(scratch: Path) -> None:
    role(scratch, "broken", "- name: x\n  no.such.module: {}\n")
    with pytest.raises(Rejected, match=r"role broken can't be read: .*no\.such\.module") as caught:
        run(work(scratch, "broken", {"one": {}}))
    assert "roles/broken/tasks/main.yml:1" in str(caught.value)
    assert str(scratch) not in str(caught.value)


def test_without_ansible_the_error_says_what_to_install(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    role(scratch, "fine", "[]\n")
    for name in ("ansible_runner.runner", "ansible_runner.config.command"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BackendError) as caught:
        run(work(scratch, "fine", {"one": {}}))
    assert "reconciler[hosts]" in caught.value.hint
    assert list(scratch.glob("rcplay-*")) == []


def test_what_was_not_heard_is_not_success(scratch: Path) -> None:
    asked = work(scratch, "x", {"one": {}})
    tally = Tally([asked], {"one": "m0"})
    tally.note({"event": "runner_on_ok", "event_data": {"host": "m0", "task": "t", "res": {"changed": True}}})
    tally.note({"event": "runner_on_ok", "event_data": {"host": "stranger", "task": "t"}})
    tally.note({"event": "verbose"})
    result = tally.results(late=False)[0]["one"]
    assert (result.ok, result.task) == (False, "t")
    assert result.message == "Ansible ended before role x was done"
