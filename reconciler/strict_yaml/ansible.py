"""The YAML of a role's files, read as Ansible reads it, as far as finding mistakes needs it.

That is YAML 1.1 (https://yaml.org/type/) with merge keys, keys of any sort, and tags of its own (ansible-core
2.19, "YAML Syntax", "Advanced playbook syntax": `!unsafe`, `!vault`). Every scalar comes out as its text, so
that nothing has to be resolved; nothing at all is "". The limits are those of the strict reader, and so is
its refusal of keys that are given twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any, Final

import yaml

from reconciler.strict_yaml import YamlError, _duplicate, _DuplicateError, _Reader
from reconciler.strict_yaml.places import place_of
from reconciler.strict_yaml.text import decode, parser_of, syntax_error

Text = Any  # str, list[Text] or dict[str, Text]
MERGE: Final = "<<"  # a merge key is this and a number, since a mapping may have several
_CORE: Final = "tag:yaml.org,2002:"
_TAGS: Final = frozenset(("!", "!unsafe", "!vault", "!vault-encrypted"))
_NULLS: Final = frozenset(("", "~", "null", "Null", "NULL"))
_VAULT: Final = b"$ANSIBLE_VAULT;"


def read_ansible(data: bytes) -> Text:
    """The one document of a file; "" where there is none or all is encrypted. Raises YamlError."""
    if data.startswith(_VAULT):
        return ""
    text = decode(data)
    try:
        documents = list(_AnsibleReader(parser_of(text), careful=False).documents())
    except _DuplicateError as error:
        raise _duplicate(text, error) from None
    except YamlError as error:
        raise _in_words(text, error) from None
    except yaml.MarkedYAMLError as error:
        raise syntax_error(text, error) from error
    if len(documents) > 1:
        raise YamlError((documents[1].line, 1), "Documents", "more than one document in the file", "keep one")
    return documents[0].value if documents else ""


def _in_words(text: str, error: YamlError) -> YamlError:
    """A template without quotes is a mapping whose key is a mapping: nobody means that."""
    line = text.splitlines()[error.line - 1] if error.code == "Key" else ""
    if "{{" not in line[max(0, error.column - 2) : error.column]:
        return error
    message = "a template at the beginning of a value must be in quotes"
    return YamlError((error.line, error.column), "Syntax", message, 'write "{{ … }}"')


def merged(mapping: Mapping[str, Text]) -> Mapping[str, Text]:
    """The mapping with what its merge keys bring in; its own keys win, and earlier ones over later ones."""
    if not any(key.startswith(MERGE) for key in mapping):
        return mapping
    whole: dict[str, Text] = {}
    for key, value in mapping.items():
        if key.startswith(MERGE):
            for source in value if isinstance(value, list) else [value]:
                whole = {**(merged(source) if isinstance(source, dict) else {}), **whole}
    return {**whole, **{key: value for key, value in mapping.items() if not key.startswith(MERGE)}}


class _AnsibleReader(_Reader):
    """Keeps the text of every scalar, and numbers the merge keys."""

    __slots__ = ("merges",)

    def __init__(self, parser: Any, *, careful: bool) -> None:
        super().__init__(parser, careful=careful)
        self.merges = count()

    def scalar(self, event: Any) -> str:
        """The text of a scalar, whatever it would be resolved to."""
        value: str = event.value
        if event.implicit[0] and value in _NULLS:
            value = ""
        elif event.implicit[0] and value == MERGE:
            value = f"{MERGE}{next(self.merges)}"
        elif event.tag is not None:
            _check_tag(event)
        if event.anchor is not None:
            self.anchors[event.anchor] = value
        return value

    def opened(self, event: Any, depth: int) -> Text:
        """A new list or mapping. Ansible's own tags are allowed on them, too."""
        if event.tag is not None:
            _check_tag(event)
            event.tag = None
        return super().opened(event, depth)


def _check_tag(event: Any) -> None:
    if event.tag not in _TAGS and not event.tag.startswith(_CORE):
        tag = event.tag[:60]
        raise YamlError(
            place_of(event), "Tag", f"Ansible has no tag `{tag}`", "quote a value that begins with `!`"
        )
