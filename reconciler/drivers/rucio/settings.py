"""The settings of a target of type rucio: JSON Schema, draft 2020-12, closed."""

from __future__ import annotations

from typing import Any, Final

# A password or a token must not go over a network in the clear.
_URL: Final = r"^(https://[A-Za-z0-9.-]+(:[0-9]{1,5})?|http://(localhost|127\.0\.0\.1)(:[0-9]{1,5})?)(/[A-Za-z0-9._~/-]*)?$"
_REFERENCE: Final = {"type": "string", "pattern": "^(env|file|age):", "maxLength": 1024}
_FILE: Final = {"type": "string", "pattern": "^/", "maxLength": 1024}


def _needs(sort: str, *needed: str) -> dict[str, Any]:
    """Of the keys of all sorts of login, this one has these, and no others."""
    every = {"username", "password", "token", "certificate", "key"}
    return {
        "if": {"properties": {"type": {"const": sort}}},
        "then": {"required": list(needed), "properties": dict.fromkeys(sorted(every - {*needed}), False)},
    }


_AUTH: Final[dict[str, Any]] = {
    "title": "Login",
    "description": "Who we are for this Rucio.",
    "type": "object",
    "additionalProperties": False,
    "required": ["type"],
    "properties": {
        "type": {
            "title": "Type",
            "description": "userpass: a user and a password. oidc: a token that somebody keeps fresh. "
            "x509: a certificate and its key.",
            "enum": ["userpass", "oidc", "x509"],
            "examples": ["userpass"],
        },
        "username": {
            "title": "User",
            "description": "The user whose identity the account has (userpass).",
            "type": "string",
            "pattern": "^[!-~]+$",
            "maxLength": 255,
            "examples": ["reconciler"],
        },
        "password": {
            **_REFERENCE,
            "title": "Password",
            "description": "A reference to the password (userpass).",
            "examples": ["env:RUCIO_PASSWORD", "file:/etc/reconciler/rucio#password"],
        },
        "token": {
            **_REFERENCE,
            "title": "Token",
            "description": "A reference to a bearer token that Rucio accepts (oidc). Each run reads it anew.",
            "examples": ["file:/run/reconciler/token"],
        },
        "certificate": {
            **_FILE,
            "title": "Certificate",
            "description": "The file of the certificate, PEM, with what else the chain needs (x509).",
            "examples": ["/etc/reconciler/usercert.pem"],
        },
        "key": {
            **_FILE,
            "title": "Key",
            "description": "The file of its private key, PEM, without a passphrase, for us only (x509).",
            "examples": ["/etc/reconciler/userkey.pem"],
        },
    },
    "allOf": [
        _needs("userpass", "username", "password"),
        _needs("oidc", "token"),
        _needs("x509", "certificate", "key"),
    ],
    "examples": [{"type": "userpass", "username": "reconciler", "password": "env:RUCIO_PASSWORD"}],
}

_ELEMENTS: Final[dict[str, Any]] = {
    "title": "Elements",
    "description": "What all storage elements of this target have that their files do not say otherwise.",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "attributes": {
            "title": "Attributes",
            "description": "Attributes of all of them.",
            "type": "object",
            "maxProperties": 100,
            "additionalProperties": {"type": ["string", "integer", "boolean"]},
            "examples": [{"fts": "https://fts.example.org:8446"}],
        },
        "protocols": {
            "title": "Protocols",
            "description": "The ways to the files of those whose file names none.",
            "type": "array",
            "maxItems": 20,
            "items": {
                "title": "Protocol",
                "description": "One way to the files; `{rse}` in its prefix is the element's name at Rucio.",
                "type": "object",
                "additionalProperties": False,
                "required": ["scheme", "prefix"],
                "properties": {
                    "scheme": {"type": "string", "pattern": "^[a-z][a-z0-9+.-]{0,31}$", "examples": ["davs"]},
                    "prefix": {"type": "string", "pattern": "^/", "examples": ["/rucio/{rse}"]},
                    "hostname": {"type": "string", "pattern": "^[A-Za-z0-9._-]+$", "default": "localhost"},
                    "port": {"type": "integer", "minimum": 0, "maximum": 65535, "default": 0},
                    "impl": {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_.]*$"},
                },
            },
            "examples": [[{"scheme": "davs", "hostname": "xfer.example.org", "prefix": "/rucio/{rse}"}]],
        },
        "distances": {
            "title": "Distances",
            "description": "From each of them to others: name at Rucio → distance. Its own is passed over.",
            "type": "object",
            "maxProperties": 1000,
            "additionalProperties": {"type": "integer", "minimum": 1, "maximum": 1000},
            "examples": [{"CNAF-DISK": 1, "RECAS-DISK": 2}],
        },
    },
}

