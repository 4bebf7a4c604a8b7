"""What things of our files are called at a back-end that has names of its own.

Names in git are DNS labels (`cnaf-disk`). Rucio's generic schema wants storage elements in capitals
(common/schema/generic.py: RSE); other policies allow more. So an element may say how Rucio calls it, and is
called like in git, in capitals, where it does not. Natural keys of such things begin with their target:
several targets may be one Rucio, and one name may be on two of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from reconciler.model import Declared

RSE_PATTERN: Final = r"^[A-Za-z0-9]+([_.-][A-Za-z0-9]+)*$"
_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_OF: Final = ">"  # no name holds it


def rse_of(declared: Declared) -> str:
    """What Rucio calls a declared StorageElement."""
    said: str | None = declared.spec.get("rse")
    return said or declared.ref.name.upper()


def rse_named(word: str) -> str:
    """What Rucio calls the element that a file names: by its name in git, or by that at Rucio."""
    return word.upper() if _LABEL.fullmatch(word) else word


def natural_key(target: str, name: str, detail: str = "") -> str:
    """The key of a thing at its target; with `detail`, of something about it that is read only if asked."""
    return f"{target}:{name}{_OF if detail else ''}{detail}"


def kept(value: str | int | bool) -> str | bool:  # noqa: FBT001  a value, not a switch
    """An attribute as Rucio keeps it: true and false, and text (db/sqla/types.py: BooleanString)."""
    text = str(value)
    return text.lower() == "true" if text.lower() in ("true", "false") else text


def all_kept(attributes: Mapping[str, str | int | bool]) -> dict[str, str | bool]:
    """The same for all of them."""
    return {key: kept(value) for key, value in attributes.items()}
