"""What a target of type `simulated` may say: the JSON Schema of its settings.

All of it but `world` is weather, and can also be changed while the world runs (`world.set_weather`).
"""

from __future__ import annotations

from typing import Any, Final

ERRORS: Final = (
    "Transient",
    "Denied",
    "Rejected",
    "Conflict",
    "LostAnswer",
    "Partial",
    "hang",
    "hang-hard",
)
OPERATIONS: Final = ("list", "verify", "facts", "create", "update", "release", "delete")

_SECONDS: Final = r"^[0-9]{1,6}(\.[0-9]{1,3})?(ms|s|m|h)?$"


def _seconds(description: str, default: str, *examples: str) -> dict[str, Any]:
    form = {"type": ["string", "integer"], "pattern": _SECONDS, "minimum": 0}
    return {"description": description, "default": default, "examples": list(examples), **form}


def _percent(description: str) -> dict[str, Any]:
    form = {"type": "integer", "minimum": 0, "maximum": 100}
    return {"description": description, "default": 0, "examples": [30], **form}


def _switch(description: str) -> dict[str, Any]:
    return {"description": description, "default": False, "examples": [True], "type": "boolean"}


_FAILURE: Final[dict[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["error"],
    "properties": {
        "error": {
            "description": "What the request ends with. LostAnswer: done, but the answer is an error. "
            "Partial: a half-made thing is left and the answer is an error. hang-hard ignores time-outs.",
            "enum": list(ERRORS),
            "examples": ["Transient"],
        },
        "operation": {
            "description": "Only this operation; every one when left out.",
            "enum": list(OPERATIONS),
            "examples": ["create"],
        },
        "kind": {
            "description": "Only this primitive kind.",
            "type": "string",
            "examples": ["SoftwareUpload"],
        },
        "ref": {
            "description": "Only things whose Ref matches this shell pattern; pages of a list are called "
            "page-1, page-2 and so on.",
            "type": "string",
            "default": "*",
            "examples": ["SoftwareUpload/cms/*", "page-2"],
        },
        "times": {
            "description": "Only the first so many requests of each operation and thing; 0: always.",
            "type": "integer",
            "minimum": 0,
            "default": 0,
            "examples": [2],
        },
        "share": {
            "description": "Only this many percent of the things, always the same ones.",
            "type": "integer",
            "minimum": 0,
            "maximum": 100,
            "default": 100,
            "examples": [30],
        },
    },
}

WEATHER: Final[dict[str, Any]] = {
    "latency": _seconds("How long each request takes.", "0", "50ms", "1.5s"),
    "pageSize": {
        "description": "How many things one page of a list holds.",
        "type": "integer",
        "minimum": 1,
        "default": 500,
        "examples": [100],
    },
    "failureRate": _percent("Percent of all requests that end with Transient, drawn from failureSeed."),
    "failureSeed": {
        "description": "The same seed gives the same failures.",
        "type": ["string", "integer"],
        "default": "",
        "examples": ["monday"],
    },
    "failures": {
        "description": "Chosen failures; the first that fits a request happens.",
        "type": "array",
        "items": _FAILURE,
        "default": [],
        "examples": [[{"error": "Rejected", "operation": "create", "share": 30}]],
    },
    "hang": {
        "description": "Every request hangs: true ends with Transient at the time-out of the target, hard "
        "ignores it.",
        "enum": [False, True, "hard"],
        "default": False,
        "examples": [True],
    },
    "hangSeconds": _seconds("How long a request hangs when nobody gives up before.", "1h", "5s"),
    "truncatedPages": _switch("Lists say how much there is, and give less."),
    "lostAnswers": _percent("Percent of all writes that are done and answered with an error."),
    "unauthorized": _switch("Every request is refused, like HTTP 401."),
    "rateLimit": {
        "description": "Requests a second above which the answer is Transient, like HTTP 429; 0: no limit.",
        "type": "integer",
        "minimum": 0,
        "default": 0,
        "examples": [20],
    },
    "buildSeconds": _seconds("How long a created thing is Progressing.", "0", "30s"),
    "facts": {
        "description": "The capacities that the target reports, as they are.",
        "type": "object",
        "default": {},
        "examples": [{"cores": 64}],
    },
}

SETTINGS: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Settings of a simulated target",
    "description": "A world in a SQLite file, with latency and faults.",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "world": {
            "description": "The SQLite file, relative to the data folder; `<target>.world.sqlite` when "
            "left out.",
            "type": "string",
            "minLength": 1,
            "examples": ["sites/recas.sqlite"],
        },
        **WEATHER,
    },
}
