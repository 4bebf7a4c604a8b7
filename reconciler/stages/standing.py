"""execute, between two writes: what the last look says of what a job needs, uses, or waits for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from reconciler.kind import Primitive, World
from reconciler.late import attribute_of, late_values, resolve
from reconciler.model import Change, Json, Observed, Ref, State
from reconciler.stages.case import users_of
from reconciler.stages.jobs import Job

Place = tuple[str, str]  # (target, uid)


class Standing:
    """One look, by Ref and by use. `leaving` is what the plan takes away: nothing to rely on."""

    def __init__(
        self, world: World, leaving: Collection[Place | None], primitives: Mapping[str, Primitive]
    ) -> None:
        self.world = world
        self._leaving = leaving
        self._by_ref: dict[Ref, list[Observed]] = {}
        for things in world.seen.values():
            for thing in things:
                self._by_ref.setdefault(thing.ref, []).append(thing)
        self.uids = {(thing.target, thing.uid) for things in self._by_ref.values() for thing in things}
        self._users = users_of(world.seen, primitives)

    def ready(self, ref: Ref) -> list[Observed]:
        """The ready things of a Ref that stay."""
        things = self._by_ref.get(ref, ())
        return [
            thing
            for thing in things
            if thing.state is State.READY and (thing.target, thing.uid) not in self._leaving
        ]

    def resolved(self, change: Change) -> Change:
        """The change with its late values filled in from what stands now."""
        if change.want is None or not change.want.needs:
            return change
        return replace(change, want=replace(change.want, spec=resolve(change.want.spec, self._attribute)))

    def _attribute(self, ref: Ref, name: str) -> Json:
        ready = self.ready(ref)
        return attribute_of(ready[0].attributes, name) if ready else None

    def untold(self, change: Change) -> list[str]:
        """The late values of a wish that nothing tells (yet)."""
        wish = self.resolved(change).want
        return [f"{ref}#{name}" for ref, name in late_values(wish.spec)] if wish and wish.needs else []

    def told_by(self, change: Change, refs: Collection[Ref]) -> bool:
        """Does one of these tell the change a late value?"""
        return change.want is not None and any(ref in refs for ref, _ in late_values(change.want.spec))

    def used(self, change: Change) -> bool:
        """Does something else still use the thing that is to go?"""
        return change.have is not None and any(
            user.uid != change.have.uid for user in self._users.get(change.have.uid, ())
        )

    def awaited(self, job: Job) -> list[Observed]:
        """What a job may wait for: what it needs, its own kin, and the users of what it takes away."""
        change = job.change
        things = [thing for ref in (*change.needs, change.ref) for thing in self._by_ref.get(ref, ())]
        return [*things, *(self._users.get(job.leaves[1], ()) if job.leaves else ())]

    def moving(self, job: Job, slow: Collection[str]) -> list[Observed]:
        """What of that is on its way, and not of a slow kind."""
        return [thing for thing in self.awaited(job) if thing.state.moving and thing.kind not in slow]

    def why_blocked(
        self, job: Job, needs: Sequence[Ref], *, anywhere: Collection[str]
    ) -> tuple[str, str, tuple[Ref, ...]]:
        """Reason, message and blockers of a job that never became ready. `anywhere` are blind targets."""
        change = job.change
        blind = [ref for ref in needs if ref not in self._by_ref and anywhere]
        users = [user.ref for user in self._users.get(change.have.uid, ())] if change.have else []
        untold = [] if needs else self.untold(change)
        blockers = tuple(blind or needs or sorted(users))
        names = ", ".join(untold[:3] or [str(ref) for ref in blockers[:3]])
        if untold:
            return "AttributeUnknown", f"waits for {names}", blockers
        if not blockers:
            return (
                ("Deleting", "waits for the one before to be gone", ())
                if job.gone
                else ("Dependency", "waits for its successor", ())
            )
        reason = "BlindDependency" if blind else "Dependency" if needs else "InUse"
        return reason, f"waits for {names}", blockers
