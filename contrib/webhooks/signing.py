"""Signatures of deliveries (Standard Webhooks), and the secrets that make them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time
from contextlib import suppress
from typing import Final

import msgspec

from kernel.public import (
    NOTIFICATIONS,
    SECRETS,
    STATEMENTS,
    VAULT,
    InvalidatedCache,
    NotFound,
    Services,
    Transaction,
    server_actor,
)

from . import store
from .deliveries.sender import is_secret
from .models import Hook

TOPIC: Final = "webhooks"
"""Notifications of changes: the id of a webhook, or '' for any."""
PREFIX: Final = "whsec_"
OVERLAP_SECONDS: Final = 86_400.0
"""How long an old secret signs beside a new one."""


class Broken(Exception):
    """A webhook that cannot send, and why: a secret that it needs is gone."""


class Endpoint(msgspec.Struct, frozen=True):
    """Where a webhook sends to, and the keys that sign."""

    url: str
    keys: tuple[bytes, ...]

    def sign(self, message_id: str, body: bytes) -> dict[str, str]:
        """Return the headers of an attempt that is made now."""
        timestamp = str(int(time.time()))
        signed = b"%b.%b.%b" % (message_id.encode(), timestamp.encode(), body)
        signatures = [f"v1,{_sign(key, signed)}" for key in self.keys]
        return {
            "webhook-id": message_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": " ".join(signatures),
        }


def _affects_all(_payload: str, _key: tuple[str, str], _endpoint: Endpoint) -> bool:
    return True


def _sign(key: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


class Endpoints:
    """Finds the endpoints of webhooks, and makes, replaces and ends their secrets.

    A secret is in the vault, in the scope of the app. The table of keys has its name before the
    vault has it, and until the vault has lost it.
    """

    def __init__(self, services: Services) -> None:
        self._statements = services.get(STATEMENTS)
        self._vault = services.get(VAULT)
        notifications = services.get(NOTIFICATIONS)
        self._cache = InvalidatedCache[tuple[str, str], Endpoint](
            notifications, TOPIC, size=1000, ttl=60.0, affects=_affects_all
        )
        notifications.subscribe(SECRETS, self._cache.invalidate)

    async def find(self, hook: Hook) -> Endpoint:
        """Return where a webhook sends to. Raises Broken.

        Who asks may have a row of before: what is loaded for it is never that of another URL.
        """
        return await self._cache.get_or_load((hook.id, hook.url), lambda: self._load(hook))

    async def make_secret(self, app_id: str, hook_id: str, name: str) -> tuple[str, str]:
        """Put a new secret into the vault; return its name there, and the secret.

        It signs nothing before `use`, and is deleted in an hour unless that comes.
        Raises NotFound for an app that is gone.
        """
        words = re.sub(r"[^A-Z0-9]+", "_", name.upper())[:40].strip("_")
        key = f"WEBHOOK_{words}_{secrets.token_hex(4).upper()}"
        secret = PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
        if not await store.add_key(self._statements, app_id, key, hook_id):
            raise NotFound(f"app '{app_id[:80]}' not found")
        await self._vault.set(server_actor(), app_id, key, secret)
        return key, secret

    async def use(self, tx: Transaction, app_id: str, hook_id: str, key: str) -> None:
        """Sign with a new secret from now on, and with the former one for a day."""
        await store.retire_keys(tx, hook_id, key, OVERLAP_SECONDS)
        await store.use_key(tx, app_id, key)
        await tx.publish(TOPIC, hook_id)

    async def sweep(self) -> None:
        """Delete secrets whose time is over from the vault."""
        for app_id, key in await store.list_ended_keys(self._statements):
            with suppress(NotFound):  # an admin has deleted it, or it was never put there
                await self._vault.delete(server_actor(), app_id, key)
            await store.forget_key(self._statements, app_id, key)

    async def reveal_url(self, app_id: str, url: str) -> str:
        """Return the URL itself, or the secret that it names. Raises Broken."""
        if not is_secret(url):
            return url
        revealed = await self._vault.reveal(app_id, skip_broken=True)
        return _find_url(revealed, url)

    async def _load(self, hook: Hook) -> Endpoint:
        names = await store.list_keys(self._statements, hook.id)
        if not names and hook.declared:  # no user has been shown a secret: `rotate` shows one
            key, _ = await self.make_secret(hook.app_id, hook.id, hook.name)
            await self._statements.run(
                server_actor(), lambda tx: self.use(tx, hook.app_id, hook.id, key)
            )
            names = [key]
        revealed = await self._vault.reveal(hook.app_id, skip_broken=True)
        keys = tuple(_decode(revealed[name]) for name in names if name in revealed)
        if not keys:
            raise Broken("its secret is gone from the vault: rotate it")
        url = hook.url
        if is_secret(url):
            url = _find_url(revealed, url)
        return Endpoint(url, keys)


def _find_url(revealed: dict[str, str], url: str) -> str:
    name = url.partition(":")[2]
    if name not in revealed:
        raise Broken(f"the secret {name} of its URL is not set")
    return revealed[name].strip()


def _decode(secret: str) -> bytes:
    """Return the key of a secret; a text that is no secret of ours signs as it is."""
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except ValueError:
        return secret.encode()
