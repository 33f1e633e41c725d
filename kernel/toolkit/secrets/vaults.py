"""Rules that every provider of VAULT keeps."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from kernel.contracts.base import Event
from kernel.contracts.statements import Transaction
from kernel.contracts.vault import MAX_SECRETS, SECRETS
from kernel.errors import BadRequest, NotFound

SecretOperation = Literal["SECRET_SET", "SECRET_DELETED"]


class RevealedSecrets:
    """Collects the secrets that a worker gets: those of the platform first, then the app's own.

    One of the app replaces one of the platform. One that cannot be opened hides the platform's of
    the same name, too.
    """

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._broken: set[str] = set()

    def __len__(self) -> int:
        return len(self._values)

    def add(self, name: str, value: str) -> None:
        """Add a secret that was opened."""
        self._values[name] = value
        self._broken.discard(name)

    def add_broken(self, name: str) -> None:
        """Add one that cannot be opened."""
        self._broken.add(name)

    def collect(self, *, skip_broken: bool = False) -> dict[str, str]:
        """Return the values by name. Raises BadRequest that names the broken ones.

        With `skip_broken` they are left out.
        """
        if self._broken and not skip_broken:
            names = ", ".join(sorted(self._broken))
            raise BadRequest(f"secrets cannot be opened, set them again: {names}")
        return {name: value for name, value in self._values.items() if name not in self._broken}


def check_room_for_secret(names: Collection[str], name: str) -> None:
    """Refuse a new secret beyond MAX_SECRETS of its scope. Raises BadRequest."""
    if name not in names and len(names) >= MAX_SECRETS:
        raise BadRequest(f"there are {MAX_SECRETS} secrets already: delete one")


def missing_secret(app_id: str | None, name: str) -> NotFound:
    """Return the error for a secret that does not exist."""
    kind = "platform secret" if app_id is None else "secret"
    return NotFound(f"{kind} '{name[:128]}' not found")


def secret_path(app_id: str | None, name: str) -> str:
    """Return the id of a secret in the trail: `<app>/<name>`, or the name for the platform's."""
    return name if app_id is None else f"{app_id}/{name}"


async def record_secret(
    tx: Transaction,
    app_id: str | None,
    name: str,
    operation: SecretOperation,
    *,
    notify: bool = True,
) -> None:
    """Record which user changed which name, never the value; restart workers unless not `notify`.

    Call it in the transaction of the change.
    """
    if notify:
        await tx.publish(SECRETS, app_id or "")
    scope = "platform" if app_id is None else "app"
    detail = {"scope": scope, "app_id": app_id or "", "key": name}
    record_id = secret_path(app_id, name)
    if operation == "SECRET_DELETED":
        event = Event.core("secrets", operation, tx.actor, record_id, old=detail)
    else:
        event = Event.core("secrets", operation, tx.actor, record_id, new=detail)
    await tx.record(event)
