"""An app that has a field of every type, and look-ups in documents."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SERVER = "/api/v1/openapi.json"
TASKS = {
    "appId": "tasks",
    "name": "Tasks",
    "version": "2.1.0",
    "dataContract": [
        {
            "entityName": "boards",
            "fields": [
                {"name": "id", "type": "text"},
                {"name": "title", "type": "text", "required": True},
            ],
        },
        {
            "entityName": "tasks",
            "fields": [
                {"name": "title", "type": "text", "required": True},
                {
                    "name": "state",
                    "type": "text",
                    "required": True,
                    "enum_values": ["open", "done"],
                    "default_value": "open",
                },
                {"name": "size", "type": "number"},
                {"name": "urgent", "type": "boolean"},
                {"name": "due", "type": "date"},
                {"name": "seen", "type": "timestamp"},
                {"name": "more", "type": "json"},
                {"name": "external", "type": "uuid"},
                {"name": "tags", "type": "[text]", "enum_values": ["home", "work"]},
                {"name": "points", "type": "[number]"},
                {"name": "scan", "type": "file"},
                {"name": "order", "type": "number"},
                {
                    "name": "board",
                    "type": "entity_link",
                    "references": {"entity": "boards", "field": "id"},
                    "on_delete": "cascade",
                },
                {
                    "name": "owner",
                    "type": "entity_link",
                    "references": {"entity": "core:users", "field": "id"},
                },
            ],
        },
    ],
}


class _Provider(BaseHTTPRequestHandler):
    """Says where a sign-in begins, and accepts no code."""

    def do_GET(self) -> None:
        issuer = f"http://127.0.0.1:{self.server.server_address[1]}"
        ends = {"authorization_endpoint": "a", "token_endpoint": "t", "jwks_uri": "k"}
        self._answer(200, {"issuer": issuer} | {key: f"{issuer}/{at}" for key, at in ends.items()})

    def do_POST(self) -> None:
        self._answer(400, {"error": "invalid_grant"})

    def log_message(self, *_: Any) -> None:
        """No one reads it."""

    def _answer(self, status: int, value: Any) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(value).encode())


@contextmanager
def oidc_provider() -> Iterator[str]:
    """The address of a sign-in provider that lets no one in."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Provider) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_address[1]}"
        listening.shutdown()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(method, path, operation) of a document."""
    for path, item in document["paths"].items():
        for method, reported in item.items():
            yield method.upper(), path, reported


def places(document: dict[str, Any]) -> set[str]:
    """What can be done: `GET /health` and so on."""
    return {f"{method} {path}" for method, path, _ in operations(document)}


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object within a document."""
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from objects(item)
    elif isinstance(value, list):
        for item in value:
            yield from objects(item)


def resolved(document: dict[str, Any], reference: str) -> Any:
    """What a reference within a document leads to."""
    found = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def reply_schema(reported: dict[str, Any], status: str) -> dict[str, Any]:
    """The schema of a JSON reply."""
    return reported["responses"][status]["content"]["application/json"]["schema"]
