"""Secrets: values that are named in git and live elsewhere. Beside `settings`, below the line.

A reference names a secret: `env:NAME`, `file:/path#key`, `age:/path#key`, or `generated:…`, which is derived
from the instance key. `Secrets` opens references; what it opened is in memory only. Importing this package
loads no library: `cryptography` and `pyrage` are loaded by the first secret that needs them.
"""

from __future__ import annotations

from reconciler.secret.errors import BadReference, NoKey, NoSecret
from reconciler.secret.generate import Generated
from reconciler.secret.references import File, Reference, Variable, is_reference, parse, permitted, read
from reconciler.secret.secrets import Secrets, secrets_of

__all__ = [
    "BadReference",
    "File",
    "Generated",
    "NoKey",
    "NoSecret",
    "Reference",
    "Secrets",
    "Variable",
    "is_reference",
    "parse",
    "permitted",
    "read",
    "secrets_of",
]
