"""What was worked out for one deployment and holds for others of the same service: most of a topology.

Working out is deterministic. So where a piece looked at some inputs, it comes out the same for every
deployment with the same values of those inputs; it would not get to look at others.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from reconciler.model import Json
from reconciler.tosca.values import text_of

if TYPE_CHECKING:
    from reconciler.tosca.functions import Scope

T = TypeVar("T")
_MOST: Final = 1024  # values of one piece that are kept: texts that nobody shares must not add up


@dataclass(slots=True)
class _Piece:
    """`looked`: the inputs that it looked at when it was last made. `known`: their values → result, calls."""

    looked: tuple[str, ...] = ()
    known: dict[Hashable, tuple[Any, int]] = field(default_factory=dict)


@dataclass(slots=True)
class Memory:
    """The pieces of one service, by what they are."""

    _pieces: dict[Hashable, _Piece] = field(default_factory=dict)

    def once(self, what: Hashable, scope: Scope, make: Callable[[], T]) -> T:
        """What `make` works out within `scope`, and the same calls counted; an error is not remembered."""
        piece = self._pieces.get(what)
        if piece is not None:
            found = piece.known.get(_key(piece.looked, scope))
            if found is not None and found[1] <= scope.left:
                scope.left -= found[1]
                scope.looked.update(piece.looked)
                remembered: T = found[0]
                return remembered
        return self._made(what, scope, make)

    def _made(self, what: Hashable, scope: Scope, make: Callable[[], T]) -> T:
        before, left, scope.looked = scope.looked, scope.left, set()
        try:
            made = make()
            self._keep(what, scope, (made, left - scope.left))
        finally:
            scope.looked |= before
        return made

    def _keep(self, what: Hashable, scope: Scope, answer: tuple[Any, int]) -> None:
        looked = tuple(sorted(scope.looked))
        piece = self._pieces.get(what)
        if piece is None or piece.looked != looked or len(piece.known) >= _MOST:
            piece = self._pieces[what] = _Piece(looked)
        piece.known[_key(looked, scope)] = answer


def _key(names: tuple[str, ...], scope: Scope) -> Hashable:
    return tuple([_frozen(scope.inputs[name]) for name in names]) if names else ()


def _frozen(value: Json) -> Hashable:
    """The value as a key: true is not 1, 22.10 not 22.1."""
    if isinstance(value, dict):
        return tuple((name, _frozen(entry)) for name, entry in value.items())
    if isinstance(value, list):
        return (list, *map(_frozen, value))
    return type(value), text_of(value)
