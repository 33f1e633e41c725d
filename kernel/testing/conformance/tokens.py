"""Tokens of users and workers, requests with them, and forgeries of them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import msgspec

from kernel.contracts import hookspecs
from kernel.contracts.base import Actor, new_delegation
from kernel.contracts.identity import IDENTITY
from kernel.contracts.server import HOOKS
from kernel.testing import Server
from kernel.web.requests import Request
from kernel.web.scope import begin_request

ME = "/api/v1/auth/me"
APP = "conformance"


def bearer(server: Server, user_id: str, seconds: float = 60) -> dict[str, str]:
    """Return a header with a token of a worker for a user. Raises NotFound."""
    issue = server.services.get(IDENTITY).issue_delegated_token
    token = server.run(issue, user_id, new_delegation(APP, seconds))
    return {"authorization": f"Bearer {token}"}


def acting(server: Server, headers: Mapping[str, str]) -> Actor:
    """Return the actor of a request with these headers. Raises Unauthenticated."""
    sent = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": ME, "headers": sent,
             "client": ("127.0.0.1", 5000), "server": ("10.0.0.1", 9100)}  # fmt: skip
    begin_request(scope, request_id="conformance", address="127.0.0.1")

    async def ask() -> Actor | None:
        hooks = server.services.get(HOOKS)
        return await hooks.first(hookspecs.authenticate, request=Request(scope))

    actor = server.run(ask)
    assert actor is not None
    return actor


def as_bearer(server: Server, token: str) -> httpx.Response:
    """Get the account of a token."""
    return server.http.get(ME, headers={"authorization": f"Bearer {token}"})


def renew(server: Server, token: str) -> httpx.Response:
    """Refresh a session."""
    return server.http.post("/api/v1/auth/refresh", json={"refreshToken": token})


def _no_algorithm(token: str, victim: str) -> str:
    """Forge a token of another user without a signature."""
    claims = _claims(token) | {"sub": victim}
    return f"{_part({'alg': 'none', 'typ': 'JWT'})}.{_part(claims)}."


def _unsigned(token: str, victim: str) -> str:
    """Forge a token of another user with the old signature."""
    head, _, signature = token.split(".")
    return f"{head}.{_part(_claims(token) | {'sub': victim})}.{signature}"


def _claims(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    return msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def _part(value: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(value)).decode().rstrip("=")


def _flipped(token: str, _: str) -> str:
    """Change one character in the middle of the signature."""
    at = len(token) - 10
    other = "B" if token[at] == "A" else "A"
    return token[:at] + other + token[at + 1 :]


FORGERIES: Mapping[str, Callable[[str, str], str]] = {
    "cut": lambda token, _: token[:-1],
    "flipped": _flipped,
    "unsigned": _unsigned,
    "no algorithm": _no_algorithm,
    "doubled": lambda token, _: f"{token}.{token}",
}
