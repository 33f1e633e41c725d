"""The section `webhooks` of manifests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from contrib.webhooks.deliveries.sender import is_secret, split_url
from contrib.webhooks.models import EVENTS, Declared
from kernel.public import BadRequest

KEY: Final = "webhooks"

_PROPERTIES: Final = {
    "name": {
        "title": "Name",
        "description": "Unique among the webhooks of the app.",
        "type": "string",
        "minLength": 1,
        "maxLength": 100,
        "pattern": "^[^\\x00-\\x1f\\x7f]+$",
    },
    "url": {
        "title": "URL",
        "description": "Where deliveries are sent; $secret:NAME is the value of a secret.",
        "type": "string",
        "minLength": 1,
        "maxLength": 2000,
    },
    "entity": {
        "title": "Entity",
        "description": "Whose records it is about.",
        "type": "string",
        "minLength": 1,
        "maxLength": 63,
    },
    "on": {
        "title": "Events",
        "description": (
            "enter: a record comes into scope. change: it changes there. leave: it is deleted, or "
            "goes out of scope."
        ),
        "type": "array",
        "minItems": 1,
        "maxItems": 3,
        "items": {"enum": [*EVENTS]},
        "default": [*EVENTS],
    },
    "where": {
        "title": "Where",
        "description": "The records in scope, as in POST …/query; all without it.",
        "type": ["object", "null"],
    },
    "fields": {
        "title": "Fields",
        "description": "The fields that are sent; all without it.",
        "type": ["array", "null"],
        "minItems": 1,
        "maxItems": 500,
        "items": {"type": "string", "minLength": 1, "maxLength": 63},
    },
    "as": {
        "title": "As",
        "description": "The role whose rights decide what is sent; without it all is.",
        "type": ["string", "null"],
        "minLength": 1,
        "maxLength": 100,
    },
}
SCHEMA: Final[dict[str, Any]] = {
    "title": "Webhooks",
    "description": "Receivers of changes of records.",
    "type": "array",
    "maxItems": 100,
    "items": {
        "title": "Webhook",
        "type": "object",
        "required": ["name", "url", "entity"],
        "additionalProperties": False,
        "properties": _PROPERTIES,
    },
}


def problems(value: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Find problems that the schema cannot express: (location, sentence) pairs."""
    names: set[str] = set()
    for number, hook in enumerate(value):
        name = hook["name"]
        if name in names:
            yield f"[{number}].name", f"the webhook {name!r} is declared twice"
        names.add(name)
        try:
            check_url(hook["url"])
        except BadRequest as error:
            yield f"[{number}].url", error.message.removeprefix("url: ")


def check_url(url: str) -> None:
    """Refuse a URL that is neither one of a receiver nor a secret. Raises BadRequest."""
    if not is_secret(url):
        split_url(url)


def read(value: list[dict[str, Any]] | None) -> list[Declared]:
    """Read a valid section."""
    return [
        Declared(
            name=hook["name"],
            url=hook["url"],
            entity=hook["entity"],
            on=sorted(set(hook.get("on", EVENTS)), key=EVENTS.index),
            where=hook.get("where"),
            fields=hook.get("fields"),
            role=hook.get("as"),
        )
        for hook in value or ()
    ]
