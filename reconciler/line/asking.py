"""What a person limits a run to must be there: a misspelt name is wrong use, not nothing to do."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.errors import UsageError
from reconciler.guess import did_you_mean
from reconciler.line.scene import View
from reconciler.line.session import Session
from reconciler.model import Ref


def check_asked(session: Session, view: View) -> None:
    """Raise UsageError, with a guess, for an object, target or group that neither git nor the world knows.

    While a target is blind an unknown object could be there: then nothing is called unknown.
    """
    request = session.request
    _check_targets(request.targets, view)
    if view.observation.blind:
        return
    known = _known(session, view)
    for ref in request.only:
        if ref.object not in known and not session.store.outcomes_of(ref, 1):
            raise _unknown("object", str(ref), map(str, known))
    groups = {ref.group for ref in known} | {ref.name for ref in known if ref.kind == "UserGroup"}
    if request.remove_group and request.remove_group not in groups:
        raise _unknown("group", request.remove_group, groups - {""})


def _known(session: Session, view: View) -> set[Ref]:
    """The objects that git declares or declared under another name, and those that stand."""
    valid, wish = session.valid, view.wish
    return {*valid.declared, *valid.invalid, *wish.renamed, *view.world.seen, *session.history.conditions}


def _check_targets(names: Iterable[str], view: View) -> None:
    targets = view.wish.targets
    known = targets.keys() | {target.provider for target in targets.values()}
    for name in names:
        if name not in known:
            raise _unknown("target", name, known)


def _unknown(what: str, name: str, known: Iterable[str]) -> UsageError:
    hint = did_you_mean(name, known) or "`reconciler status --all` lists what there is"
    return UsageError(f"no {what} '{name}'", hint=hint)
