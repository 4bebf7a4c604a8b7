"""Section 4: blind counts as present when we create, as absent when we delete; proof; probes."""

from __future__ import annotations

import time

import pytest

from reconciler.errors import ExitCode
from tests.laws.lab import Lab, rule
from tests.semantics.hands import condition, day, holds, names, quiet, standing, uploads, word


def test_nothing_is_made_where_it_could_be_already() -> None:
    with Lab(uploads("u")) as lab:
        lab.weather("cnaf", unauthorized=True)
        lab.commit({"data/r.yaml": rule("r")})
        lab.apply()
        applied = quiet(lab, ExitCode.BLIND)
        entry = condition(applied, "DataRule/a/r")
        assert (str(entry.word), entry.reason) == ("Blind", "TargetBlind")
        assert entry.who == "operator of the target"
        assert not standing(lab, "replica")
        assert word(applied, "SoftwareUpload/a/u")[0] == "Ready"
        assert word(applied, "Provider/cnaf") == ("Blind", "Unreadable")


def test_what_the_store_proves_absent_is_made_elsewhere() -> None:
    with Lab(uploads("u")) as lab:
        assert lab.apply().exit_code is ExitCode.CONVERGED
        lab.weather("cnaf", unauthorized=True)
        lab.commit({"data/r.yaml": rule("r")})
        applied = lab.apply()
        assert word(applied, "DataRule/a/r")[0] == "Ready"
        assert len(standing(lab, "replica")) == 1
        lab.clear()
        assert lab.apply().exit_code is ExitCode.CONVERGED
        assert len(standing(lab, "replica")) == 1
        quiet(lab)


def test_an_attempt_takes_the_proof_away() -> None:
    """The create at cnaf was attempted and its answer lost; then cnaf is blind: it could be there."""
    with Lab({"data/x.yaml": rule("x")}) as lab:
        lab.apply()
        lab.commit({"data/r.yaml": rule("r", expression="country=IT")})
        lab.weather(
            "cnaf", failures=[{"error": "hang", "operation": "create", "kind": "replica"}], hangSeconds="4s"
        )
        lab.apply()
        lab.weather("cnaf", unauthorized=True)
        lab.commit({"data/r.yaml": rule("r", expression="tier=1")})
        applied = lab.apply()
        assert word(applied, "DataRule/a/r")[0] == "Blind", condition(applied, "DataRule/a/r")
        assert not [text for _s, text in standing(lab, "replica") if "/r/" in text and _s == "brno"]


def test_removals_where_a_target_is_blind_wait() -> None:
    with Lab({**uploads("u", "v", "w"), **uploads("c", "d", target="cnaf")}) as lab:
        lab.apply()
        lab.drop("software/a-u.yaml", "software/a-c.yaml")
        lab.weather("cnaf", unauthorized=True)
        applied = lab.apply()
        assert applied.exit_code is ExitCode.BLIND
        assert names(lab) == {"v", "w", "c", "d"}
        lab.clear()
        assert lab.apply().exit_code is ExitCode.CONVERGED
        assert names(lab) == {"v", "w", "d"}
        quiet(lab)


def test_expired_at_a_blind_target_is_blind_not_gone() -> None:
    with Lab({**uploads("v"), **uploads("u", target="cnaf")}) as lab:
        lab.apply()
        lab.commit(uploads("u", target="cnaf", metadata=f"expires: {day(-1)}"))
        lab.weather("cnaf", unauthorized=True)
        applied = quiet(lab, ExitCode.BLIND)
        assert word(applied, "SoftwareUpload/a/u") == ("Blind", "TargetBlind")
        lab.clear()
        assert word(lab.apply(), "SoftwareUpload/a/u") == ("Ready", "Expired")
        assert names(lab) == {"v"}


def test_a_target_that_was_blind_is_probed_first() -> None:
    with Lab(uploads("u")) as lab:
        lab.apply()
        lab.weather("cnaf", hang="hard")
        first = _seconds(lab)
        again = _seconds(lab)
        assert first >= 2
        assert again < 1.9
        lab.clear()
        assert lab.apply().exit_code is ExitCode.CONVERGED


def _seconds(lab: Lab) -> float:
    started = time.monotonic()
    assert lab.apply().exit_code is ExitCode.BLIND
    return time.monotonic() - started


@pytest.mark.parametrize("forget", [False, True])
def test_losing_the_store_costs_waiting_only(forget: bool) -> None:
    with Lab({"data/r.yaml": rule("r")}) as lab:
        lab.apply()
        ((site, _),) = standing(lab, "replica")
        if forget:
            lab.forget()
        lab.weather(site, unauthorized=True)
        applied = quiet(lab, ExitCode.BLIND)
        assert word(applied, "DataRule/a/r")[0] == "Blind"
        lab.clear()
        quiet(lab)


def test_a_rule_whose_copy_is_unseen_loses_no_other() -> None:
    with Lab({"data/r.yaml": rule("r", copies=2)}) as lab:
        lab.apply()
        site = min(site for site, _ in standing(lab, "replica"))
        lab.weather(site, unauthorized=True)
        lab.commit({"data/r.yaml": rule("r", copies=1)})
        applied = lab.apply()
        assert len(standing(lab, "replica")) == 2
        assert not set(holds(applied).values()) - {"LastCopy", "BlindBucket"}
        lab.clear()
        lab.apply()
        assert len(standing(lab, "replica")) == 1
        quiet(lab)
