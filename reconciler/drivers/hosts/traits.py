"""What placement must know of a target of machines, and what its settings alone tell."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.model import Json, Target


def traits(target: Target) -> Mapping[str, Json]:
    """`rootless`: its machines are private directories, without root. `volumes`: can it have any?"""
    machines = target.settings.get("machines")
    return {"rootless": machines == "local", "volumes": machines != "ssh"}
