"""Secrets of apps and of the platform."""

from __future__ import annotations

import re
from typing import Protocol

from kernel.contracts.base import Actor, ServiceKey
from kernel.errors import BadRequest

__all__ = [
    "MAX_SECRET", "MAX_SECRETS", "RESERVED_VARIABLE", "SECRETS", "SECRET_NAME", "VAULT", "Vault",
    "check_secret",
]  # fmt: skip


class Vault(Protocol):
    """Stores sealed secrets. `app_id` None is the platform's scope, shared by every app."""

    async def set(self, actor: Actor, app_id: str | None, key: str, value: str) -> None:
        """Set a secret; idempotent. Raises BadRequest for a bad key, too long a value, and a
        key beyond 1,000 of its scope."""
        ...

    async def names(self, app_id: str | None) -> list[str]:
        """Names of the secrets of a scope, sorted; never values."""
        ...

    async def delete(self, actor: Actor, app_id: str | None, key: str) -> None:
        """Delete a secret. Raises NotFound."""
        ...

    async def reveal(self, app_id: str, *, skip_broken: bool = False) -> dict[str, str]:
        """Return the decrypted secrets of the platform and the app, for code of the app only.

        A secret of the app replaces one of the platform.

        Raises BadRequest that names those that cannot be opened: no worker starts without them.
        With `skip_broken` they are left out instead, for a copy to another vault.
        """
        ...


VAULT = ServiceKey[Vault]("vault")
SECRETS = "secrets"
"""Notifications of changes, published by the engine in the transaction of each: the id of the app
whose secrets changed, or '' for the platform's. Running workers are restarted."""
MAX_SECRET = 64 * 1024
"""Bytes of a value in UTF-8."""
MAX_SECRETS = 1000
"""Secrets of one scope: a worker gets them all at its start."""
SECRET_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
"""The name of a secret, which is that of an environment variable."""
RESERVED_VARIABLE = re.compile(
    r"PATH|HOME|LANG|TMPDIR|LOCPATH|GCONV_PATH|GLIBC_TUNABLES|NODE_OPTIONS"
    r"|LD_.*|DYLD_.*|PYTHON.*|BUN_.*|CAUDEX_.*",
    re.IGNORECASE,
)
"""Variables that would steer a loader, an interpreter or the server: every engine refuses them."""


def check_secret(key: str, value: str) -> None:
    """Refuse a bad or reserved name of a secret, and too long a value. Raises BadRequest."""
    if not SECRET_NAME.fullmatch(key):
        raise BadRequest("key must be letters, digits and _ (at most 128), no digit first")
    if RESERVED_VARIABLE.fullmatch(key):
        raise BadRequest(f"key {key!r} is reserved: it would steer the worker process")
    if len(value.encode()) > MAX_SECRET:
        raise BadRequest(f"value is longer than {MAX_SECRET} bytes")
