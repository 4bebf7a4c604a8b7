"""What the store and git say together, without looking at the world: status, explain, history, outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler import registry
from reconciler.errors import InvalidRepository
from reconciler.line.reading import by_key, read
from reconciler.line.sealing import sealed
from reconciler.line.session import Request, Session, open_session
from reconciler.line.wish import wish_of
from reconciler.model import Condition, Declared, Json, Ref
from reconciler.store import Done, Run


@dataclass(frozen=True, slots=True)
class Standing:
    """How everything stood when the last run ended, beside what git says now."""

    conditions: Mapping[Ref, Condition]
    last_run: Run | None
    declared: Mapping[Ref, Declared]
    session: Session

    def outcomes(self, ref: Ref, limit: int = 10) -> tuple[Done, ...]:
        """What was done to an object lately, newest first."""
        return self.session.store.outcomes_of(ref, limit)


def standing(request: Request) -> Standing:
    """Conditions of the last run. Objects that no run has seen yet are not in it."""
    session = open_session(request)
    runs = session.store.runs(1)
    return Standing(session.history.conditions, runs[0] if runs else None, session.valid.declared, session)


def history(request: Request, ref: Ref | None, limit: int) -> tuple[tuple[Run, tuple[Done, ...]], ...]:
    """The last runs, newest first, and what each did (to one object, where a Ref is given)."""
    store = open_session(request).store
    runs = store.runs(limit, ref)
    return tuple((run, _done(store.outcomes_of_run(run.run), ref)) for run in runs)


def _done(outcomes: tuple[Done, ...], ref: Ref | None) -> tuple[Done, ...]:
    return outcomes if ref is None else tuple(done for done in outcomes if ref in (done.ref, done.ref.object))


def outputs(request: Request, ref: Ref) -> Mapping[str, Json]:
    """What one object gives its users now: reads the world."""
    session = open_session(request)
    problem = session.valid.invalid.get(ref)
    if problem is not None:
        raise InvalidRepository("the object is not valid", (problem,), hint="what stands of it is left alone")
    wish = wish_of(session)
    declared = wish.declared.get(ref)
    if declared is None:
        return {}
    things = read(session, wish).by_object(wish.renamed, by_key(wish)).get(ref, ())
    return sealed(session, ref, registry.kinds()[ref.kind].outputs(declared, things, session.valid.library))
