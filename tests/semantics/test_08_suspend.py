"""Section 8: what is suspended is shown and left alone; status words and what waits for what."""

from __future__ import annotations

from reconciler.errors import ExitCode
from tests.laws.lab import Lab, at, rule
from tests.semantics.hands import condition, day, names, quiet, standing, uploads, word

SUSPEND = "suspend: {reason: hands off}"


def test_a_suspended_object_is_shown_and_left_alone() -> None:
    with Lab(uploads("u", "v")) as lab:
        lab.apply()
        lab.commit(uploads("u", metadata=SUSPEND, keepPrevious=4))
        lab.world("alba").change("SoftwareUpload/a/u", sha256="1" * 64)
        applied = quiet(lab)
        assert word(applied, "SoftwareUpload/a/u") == ("Suspended", "Suspended")
        assert "hands off" in condition(applied, "SoftwareUpload/a/u").message
        assert condition(applied, "SoftwareUpload/a/u").source.path == "software/a-u.yaml"
        lab.commit(uploads("u", keepPrevious=4))
        assert lab.apply().exit_code is ExitCode.CONVERGED
        quiet(lab)


def test_suspension_ends_with_its_day() -> None:
    with Lab(uploads("u")) as lab:
        lab.apply()
        lab.commit(uploads("u", metadata=f"suspend: {{reason: r, until: {day(2)}}}", keepPrevious=4))
        quiet(lab, now=at(day(2)))
        applied = lab.apply(now=at(day(3)))
        assert word(applied, "SoftwareUpload/a/u")[0] == "Ready"
        assert lab.things("SoftwareUpload")[0][1].spec["keepPrevious"] == 4


def test_a_suspended_group_is_left_alone_with_all_its_objects() -> None:
    with Lab({**uploads("u", "v"), **uploads("w", group="b")}) as lab:
        lab.apply()
        group = lab.files["groups/a.yaml"].replace("name: a", f"name: a, {SUSPEND}")
        lab.commit({"groups/a.yaml": group, **uploads("u", keepPrevious=2), **uploads("x")})
        applied = quiet(lab)
        for name in ("u", "v", "x"):
            assert word(applied, f"SoftwareUpload/a/{name}") == ("Suspended", "Suspended")
        lab.drop("software/a-v.yaml")
        applied = quiet(lab)
        assert names(lab) == {"u", "v", "w"}
        assert word(applied, "SoftwareUpload/a/v") == ("Suspended", "Suspended")
        lab.commit({"groups/a.yaml": lab.files["groups/a.yaml"].replace(f", {SUSPEND}", "")})
        lab.apply()
        assert names(lab) == {"u", "x", "w"}
        quiet(lab)


def test_a_suspended_provider_gets_no_writes_and_says_so() -> None:
    with Lab({**uploads("u"), **uploads("c", target="cnaf")}) as lab:
        lab.apply()
        provider = lab.files["providers/alba.yaml"].replace("name: alba", f"name: alba, {SUSPEND}", 1)
        lab.commit({"providers/alba.yaml": provider, **uploads("u", keepPrevious=2), **uploads("n")})
        lab.commit({**uploads("d", target="cnaf"), "data/r.yaml": rule("r", copies=3)})
        applied = lab.apply()
        assert word(applied, "Provider/alba")[0] == "Suspended"
        assert word(applied, "SoftwareUpload/a/d")[0] == "Ready"
        assert word(applied, "SoftwareUpload/a/u") == ("Waiting", "TargetSuspended")
        assert word(applied, "SoftwareUpload/a/n") == ("Waiting", "TargetSuspended")
        assert "hands off" in condition(applied, "SoftwareUpload/a/n").message
        assert names(lab) == {"u", "c", "d"}
        assert {site for site, _ref in standing(lab, "replica")} == {"brno", "cnaf"}
        quiet(lab, applied.exit_code)
        lab.commit({"providers/alba.yaml": provider.replace(f", {SUSPEND}", "")})
        assert lab.apply().exit_code is ExitCode.CONVERGED
        assert names(lab) == {"u", "c", "d", "n"}
        quiet(lab)


def test_a_dependent_of_a_suspended_one_goes_if_it_stands_else_waits() -> None:
    with Lab() as lab:
        files = {f"elements/{site}.yaml": lab.files[f"elements/{site}.yaml"] for site in ("alba", "brno")}
        lab.drop(*files)
        lab.apply()
        suspended = files["elements/alba.yaml"].replace("name: alba-disk", f"name: alba-disk, {SUSPEND}")
        lab.commit({"elements/alba.yaml": suspended, "data/r.yaml": rule("r", expression="country=ES")})
        applied = lab.apply()
        assert word(applied, "DataRule/a/r")[0] == "Waiting", condition(applied, "DataRule/a/r")
        assert not standing(lab, "replica")


def test_a_mistake_in_its_file_does_not_wake_a_group() -> None:
    with Lab(uploads("u", "v")) as lab:
        lab.apply()
        group = lab.files["groups/a.yaml"].replace("name: a", f"name: a, {SUSPEND}")
        lab.commit({"groups/a.yaml": group + "  nonsense: 1\n", **uploads("u", keepPrevious=2)})
        lab.drop("software/a-v.yaml")
        applied = quiet(lab, ExitCode.INVALID)
        assert word(applied, "UserGroup/a") == ("Failed", "Invalid")
        assert word(applied, "SoftwareUpload/a/u") == ("Suspended", "Suspended")
        assert names(lab) == {"u", "v"}