_GROUP: Final[dict[str, Any]] = {
    "title": "Group",
    "description": "What one group may use. In patterns `*` is any text, `?` one character.",
    "type": "object",
    "additionalProperties": False,
    "required": ["scopes"],
    "properties": {
        "scopes": {
            "title": "Scopes",
            "description": "The scopes of the data sets that it may use.",
            "type": "array",
            "maxItems": 1000,
            "items": {"type": "string", "pattern": r"^[A-Za-z0-9_.*?\[\]!-]{1,100}$"},
            "examples": [["cms", "cms.*"]],
        },
        "accounts": {
            "title": "Accounts",
            "description": "The accounts that its rules may name, besides the target's own. Left out: none.",
            "type": "array",
            "maxItems": 1000,
            "items": {"type": "string", "pattern": r"^[a-z0-9_*?\[\]!-]{1,100}$"},
            "default": [],
            "examples": [["higgs"]],
        },
    },
    "examples": [{"scopes": ["cms", "cms.*"], "accounts": ["higgs"]}],
}

_GROUPS: Final[dict[str, Any]] = {
    "title": "Groups",
    "description": "Which scopes and accounts the rules and data sets of each group may use at this target. "
    "A group that is not listed may use none. Left out: every group that the Provider serves may use all.",
    "type": "object",
    "maxProperties": 1000,
    "propertyNames": {"pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"},
    "additionalProperties": _GROUP,
    "examples": [{"cms": {"scopes": ["cms", "cms.*"], "accounts": ["higgs"]}}],
}

SETTINGS: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Settings of a target of type rucio",
    "description": "A Rucio server, and the account that acts there. Nothing else is read: no rucio.cfg, and "
    "no variable of the environment.",
    "type": "object",
    "additionalProperties": False,
    "required": ["url", "account", "auth"],
    "properties": {
        "url": {
            "title": "Address",
            "description": "The address of its REST interface. Without TLS on this machine only.",
            "type": "string",
            "pattern": _URL,
            "maxLength": 1024,
            "examples": ["https://rucio.example.org", "https://rucio.example.org:443/api"],
        },
        "authUrl": {
            "title": "Address for login",
            "description": "Where it gives tokens. Left out: at `url`.",
            "type": "string",
            "pattern": _URL,
            "maxLength": 1024,
            "examples": ["https://rucio-auth.example.org"],
        },
        "account": {
            "title": "Account",
            "description": "The Rucio account that owns what we make. It should be used for nothing else.",
            "type": "string",
            "pattern": "^[a-z0-9_-]{1,25}$",
            "examples": ["reconciler"],
        },
        "formerAccounts": {
            "title": "Former accounts",
            "description": "The accounts that owned what we made before `account` did. What carries our mark "
            "is ours only if it belongs to `account`, to one of these, or to an account that a file names.",
            "type": "array",
            "maxItems": 100,
            "uniqueItems": True,
            "items": {"type": "string", "pattern": "^[a-z0-9_-]{1,25}$"},
            "examples": [["lake", "root"]],
        },
        "auth": _AUTH,
        "uploads": {
            "title": "Uploads",
            "description": "The directory below which `source` of a DataRule is looked for. Relative: below "
            "our data folder.",
            "type": "string",
            "minLength": 1,
            "maxLength": 1024,
            "examples": ["uploads/data", "/srv/uploads"],
        },
        "mounts": {
            "title": "Mounts",
            "description": "The folders of this machine in which elements of scheme `file` may lie. "
            "Elsewhere nothing is uploaded, whatever Rucio says of its elements.",
            "type": "array",
            "maxItems": 100,
            "items": _FILE,
            "examples": [["/srv/rucio"]],
        },
        "elements": _ELEMENTS,
        "groups": _GROUPS,
        "vo": {
            "title": "VO",
            "description": "The virtual organisation, where one server has several.",
            "type": "string",
            "pattern": "^[A-Za-z0-9_.-]{1,64}$",
            "default": "def",
            "examples": ["def"],
        },
        "ca": {
            "title": "Authorities",
            "description": "The file or folder of the certificate authorities for the server's certificate. "
            "Left out: those of the Python package certifi.",
            **_FILE,
            "examples": ["/etc/grid-security/certificates", "/etc/ssl/certs/ca-certificates.crt"],
        },
    },
}
