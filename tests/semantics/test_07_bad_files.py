"""Section 7 and the exit codes: one bad file holds up nobody; what it could have said is left alone."""

from __future__ import annotations

from reconciler.errors import ExitCode
from tests.laws.lab import Lab
from tests.semantics.hands import condition, holds, names, quiet, uploads, word


def test_a_bad_object_is_left_alone_and_the_others_go_on() -> None:
    with Lab(uploads("u", "v")) as lab:
        lab.apply()
        lab.commit({**uploads("u", sha256="short"), **uploads("w")})
        lab.drop("software/a-v.yaml")
        applied = lab.apply()
        assert applied.exit_code is ExitCode.INVALID
        assert names(lab) == {"u", "w"}
        entry = condition(applied, "SoftwareUpload/a/u")
        assert (str(entry.word), entry.reason, entry.source.path) == (
            "Failed",
            "Invalid",
            "software/a-u.yaml",
        )
        assert lab.plan().exit_code is ExitCode.INVALID
        quiet(lab, ExitCode.INVALID)


def test_an_unreadable_file_holds_removals_and_replaces_only() -> None:
    with Lab(uploads("u", "v", "x")) as lab:
        lab.apply()
        lab.commit(
            {
                **uploads("w"),
                **uploads("x", path="a/other"),
                **uploads("v", keepPrevious=2),
                "bad.yaml": "kind: [SoftwareUpload\n",
            }
        )
        lab.drop("software/a-u.yaml")
        applied = lab.apply()
        assert applied.exit_code is ExitCode.INVALID
        assert holds(applied) == dict.fromkeys(
            ("SoftwareUpload/a/u", "SoftwareUpload/a/x"), "RepositoryInvalid"
        )
        assert names(lab) == {"u", "v", "w", "x"}
        assert word(applied, "SoftwareUpload/a/v")[0] == "Ready"
        quiet(lab, ExitCode.INVALID)
        lab.drop("bad.yaml")
        assert lab.apply().exit_code is ExitCode.CONVERGED
        quiet(lab)


def test_precedence_of_exit_codes() -> None:
    with Lab({**uploads("u", "v"), **uploads("c", target="cnaf")}) as lab:
        lab.apply()
        locked = uploads("u", metadata="locked: true")
        lab.commit(locked)
        lab.apply()
        lab.drop("software/a-u.yaml")
        assert lab.apply().exit_code is ExitCode.HELD
        lab.weather("cnaf", unauthorized=True)
        assert lab.apply().exit_code is ExitCode.BLIND
        lab.weather("alba", failures=[{"error": "Rejected", "operation": "create"}])
        lab.commit(uploads("n"))
        assert lab.apply().exit_code is ExitCode.FAILED
        lab.commit(uploads("m", sha256="short"))
        assert lab.apply().exit_code is ExitCode.INVALID


def test_a_rename_whose_file_is_bad_removes_nothing() -> None:
    with Lab(uploads("u", "v")) as lab:
        lab.apply()
        lab.drop("software/a-u.yaml")
        lab.commit(uploads("w", metadata="formerly: SoftwareUpload/a/u", path="a/u", sha256="short"))
        quiet(lab, ExitCode.INVALID)
        assert names(lab) == {"u", "v"}
        lab.commit(uploads("w", metadata="formerly: SoftwareUpload/a/u", path="a/u"))
        assert lab.apply().exit_code is ExitCode.CONVERGED
        assert names(lab) == {"w", "v"}
        quiet(lab)
