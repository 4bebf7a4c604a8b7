"""The library of a repository: the services of its catalogue, and the roles that configure machines.

Services come from the commit that is looked at, roles from the trusted one and from what ships with us.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from reconciler.model import NOTHING

T = TypeVar("T")

if TYPE_CHECKING:
    from reconciler.playbook.roles import RoleFacts
    from reconciler.tosca.services import Service


@dataclass(frozen=True, slots=True)
class Library:
    """`services` by name and version, the newest first: a plain name means that one. `roles` by name.

    `broken` are the folders of services and roles that could not be read (`catalogue/web`, `roles/squid`).
    """

    services: Mapping[str, Mapping[str, Service]] = NOTHING
    roles: Mapping[str, RoleFacts] = NOTHING
    broken: frozenset[str] = frozenset()
    _made: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What `make` derives from this library, worked out once. `name` says what it is."""
        if name not in self._made:
            self._made[name] = make()
        made: T = self._made[name]
        return made


EMPTY: Final = Library()
