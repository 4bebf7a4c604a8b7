"""The settings of a target of type hosts: JSON Schema, draft 2020-12, closed."""

from __future__ import annotations

from typing import Any, Final

_NUMBER: Final[dict[str, Any]] = {"type": "integer", "minimum": 1, "maximum": 1_000_000}
_PORT: Final[dict[str, Any]] = {"type": "integer", "minimum": 1, "maximum": 65535}
_BYTES: Final[dict[str, Any]] = {
    "type": ["integer", "string"],
    "minimum": 1,
    "pattern": r"^[0-9]+(\.[0-9]+)?([KkMGTP]i?)?B$",
    "examples": ["16GiB", 8000000000],
}

_HOST: Final[dict[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "address", "hostKey"],
    "properties": {
        "name": {
            "title": "Name",
            "description": "What it is called here; machines stay with it by this name.",
            "type": "string",
            "pattern": "^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$",
            "examples": ["node-1"],
        },
        "address": {
            "title": "Address",
            "description": "A DNS name or an IP address.",
            "type": "string",
            "pattern": "^[A-Za-z0-9]([A-Za-z0-9.:_-]{0,251}[A-Za-z0-9])?$",
            "examples": ["node-1.example.org", "192.0.2.10"],
        },
        "port": {**_PORT, "title": "Port of ssh", "default": 22, "examples": [22]},
        "user": {
            "title": "User",
            "description": "Who connects. Anyone but root needs sudo without a password.",
            "type": "string",
            "pattern": "^[a-z_][a-z0-9_-]{0,31}$",
            "default": "root",
            "examples": ["debian"],
        },
        "hostKey": {
            "title": "Host key",
            "description": "Its public key, type and key, as in `ssh-keyscan` or /etc/ssh/ssh_host_*.pub. "
            "A host that shows another one is not talked to.",
            "type": "string",
            "pattern": "^(ssh|ecdsa)-[a-z0-9-]+ [A-Za-z0-9+/=]+$",
            "maxLength": 4096,
            "examples": [
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEXAMPLEONLYEXAMPLEONLYEXAMPLEONLYEXAMPLEONLYEX"
            ],
        },
        "cores": {
            **_NUMBER,
            "title": "Cores",
            "description": "Left out: it is large enough for everything.",
            "examples": [8],
        },
        "memory": {
            **_BYTES,
            "title": "Memory",
            "description": "Left out: it is large enough for everything.",
        },
    },
}

_CAPACITY: Final[dict[str, Any]] = {
    "title": "Capacity",
    "description": "What all machines together may have (local, nspawn). Left out: 50 machines, four times "
    "the cores of this host, and its memory.",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "machines": {**_NUMBER, "title": "Machines", "examples": [20]},
        "cores": {**_NUMBER, "title": "Cores", "examples": [16]},
        "memory": {**_BYTES, "title": "Memory"},
    },
    "examples": [{"machines": 20, "cores": 16, "memory": "32GiB"}],
}

_PORTS: Final[dict[str, Any]] = {
    "title": "Ports",
    "description": "The range out of which local machines get theirs. They keep what they got.",
    "type": "object",
    "additionalProperties": False,
    "required": ["first", "last"],
    "properties": {
        "first": {**_PORT, "title": "First", "minimum": 1024, "examples": [20000]},
        "last": {**_PORT, "title": "Last", "minimum": 1024, "examples": [29999]},
    },
    "default": {"first": 20000, "last": 29999},
    "examples": [{"first": 20000, "last": 20999}],
}

SETTINGS: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Settings of a target of type hosts",
    "description": "Machines: private directories on this host, systemd-nspawn machines, or hosts over ssh.",
    "type": "object",
    "additionalProperties": False,
    "required": ["machines"],
    "properties": {
        "machines": {
            "title": "Machines",
            "description": "local: a private directory each, user processes, no root needed. nspawn: "
            "machines of their own on this host, which must be Debian and needs root. "
            "ssh: the hosts of a list.",
            "enum": ["local", "nspawn", "ssh"],
            "examples": ["local"],
        },
        "path": {
            "title": "Path",
            "description": "The directory of the machines, or of the records about them (ssh). Relative: "
            "below our data folder, made when needed. Absolute: it must be there. "
            "Left out: machines/<target>.",
            "type": "string",
            "minLength": 1,
            "maxLength": 1024,
            "examples": ["machines", "/srv/machines"],
        },
        "capacity": _CAPACITY,
        "ports": _PORTS,
        "network": {
            "title": "Network",
            "description": "The private IPv4 subnet of nspawn machines; its first address is this host's.",
            "type": "string",
            "pattern": r"^[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}$",
            "default": "10.90.0.0/24",
            "examples": ["10.90.0.0/24"],
        },
        "suite": {
            "title": "Suite",
            "description": "The Debian release of nspawn machines.",
            "type": "string",
            "pattern": "^[a-z][a-z0-9-]{0,31}$",
            "default": "bookworm",
            "examples": ["bookworm"],
        },
        "hosts": {
            "title": "Hosts",
            "description": "The static hosts of `machines: ssh`. Each carries one machine at a time.",
            "type": "array",
            "minItems": 1,
            "maxItems": 1000,
            "items": _HOST,
        },
        "identity": {
            "title": "Identity",
            "description": "A reference to the private ssh key (not encrypted) that the hosts know.",
            "type": "string",
            "pattern": "^(env|file|age|generated):",
            "maxLength": 1024,
            "examples": ["file:/etc/reconciler/ssh_key", "env:SSH_KEY"],
        },
    },
    "if": {"properties": {"machines": {"const": "ssh"}}},
    "then": {"required": ["hosts", "identity"]},
}
