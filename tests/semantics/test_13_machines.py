"""Section 13: deployments. Scale, room, secrets at simulated sites; roles on machines of this host."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from reconciler.errors import Denied, ExitCode
from reconciler.line.permitted import tag_of
from reconciler.line.session import open_session
from reconciler.model import Json
from reconciler.offline import intent
from reconciler.report.json import plan_json
from tests.laws.lab import GENEROUS, Files, Lab, base, ref
from tests.semantics.hands import EMPTY, changes, condition, quiet, standing, word
from tests.semantics.machines import catalogue, deployment

FILE = "deployments/d.yaml"
QUEUE = "Deployment/a/d/queue.configuration"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The instance key, from which tokens are derived."""
    monkeypatch.setenv("RECONCILER_KEY", base64.b64encode(bytes(32)).decode())


def cloud(settings: str = "", **inputs: Json) -> Files:
    """A repository with one deployment at alba."""
    return {**base(GENEROUS + settings), **catalogue(), FILE: deployment("d", targets=["alba"], **inputs)}


def parts(lab: Lab) -> set[str]:
    """site and part of all servers and volumes."""
    found = standing(lab, "server") | standing(lab, "volume")
    return {f"{site} {text.split('/', 3)[3]}" for site, text in found}


def machines(lab: Lab) -> list[str]:
    """All servers, volumes and configurations, whoever they belong to."""
    return [thing.ref for kind in ("server", "volume", "configuration") for _site, thing in lab.things(kind)]


def variables(lab: Lab, name: str = QUEUE) -> Json:
    (found,) = [thing for _site, thing in lab.things("configuration") if thing.ref == name]
    return found.spec["variables"]


# ── the whole of it ──────────────────────────────────────────────────────────────────────────────


def test_a_deployment_stands_is_quiet_and_goes() -> None:
    with Lab(cloud(workers=2)) as lab:
        applied = lab.apply()
        assert applied.exit_code is ExitCode.CONVERGED, condition(applied, "Deployment/a/d")
        assert parts(lab) == {
            "alba head.server",
            "alba worker.0.server",
            "alba worker.1.server",
            "alba scratch.0.volume",
            "alba scratch.1.volume",
        }
        (head,) = [thing for _s, thing in lab.things("server") if thing.ref == "Deployment/a/d/head.server"]
        address = head.attributes["address"]
        assert variables(lab, "Deployment/a/d/agent.1.configuration") == {"note_text": f"of {address}"}
        assert applied.outputs[ref("Deployment/a/d")] == {"address": address}
        quiet(lab)
        lab.forget()
        quiet(lab)
        lab.drop(FILE)
        assert lab.apply().exit_code is ExitCode.CONVERGED
        assert machines(lab) == []


def test_fewer_workers_are_fewer_machines_and_the_others_stay() -> None:
    with Lab(cloud(workers=3)) as lab:
        lab.apply()
        stay = {thing.ref: thing.uid for _s, thing in lab.things("server")}
        lab.commit({FILE: deployment("d", targets=["alba"], workers=1)})
        planned = changes(lab.plan())
        assert planned == [
            ("Deployment/a/d/scratch.1.volume", "delete", "Surplus"),
            ("Deployment/a/d/scratch.2.volume", "delete", "Surplus"),
            ("Deployment/a/d/worker.1.server", "delete", "Surplus"),
            ("Deployment/a/d/worker.2.server", "delete", "Surplus"),
        ]
        assert lab.apply().exit_code is ExitCode.CONVERGED
        left = {thing.ref: thing.uid for _s, thing in lab.things("server")}
        assert left == {name: uid for name, uid in stay.items() if name in left}
        assert len(left) == 2
        assert {text.rsplit("/", 1)[1] for _s, text in standing(lab, "configuration")} == {
            "head-base.configuration",
            "worker-base.0.configuration",
            "queue.configuration",
            "agent.0.configuration",
        }
        quiet(lab)


def test_where_there_is_no_room_it_waits_and_says_why() -> None:
    with Lab({**cloud(), FILE: deployment("d", targets=["alba", "brno"])}) as lab:
        for site in ("alba", "brno"):
            lab.weather(site, facts={"free": {"machines": 1}})
        applied = lab.apply()
        assert word(applied, "Deployment/a/d") == ("Waiting", "NoPlace")
        assert "alba: no room: 1 machines free, 2 needed" in condition(applied, "Deployment/a/d").message
        assert machines(lab) == []
        lab.weather("brno", facts={"free": {"machines": 2}})
        assert lab.apply().exit_code is ExitCode.CONVERGED
        assert {text.split()[0] for text in parts(lab)} == {"brno"}
        lab.clear()
        quiet(lab)


