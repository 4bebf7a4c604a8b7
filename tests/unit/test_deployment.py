"""What a Deployment becomes: instances that keep their numbers, late values, secrets, parts, outputs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconciler.errors import Denied
from reconciler.kinds.deployment import KIND
from reconciler.late import late_values
from reconciler.library import EMPTY
from reconciler.model import Observed, Ref, State, Word
from reconciler.stages.case import users_of
from tests.unit.paper import PRIMITIVES, Paper, deployment, library, site, thing_of

REF = Ref("Deployment", "cms", "d")
ROOTLESS = {"here": {"rootless": True}}


def scaled(before: Paper, workers: int, **inputs: Any) -> Paper:
    """The same world with all made, and another number of workers."""
    return replace(before, declared=(deployment(workers=workers, **inputs),), things=before.made())


def servers(paper: Paper) -> list[str]:
    return sorted(part for part, one in paper.wanted().items() if one.kind == "server")


# ── what it consists of ──────────────────────────────────────────────────────────────────────────


def test_nodes_become_volumes_servers_and_configurations() -> None:
    wanted = Paper((deployment(workers=2),), traits=ROOTLESS).wanted()
    assert {part: one.kind for part, one in wanted.items()} == {
        "head.server": "server",
        "worker.0.server": "server",
        "worker.1.server": "server",
        "scratch.0.volume": "volume",
        "scratch.1.volume": "volume",
        "queue.configuration": "configuration",
        "agent.0.configuration": "configuration",
        "agent.1.configuration": "configuration",
    }
    assert {one.target for one in wanted.values()} == {"here"}
    assert wanted["scratch.0.volume"].spec["size"] == 10 * 10**9
    worker = wanted["worker.1.server"]
    assert worker.spec["volumes"] == {"/scratch": "Deployment/cms/d/scratch.1.volume"}
    assert worker.needs == {REF.with_part("scratch", "volume", 1)}
    http = wanted["head.server"].spec["ports"]["http"]
    assert (http["protocol"], http["port"]) == ("tcp", 8080)
    names = [wanted[part].spec["hostname"] for part in ("head.server", "worker.0.server", "worker.1.server")]
    assert names == ["d-head", "d-worker-0", "d-worker-1"]


def test_only_machines_with_root_get_the_base() -> None:
    assert not [part for part in Paper((deployment(),), traits=ROOTLESS).wanted() if "base" in part]
    wanted = Paper((deployment(),)).wanted()
    assert {part for part in wanted if "base" in part} == {
        "head-base.configuration",
        "worker-base.0.configuration",
    }
    assert wanted["head-base.configuration"].needs == {REF.with_part("head", "server")}
    assert REF.with_part("head-base", "configuration") in wanted["queue.configuration"].needs
    assert REF.with_part("worker-base", "configuration", 0) in wanted["agent.0.configuration"].needs
    assert wanted["head-base.configuration"].spec["variables"] == {
        "base_ports": {"http": {"protocol": "tcp"}}
    }


def test_software_comes_after_its_server_and_what_it_needs() -> None:
    wanted = Paper((deployment(),), traits=ROOTLESS).wanted()
    agent = wanted["agent.0.configuration"]
    assert agent.needs == {
        REF.with_part("worker", "server", 0),
        REF.with_part("queue", "configuration"),
        REF.with_part("head", "server"),
    }
    assert (agent.spec["role"], agent.spec["server"]) == ("agent", "Deployment/cms/d/worker.0.server")
    assert agent.spec["content"] == library().roles["agent"].content


# ── values that come later, and secrets ──────────────────────────────────────────────────────────


def test_late_values_name_refs() -> None:
    wanted = Paper((deployment(workers=2),), traits=ROOTLESS).wanted()
    agent = wanted["agent.1.configuration"].spec["variables"]
    address = {"$after": "Deployment/cms/d/head.server#address"}
    assert agent["agent_url"] == {"$after": "Deployment/cms/d/queue.configuration#url"}
    assert address in agent["agent_queue"]["$join"]
    members = wanted["queue.configuration"].spec["variables"]["queue_members"]
    assert [one["name"] for one in members] == ["d-worker-0", "d-worker-1"]
    assert [ref.part for ref, _ in late_values(members)] == ["worker.0.server", "worker.1.server"]


def test_every_late_value_is_of_something_that_is_made_first() -> None:
    wanted = Paper((deployment(workers=3),)).wanted()
    for one in wanted.values():
        named = {ref for ref, _ in late_values(one.spec)}
        assert named <= one.needs, one.ref
        assert {ref.part for ref in one.needs} <= wanted.keys(), one.ref


def test_a_secret_stays_a_reference_and_shows_a_tag_that_follows_its_value() -> None:
    paper = Paper((deployment(),), traits=ROOTLESS)
    asked: list[tuple[Ref, str]] = []

    def tag(ref: Ref, reference: str) -> str:
        asked.append((ref, reference))
        return "89abcdef"

    secret = {"$secret": "generated:password:Deployment/cms/d#token:1"}
    shown = replace(paper, tag=tag).wanted()["queue.configuration"].spec["variables"]["queue_token"]
    assert shown == {**secret, "tag": "89abcdef"}
    assert asked == [(REF, secret["$secret"])]
    untold = replace(paper, tag=lambda _ref, _reference: "").wanted()["queue.configuration"].spec
    assert untold["variables"]["queue_token"] == secret


def test_a_secret_that_can_not_be_had_waits_and_says_what_to_do() -> None:
    def refuse(_ref: Ref, reference: str) -> str:
        raise Denied(f"{reference} is not set", hint="set it")

    given = deployment(token={"secret": "env:TOKEN"})
    found = Paper((given,), tag=refuse).condition()
    assert (found.word, found.reason, found.message) == (
        Word.WAITING,
        "SecretMissing",
        "env:TOKEN is not set (set it)",
    )


# ── instances ────────────────────────────────────────────────────────────────────────────────────


def test_more_and_fewer_instances_keep_the_numbers_of_those_that_stay() -> None:
    one = Paper((deployment(workers=1),), traits=ROOTLESS)
    three = scaled(one, 3)
    assert servers(three) == ["head.server", *(f"worker.{number}.server" for number in range(3))]
    two = scaled(three, 2)
    assert servers(two) == ["head.server", "worker.0.server", "worker.1.server"]
    assert replace(two, things=two.made()).plan() == []


def test_fewer_instances_take_away_the_highest_with_their_volumes_and_no_configurations() -> None:
    three = Paper((deployment(workers=3),), traits=ROOTLESS)
    deletes = [entry for entry in scaled(three, 2).plan() if entry[0] == "delete"]
    assert deletes == [("delete", "scratch.2.volume", "here"), ("delete", "worker.2.server", "here")]


def test_the_instances_that_are_named_leave_and_the_others_stay() -> None:
    three = Paper((deployment(workers=3),), traits=ROOTLESS)
    two = scaled(three, 2, leave=[0])
    assert servers(two) == ["head.server", "worker.1.server", "worker.2.server"]
    assert servers(replace(two, things=two.made())) == servers(two)
    assert servers(scaled(two, 3, leave=[0])) == [
        "head.server",
        "worker.1.server",
        "worker.2.server",
        "worker.3.server",
    ]


def test_a_number_is_free_again_only_when_its_machine_is_gone() -> None:
    two = Paper((deployment(workers=2),), traits=ROOTLESS)
    going = tuple(_going(thing, "worker.1.server") for thing in two.made())
    assert servers(replace(two, things=going)) == ["head.server", "worker.0.server", "worker.2.server"]
    gone = tuple(thing for thing in two.made() if thing.ref.part != "worker.1.server")
    assert servers(replace(two, things=gone)) == ["head.server", "worker.0.server", "worker.1.server"]


def _going(thing: Observed, part: str) -> Observed:
    return replace(thing, state=State.DELETING) if thing.ref.part == part else thing


def test_no_worker_at_all_is_possible() -> None:
    none = Paper((deployment("d", "farm", (), workers=0),), traits=ROOTLESS)
    assert servers(none) == ["head.server"]
    assert "agent" not in "".join(none.wanted())


# ── what can't be had ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("service", "inputs", "message"),
    [
        ("frm", {}, "there is no service 'frm' in the catalogue; there are: farm, plain"),
        ("farm@9.0.0", {}, "service farm has no version 9.0.0; there are: 1.0.0"),
        ("farm", {"workers": "many"}, "inputs.workers: "),
        ("farm", {"colour": "red"}, "inputs.colour: "),
    ],
)
def test_a_service_that_can_not_be_had_fails_its_deployment_alone(
    service: str, inputs: dict[str, str], message: str
) -> None:
    paper = Paper((deployment("d", service, (), **inputs), deployment("e")))
    found = paper.condition()
    assert (found.word, found.reason, found.who) == (Word.FAILED, "ServiceInvalid", "author")
    assert message in found.message
    assert paper.wanted(1)


def test_without_a_catalogue_nothing_that_stands_is_lost() -> None:
    paper = Paper((deployment(),), traits=ROOTLESS)
    lost = replace(paper, things=paper.made(), known=EMPTY)
    assert "no service at all" in lost.condition().message
    assert lost.plan() == []


def test_a_blind_target_that_could_hold_it_holds_everything_up() -> None:
    paper = Paper((deployment(),), targets=(site("here"), site("there")), blind=("there",))
    found = paper.condition()
    assert (found.word, found.reason) == (Word.BLIND, "TargetBlind")
    assert "there: no answer" in found.message
    assert paper.plan() == []
    assert replace(paper, absent=frozenset({"there"})).where() == ["here"]


def test_what_stands_at_a_blind_target_is_wanted_nowhere_else() -> None:
    paper = Paper((deployment(targets=["here", "there"]),), targets=(site("here"), site("there")))
    half = paper.made(only=["head.server"])
    dark = replace(paper, things=half, blind=("there",))
    assert {one.target for one in dark.wanted().values()} == {"here"}
    assert dark.plan() == []  # the rest could be where nobody can look
    assert all(one.candidates == {"there"} for one in dark.wanted().values())


# ── what goes ────────────────────────────────────────────────────────────────────────────────────


def test_a_deployment_that_leaves_git_takes_volumes_and_servers_and_configurations_go_with_them() -> None:
    paper = Paper((deployment(),))
    standing = replace(paper, things=paper.made())
    assert standing.plan() == []
    assert standing.plan({REF: "Removed"}) == [
        ("delete", "head.server", "here"),
        ("delete", "scratch.0.volume", "here"),
        ("delete", "worker.0.server", "here"),
    ]


def test_a_configuration_whose_server_stays_is_deleted_itself() -> None:
    paper = Paper((deployment(),), traits=ROOTLESS)
    queue = paper.wanted()["queue.configuration"]
    extra = thing_of(replace(queue, ref=REF.with_part("former", "configuration")))
    assert replace(paper, things=(*paper.made(), extra)).plan() == [
        ("delete", "former.configuration", "here")
    ]


def test_a_part_is_no_user_of_what_it_lies_in() -> None:
    paper = Paper((deployment(),), traits=ROOTLESS)
    users = users_of({REF: paper.made()}, PRIMITIVES)
    assert {uid: [user.ref.part for user in found] for uid, found in users.items()} == {
        "Deployment/cms/d/scratch.0.volume": ["worker.0.server"]
    }


def test_another_role_for_the_same_node_is_a_replace_that_removes_first() -> None:
    paper = Paper((deployment(),), traits=ROOTLESS)
    things = [
        replace(one, spec={**one.spec, "role": "other"}) if "queue" in one.ref.part else one
        for one in paper.made()
    ]
    (change,) = replace(paper, things=tuple(things)).difference().changes
    assert (change.action, change.order, change.reason) == ("replace", "delete-first", "ImmutableField")


# ── outputs ──────────────────────────────────────────────────────────────────────────────────────


def test_outputs_are_those_that_what_stands_tells() -> None:
    paper = Paper((deployment(workers=2),), traits=ROOTLESS)
    declared, known = paper.declared[0], library()
    assert KIND.outputs(declared, paper.made(), known) == {
        "url": "http://192.0.2.1/",
        "first": "192.0.2.1",
        "workers": 2,
    }
    assert KIND.outputs(declared, (), known) == {"workers": 2}
    building = paper.made(state=State.PROGRESSING)
    assert KIND.outputs(declared, building, known) == {"workers": 2}
    assert KIND.outputs(deployment("other", "nothing"), (), known) == {}
