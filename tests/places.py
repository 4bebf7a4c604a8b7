"""What a driver under test is given: a data folder, and neither secrets nor roles."""

from __future__ import annotations

from reconciler.errors import Denied


class NoSecrets:
    """The part of `Places` that most drivers never ask for."""

    def secret(self, reference: str) -> str:
        raise Denied(f"{reference}: there are no secrets here")

    def roles(self) -> tuple[str, ...]:
        return ()
