"""What a person has seen and said yes to: `--approve DIGEST` and `--plan FILE`.

An approval is bound to digests of changes. A FILE is never an authority: the plan is derived anew,
and what the file shows must still be what would be done, or the run refuses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.errors import Stale, UsageError
from reconciler.model import NOTHING, Change, Plan, Spec
from reconciler.stages.case import NEVER_APPROVED

Present = Mapping[Any, Spec]  # (Ref as text, target) → the spec of what stands there
SHORTEST = 8  # hex digits of a digest that a person may type


@dataclass(frozen=True, slots=True)
class Consent:
    """`approved` holds are released; only `allowed` changes are applied (None: all that are open)."""

    approved: frozenset[str] = frozenset()
    allowed: frozenset[str] | None = None

    def allows(self, change: Change) -> bool:
        return self.allowed is None or change.digest in self.allowed


def consent(
    plan: Plan,
    approve: Iterable[str],
    plan_file: Mapping[str, Any] | None,
    present: Present = NOTHING,
) -> Consent:
    """What this run may do. Raises Stale when what was seen is not what would be done now."""
    approve = tuple(approve)
    if plan_file is not None:
        return _from_file(plan, plan_file, approve, present)
    if not approve:
        return Consent()
    found = frozenset(digest for said in approve for digest in _approved(plan, said))
    return Consent(found & _releasable(plan), found)


def _releasable(plan: Plan) -> frozenset[str]:
    """What an approval releases: what is held, and not for good; no word on what comes to be held later."""
    return frozenset(
        change.digest for change in plan.held if change.hold and change.hold.reason not in NEVER_APPROVED
    )


def _approved(plan: Plan, said: str) -> Iterable[str]:
    """The digests of the changes that one DIGEST names: a plan's, a hold group's, or a change's."""
    if _matches(plan.digest, said):
        return [change.digest for change in plan.changes]
    for bucket, digest in plan.buckets().items():
        if _matches(digest, said):
            return [change.digest for change in plan.held if change.hold and change.hold.bucket == bucket]
    changes = [change for change in plan.changes if _matches(change.digest, said)]
    if not changes:
        raise Stale(
            f"nothing in the plan has the digest {said}", hint="plan again and approve what it shows now"
        )
    _refuse_final(changes)
    return [change.digest for change in changes]


def _matches(digest: str, said: str) -> bool:
    if said.startswith("intent:"):
        raise UsageError("an intent digest can't be approved", hint="approve the digest of a live plan")
    wanted = said if said.startswith("sha256:") else f"sha256:{said}"
    return len(wanted) >= len("sha256:") + SHORTEST and digest.startswith(wanted)


def _refuse_final(changes: Iterable[Change]) -> None:
    for change in changes:
        if change.hold and change.hold.reason in NEVER_APPROVED:
            raise UsageError(
                f"{change.ref} is held ({change.hold.reason}) and can't be approved", hint=change.hold.message
            )


def _from_file(
    plan: Plan, plan_file: Mapping[str, Any], approve: tuple[str, ...], present: Present
) -> Consent:
    if plan_file.get("schemaVersion") != 1 or "changes" not in plan_file:
        raise UsageError(
            "this is not a plan of version 1", hint="make one with: reconciler plan --format json --out FILE"
        )
    if str(plan_file.get("digest", "")).startswith("intent:"):
        raise UsageError("this plan was made from git alone (--against) and can't be applied")
    shown = {entry["digest"]: entry for entry in plan_file["changes"]}
    current = {change.digest for change in plan.changes}
    stale = sorted(
        entry["ref"]
        for digest, entry in shown.items()
        if digest not in current and not in_effect(entry, plan, present)
    )
    if stale:
        names = ", ".join(stale[:5]) + (f" and {len(stale) - 5} more" if len(stale) > 5 else "")
        raise Stale(f"the plan is stale: not what would be done now: {names}", hint="plan again")
    approved = frozenset(digest for said in approve for digest in _approved(plan, said)) & shown.keys()
    replaced = {(entry["ref"], entry["target"]) for entry in shown.values() if entry["action"] == "replace"}
    halves = {
        change.digest
        for change in plan.changes
        if change.reason == "Superseded" and (str(change.ref), change.target) in replaced
    }
    return Consent(approved & _releasable(plan), frozenset(shown) | halves)


def in_effect(entry: Mapping[str, Any], plan: Plan, present: Present) -> bool:
    """Has what a shown change would do been done already, or is it under way?

    Under way is a replace of which only the old thing is still to go.
    """
    key = (entry["ref"], entry["target"])
    left = [change for change in plan.changes if (str(change.ref), change.target) == key]
    if left:
        return entry["action"] == "replace" and all(change.reason == "Superseded" for change in left)
    if entry["action"] == "delete" or _releases(entry):
        return key not in present
    return key in present and all(_holds(field, present[key]) for field in entry.get("fields", ()))


def _releases(entry: Mapping[str, Any]) -> bool:
    """Does this change take our mark off (onRemove: keep)? What has none is not listed any more."""
    return any(field["path"] == "mark" and "want" not in field for field in entry.get("fields", ()))


def _holds(field: Mapping[str, Any], spec: Spec) -> bool:
    """Does the thing have what this field wants? What is not a part of the spec can't be told."""
    value: Any = spec
    for piece in field["path"].split("."):
        if not isinstance(value, Mapping) or piece not in value:
            return "want" not in field or field["path"].partition(".")[0] not in spec
        value = value[piece]
    return bool(value == field.get("want"))