# ── secrets ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("reference", "listed"),
    [
        ("env:FARM_TOKEN", ""),
        ("env:FARM_TOKEN", "secrets: {b: ['env:FARM_*']}\n"),
        ("env:FARM_TOKEN", "secrets: {a: ['env:FARM']}\n"),
        ("file:/nonexistent/token#key", "secrets: {a: ['env:*', 'file:/nonexistent/other']}\n"),
    ],
)
def test_a_secret_that_the_group_may_not_name_is_refused_before_anything_is_made(
    reference: str, listed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARM_TOKEN", "correct horse")
    with Lab(cloud(listed, token={"secret": reference})) as lab:
        applied = lab.apply()
        assert word(applied, "Deployment/a/d") == ("Waiting", "SecretMissing")
        message = condition(applied, "Deployment/a/d").message
        assert f"group a may not name the secret {reference}" in message
        assert "`secrets` in reconciler.yaml" in message
        assert machines(lab) == []


def test_a_secret_that_is_listed_is_used_and_followed_and_never_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Lab(cloud("secrets: {a: ['env:FARM_*']}\n", token={"secret": "env:FARM_TOKEN"})) as lab:
        monkeypatch.delenv("FARM_TOKEN", raising=False)
        applied = lab.apply()
        assert word(applied, "Deployment/a/d") == ("Waiting", "SecretMissing")
        assert "may not name" not in condition(applied, "Deployment/a/d").message
        monkeypatch.setenv("FARM_TOKEN", "correct horse")
        assert lab.apply().exit_code is ExitCode.CONVERGED
        before = variables(lab)["note_token"]
        assert (before["$secret"], len(before["tag"])) == ("env:FARM_TOKEN", 8)
        quiet(lab)
        monkeypatch.setenv("FARM_TOKEN", "battery staple")
        assert changes(lab.plan()) == [(QUEUE, "update", "SpecChanged")]
        assert lab.apply().exit_code is ExitCode.CONVERGED
        assert variables(lab)["note_token"]["tag"] != before["tag"]
        files = [path for path in lab.root.rglob("*") if path.is_file()]
        assert not [path for path in files for text in (b"horse", b"staple") if text in path.read_bytes()]


def test_what_is_generated_for_one_object_is_for_no_other() -> None:
    with Lab(cloud()) as lab:
        session = open_session(lab.request())
        reference = "generated:password:Deployment/a/d#token:1"
        own = tag_of(session, ref("Deployment/a/d"), reference)
        assert len(own) == 8
        assert tag_of(session, ref(QUEUE), reference) == own
        for other in ("Deployment/a/e", "Deployment/b/d"):
            with pytest.raises(Denied, match="generated for another object"):
                tag_of(session, ref(other), reference)


def test_what_a_merge_request_means_opens_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of the commit that is looked at nor of the one it is compared with."""
    settings = "secrets: {a: ['env:FARM_*']}\n"
    monkeypatch.delenv("RECONCILER_KEY")
    monkeypatch.delenv("FARM_TOKEN", raising=False)
    with Lab(cloud(settings)) as lab:
        first = lab.git("rev-parse", "HEAD")
        lab.commit(
            {"deployments/e.yaml": deployment("e", targets=["alba"], token={"secret": "env:FARM_TOKEN"})}
        )
        second = lab.git("rev-parse", "HEAD")
        planned = intent(lab.request(), first)
        assert {change.ref.object for change in planned.plan.changes} == {ref("Deployment/a/e")}
        shown = str(plan_json(planned.plan, {}))
        assert "env:FARM_TOKEN" in shown
        assert "'tag'" not in shown
        assert intent(lab.request(), second).plan.changes == ()


# ── roles on machines of this host ───────────────────────────────────────────────────────────────

LOCAL = """\
apiVersion: reconciler/v1
kind: Provider
metadata: {name: bench}
spec:
  targets: [{type: hosts, machines: local, path: machines, capacity: {machines: 9, cores: 99, memory: 99GiB}}]
"""


def notes(lab: Lab, name: str) -> dict[Path, str]:
    return {path: path.read_text() for path in sorted((lab.data / "machines").glob(f"*/root/{name}.txt"))}


def test_plan_deep_runs_no_role_and_apply_deep_heals_what_it_finds() -> None:
    files = {**base(), **catalogue(), "providers/bench.yaml": LOCAL}
    with Lab({**files, FILE: deployment("d", targets=["bench"])}) as lab:
        applied = lab.apply()
        assert applied.exit_code is ExitCode.CONVERGED, applied.record.conditions
        assert sorted(text.split()[0] for text in notes(lab, "note").values()) == ["hello", "of"]
        traces = notes(lab, "trace")
        assert set(traces.values()) == {"run\n"}
        (spoilt,) = [path for path, text in notes(lab, "note").items() if text == "hello"]
        spoilt.write_text("spoilt")
        for deep in (False, True):
            assert lab.plan(deep=deep).plan.digest == EMPTY
        assert lab.apply().plan.digest == EMPTY
        assert (notes(lab, "trace"), spoilt.read_text()) == (traces, "spoilt")
        lab.apply(deep=True)
        assert spoilt.read_text() == "hello"
        assert notes(lab, "trace") != traces
        lab.drop(FILE)
        assert lab.apply().exit_code is ExitCode.CONVERGED
        assert notes(lab, "note") == {}
