"""The section `public` of manifests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from kernel.public import Apps

from .models import PublicSection

KEY: Final = "public"
FRONTEND: Final = "frontend"
"""The page of a share is one of the app's frontend."""

_RPC: Final[dict[str, Any]] = {
    "title": "Method",
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": {
            "title": "Name",
            "description": "The method of the worker.",
            "type": "string",
            "minLength": 1,
            "maxLength": 200,
        },
        "scope": {
            "title": "Scope",
            "description": "Parameters that must be as in the context of the share.",
            "type": "array",
            "maxItems": 20,
            "items": {"type": "string", "minLength": 1, "maxLength": 100},
            "default": [],
        },
    },
}
SCHEMA: Final[dict[str, Any]] = {
    "title": "Public",
    "description": "What a share of the app opens.",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "rpcs": {
            "title": "Methods",
            "description": "Methods of the worker that a share may call.",
            "type": "array",
            "maxItems": 100,
            "items": _RPC,
            "default": [],
        },
        "collections": {
            "title": "Collections",
            "description": "Kept for other servers; here no record is public without a share.",
            "type": "array",
            "maxItems": 200,
            "items": {"type": "object"},
            "default": [],
        },
        "page": {
            "title": "Page",
            "description": "records: a table of the server. frontend: a page of the app's own.",
            "enum": ["records", FRONTEND],
            "default": "records",
        },
    },
}


def problems(value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Find problems that the schema cannot express: (location, sentence) pairs."""
    names: set[str] = set()
    for number, method in enumerate(value.get("rpcs", ())):
        name = method["name"]
        if name in names:
            yield f".rpcs[{number}].name", f"the method {name!r} is declared twice"
        if name.startswith("__"):
            yield f".rpcs[{number}].name", "methods whose names begin with __ are not for clients"
        names.add(name)


async def read_section(apps: Apps, app_id: str) -> PublicSection:
    """Return the section of an installed app; an empty one where it has none that can be read.

    A manifest that was installed without this plugin was not checked.
    """
    for installed in await apps.sections(KEY):
        if installed.app_id == app_id:
            try:
                return msgspec.convert(installed.value, PublicSection)
            except msgspec.ValidationError:
                break
    return PublicSection()
