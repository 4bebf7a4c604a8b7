"""Random repositories and weather for the laws. Small on purpose: bugs of order hide in small worlds."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.laws.lab import SITES, Files, rule, upload

EXPRESSIONS = ("*", "tier=1", "tier=2|country=IT", "country=CZ", "*\\tier=1")

_uploads = st.dictionaries(
    st.sampled_from(["u0", "u1", "u2", "u3", "u4"]),
    st.tuples(st.sampled_from("ab"), st.sampled_from(SITES), st.integers(0, 2)),
    max_size=5,
)
_rules = st.dictionaries(
    st.sampled_from(["r0", "r1", "r2"]),
    st.tuples(st.sampled_from("ab"), st.integers(1, 2), st.sampled_from(EXPRESSIONS)),
    max_size=3,
)


@st.composite
def objects(draw: st.DrawFn) -> Files:
    """What the authors of two groups might have committed, by path."""
    files: Files = {}
    for name, (group, target, keep) in draw(_uploads).items():
        files[f"software/{name}.yaml"] = upload(name, group, target, keepPrevious=keep)
    for name, (group, copies, expression) in draw(_rules).items():
        files[f"data/{name}.yaml"] = rule(name, group, copies, expression)
    return files


def histories(most: int = 3) -> st.SearchStrategy[list[Files]]:
    """A few commits, one after the other; each is the whole of what the authors want."""
    return st.lists(objects(), min_size=1, max_size=most)


_FAULTS: tuple[dict[str, Any], ...] = (
    {},
    {"failureRate": 30, "failureSeed": "rain"},
    {"lostAnswers": 40, "failureSeed": "fog"},
    {"failures": [{"error": "Rejected", "operation": "create", "share": 50}]},
    {"failures": [{"error": "Partial", "operation": "create", "times": 1}]},
    {"failures": [{"error": "Conflict", "operation": "update"}]},
)
_BLINDING: tuple[dict[str, Any], ...] = (
    {"unauthorized": True},
    {"truncatedPages": True, "pageSize": 2},
    {"failures": [{"error": "Transient", "operation": "list"}]},
    {"failures": [{"error": "Denied", "operation": "list", "kind": "replica"}]},
)

weather = st.fixed_dictionaries({site: st.sampled_from(_FAULTS + _BLINDING) for site in SITES})
blinding = st.sampled_from(_BLINDING)
sites = st.sampled_from(SITES)
