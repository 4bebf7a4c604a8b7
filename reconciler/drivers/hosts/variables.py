"""The variables of a role with their secrets opened, just before they are used; never kept, never shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from reconciler.model import Json

_SECRET: Final = "$secret"  # noqa: S105  the key in a spec, no secret
_JOIN: Final = "$join"
_HIDDEN: Final = "***"
_SHORTEST: Final = 4  # letters; anything shorter stands in every other text by chance

Open = Callable[[str], str]


def opened(value: Json, secret: Open) -> tuple[Json, tuple[str, ...]]:
    """The value with every `{"$secret": reference, …}` opened, and the texts that came out of it."""
    texts: list[str] = []

    def remembered(reference: str) -> str:
        texts.append(secret(reference))
        return texts[-1]

    return _opened(value, remembered), tuple(texts)


def _opened(value: Any, secret: Open) -> Json:
    if isinstance(value, Mapping):
        if _SECRET in value and value.keys() <= {_SECRET, "tag"}:
            return secret(str(value[_SECRET]))
        if value.keys() == {_JOIN}:
            return "".join(str(_opened(piece, secret)) for piece in value[_JOIN])
        return {key: _opened(entry, secret) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_opened(entry, secret) for entry in value]
    return value


def without(value: Json, texts: tuple[str, ...]) -> Json:
    """The value as it may be kept: `***` where one of these texts stands."""
    if isinstance(value, Mapping):
        return {str(without(key, texts)): without(entry, texts) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [without(entry, texts) for entry in value]
    if isinstance(value, str):
        for text in sorted(texts, key=len, reverse=True):
            value = value.replace(text, _HIDDEN) if len(text) >= _SHORTEST else value
    return value
