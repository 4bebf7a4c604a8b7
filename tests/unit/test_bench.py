"""The bench measures what it says: the same repository every time, valid, and honest rows."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from bench.__main__ import main, result_of
from bench.command import Sample
from bench.field import Goal, Measured, Row
from bench.generate import Size, files, generate, sites_of
from bench.ground import Ground
from reconciler.placement.expression import parse

SMALL = Size(objects=40, sites=4, groups=3)


def test_the_same_arguments_give_the_same_commit(tmp_path: Path) -> None:
    commits = []
    for _ in range(2):
        commits.append(generate(tmp_path / "repository", SMALL))
        shutil.rmtree(tmp_path / "repository")
    assert commits[0] == commits[1]
    assert generate(tmp_path / "repository", Size(40, 4, seed=2, groups=3)) != commits[0]


def test_the_mix_is_as_said() -> None:
    paths = [path for path, _ in files(Size(1000), Path("/somewhere"))]
    assert len(paths) == len(set(paths)) == 1000 + 20 + 20 + 10 + 1
    assert sum(path.startswith("software/") for path in paths) == 600
    rules = [path for path in paths if path.startswith("data/") and not path.startswith("data/elements/")]
    assert len(rules) == 400


@pytest.mark.parametrize(("copies", "sites"), [(1, 1), (1, 20), (4, 4), (4, 20), (10, 20)])
def test_every_rule_has_enough_elements_to_choose_from(copies: int, sites: int) -> None:
    size = Size(200, sites, copies=copies)
    attributes = {
        site.element: {"site": site.name, "country": site.country, "tier": site.tier, "quality": "disk"}
        for site in sites_of(size)
    }
    texts = [text for _, text in files(size, Path("/somewhere")) if "kind: DataRule" in text]
    expressions = {text.split('expression: "')[1].split('"')[0] for text in texts}
    assert all(len(parse(expression).select(attributes)) >= copies for expression in expressions)
    assert len(texts) == (200 if copies > 1 else 80)


@pytest.mark.parametrize("copies", [1, 4])
def test_a_generated_repository_is_valid(tmp_path: Path, copies: int) -> None:
    ground = Ground(tmp_path, Size(40, 4, copies=copies, groups=3))
    ground.validate("--against", "main")
    ground.validate("--against", "main")  # and from the cache
    assert ground.calls() == 0


def test_generated_deployments_are_valid_and_have_four_parts(tmp_path: Path) -> None:
    ground = Ground(tmp_path, Size(0, 4, groups=3, deployments=10))
    ground.converge()
    things = [
        thing.ref.rpartition("/")[2] for thing in ground.things() if thing.ref.startswith("Deployment/")
    ]
    assert Counter(things) == dict.fromkeys(
        ("kept.volume", "machine.server", "machine-base.configuration", "site.configuration"), 10
    )


def test_a_row_is_met_only_below_every_goal() -> None:
    def row(goal: Goal) -> Row:
        return Row("name", "title", goal, lambda _place: measured)

    runs = [Sample(seconds, 0.1, 20 * seconds, 0, 0.0, calls=7) for seconds in (3.0, 1.0, 2.0)]
    measured = Measured(10, runs, ratios=[1.0, 3.0, 2.0], blocked=1)
    result = result_of(row(Goal(seconds=2.0, mib=60, calls=7, ratio=2.0, blocked=1)), measured)
    assert (result["seconds"], result["spread"], result["mib"], result["calls"]) == (2.0, [1.0, 3.0], 60.0, 7)
    assert result["met"] is True
    lower = (Goal(1.9), Goal(mib=59), Goal(calls=6), Goal(ratio=1.9), Goal(blocked=0))
    assert [result_of(row(goal), measured)["met"] for goal in lower] == [False] * 5


def test_the_bench_runs(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--quick", "--only", "start-version", "validate-cold"])
    said = capsys.readouterr()
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert [row["name"] for row in rows] == ["start-version", "validate-cold"]
    assert all("error" not in row and row["seconds"] > 0 and row["target"] for row in rows)
    assert rows[1]["objects"] == 1000
    assert "validate, 10,000 files, cold" in said.err
