"""Which secrets the authors of a group may name, and what a plan shows of one.

Whoever may name any file or variable of the machine that makes the passes could have its credentials sent to
a machine of their own. So `secrets` in reconciler.yaml (from the trusted ref) says what a group may name.
What is generated from the instance key is always its own.
"""

from __future__ import annotations

from reconciler.errors import Denied
from reconciler.line.session import Session
from reconciler.model import Ref
from reconciler.secret import Generated, parse, permitted


def tag_of(session: Session, ref: Ref, reference: str) -> str:
    """8 hex digits that change with the value of the secret. Raises Denied where `ref` may not have it.

    From git alone nothing is opened, and nothing is given.
    """
    named = parse(reference)
    if isinstance(named, Generated):
        if named.ref != str(ref.object):
            raise Denied(f"{ref.object} may not name a secret that is generated for another object")
    elif not permitted(named, session.valid.settings.secrets.get(ref.group, ())):
        who = f"group {ref.group}" if ref.group else f"{ref.object}, which belongs to no group,"
        place = "`secrets`" if ref.group else '`secrets: {"": [...]}`'
        hint = f"an operator lists it under {place} in reconciler.yaml"
        raise Denied(f"{who} may not name the secret {reference}", hint=hint)
    return "" if session.follows else session.places.secrets.tag(reference)
