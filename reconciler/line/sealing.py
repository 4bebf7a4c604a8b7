"""Outputs for people: what is secret goes out encrypted to the group's recipients, or as a reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reconciler.line.permitted import tag_of
from reconciler.line.session import Session
from reconciler.model import Json, Ref


def sealed(session: Session, ref: Ref, outputs: Mapping[str, Json]) -> Mapping[str, Json]:
    """The outputs of one object; each secret one as `{"age": armored text}` of `{name: value}`.

    A group without recipients, and a secret that the group may not name, give the reference as it stands.
    Raises Denied where a secret can't be had.
    """
    group = session.valid.declared.get(Ref("UserGroup", "", ref.group))
    recipients = group.spec.get("recipients", ()) if group else ()
    if not recipients:
        return outputs
    return {name: _sealed(session, ref, name, value, recipients) for name, value in outputs.items()}


def _sealed(session: Session, ref: Ref, name: str, value: Json, recipients: tuple[str, ...]) -> Json:
    from reconciler.secret.recipients import encrypted  # noqa: PLC0415  most outputs hold no secret

    references = list(_secrets(value))
    if not references:
        return value
    for reference in references:
        tag_of(session, ref, reference)
    return {"age": encrypted({name: session.places.secrets.opened(value)}, recipients)}


def _secrets(value: Json) -> Iterator[str]:
    """The references of all secrets in a value."""
    if isinstance(value, Mapping):
        if "$secret" in value:
            yield value["$secret"]
        else:
            for entry in value.values():
                yield from _secrets(entry)
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from _secrets(entry)
