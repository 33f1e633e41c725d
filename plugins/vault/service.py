"""Rules of the vault: names of secrets, encryption, rotation of keys."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Sequence

import structlog

from kernel.public import (
    Actor,
    Event,
    Keyring,
    Keys,
    RevealedSecrets,
    Statements,
    Transaction,
    Unopenable,
    check_room_for_secret,
    check_secret,
    missing_secret,
    record_secret,
    server_actor,
)

from . import store
from .models import DataKeyRow, Scope, SecretRow
from .sealing import open_data_key, open_secret, seal_data_key, seal_secret

log = structlog.get_logger("caudex.vault")


class VaultService:
    """Provides VAULT."""

    def __init__(self, statements: Statements, keyring: Keyring) -> None:
        self._statements = statements
        self._keyring = keyring
        self._keys = Keys("", {})

    async def prepare(self) -> None:
        """See that this server holds the key that the database was sealed with.

        Raises BootError: for a key that is missing or another, before anything is changed.
        """
        recorded = await store.master(self._statements)
        self._keys = self._keyring.read(may_create=recorded is None)
        newest = self._keys.newest
        if recorded is None:
            recorded = await self._statements.run(
                server_actor(), lambda tx: store.claim_master(tx, newest)
            )
        self._keyring.check(recorded)

    async def set(self, actor: Actor, app_id: str | None, key: str, value: str) -> None:
        """See `Vault.set`."""
        check_secret(key, value)
        await self._statements.run(actor, lambda tx: self._set(tx, _scope(app_id), key, value))

    async def names(self, app_id: str | None) -> list[str]:
        """See `Vault.names`."""
        return await store.names(self._statements, _scope(app_id))

    async def delete(self, actor: Actor, app_id: str | None, key: str) -> None:
        """See `Vault.delete`."""
        await self._statements.run(actor, lambda tx: self._delete(tx, _scope(app_id), key))

    async def reveal(self, app_id: str, *, skip_broken: bool = False) -> dict[str, str]:
        """See `Vault.reveal`."""
        rows = await store.secrets_for(self._statements, app_id)
        data_keys: list[DataKeyRow] = []
        if rows:
            data_keys += await store.data_keys(self._statements, _scope(None))
            data_keys += await store.data_keys(self._statements, _scope(app_id))

        # The platform's secrets come first: one of the app takes the place of one of the same name.
        revealed = RevealedSecrets()
        for row in rows:
            try:
                revealed.add(row.key, self._open(row, data_keys))
            except Unopenable:
                log.error("a secret cannot be opened", app=row.app_id, name=row.key)
                revealed.add_broken(row.key)
        values = revealed.collect(skip_broken=skip_broken)
        if revealed:
            await store.mark_used(self._statements, app_id)
        return values

    async def usage(self, app_id: str | None) -> bytes:
        """Return when each secret was set and last used, a JSON array; never a value."""
        return await store.usage(self._statements, _scope(app_id))

    async def rotate(self) -> int:
        """Seal every data key by a new master key and return their number; servers go on."""
        count = await self._statements.run(server_actor(), self._rotate)
        await self._statements.run(server_actor(), self._drop_old_masters)
        return count

    async def _set(self, tx: Transaction, scope: Scope, key: str, value: str) -> None:
        row = await self._data_key(tx, scope)
        names = await store.names(tx, scope)
        check_room_for_secret(names, key)
        version = await store.next_version(tx, scope, key)
        data_key = self._unwrap(row)
        sealed = seal_secret(data_key, value, scope, key, row.id, version)
        await store.put(tx, SecretRow(scope.kind, scope.app_id, key, version, row.id, sealed))
        await record_secret(tx, scope.app_id or None, key, "SECRET_SET")

    async def _delete(self, tx: Transaction, scope: Scope, key: str) -> None:
        app_id = scope.app_id or None
        if not await store.delete(tx, scope, key):
            raise missing_secret(app_id, key)
        await record_secret(tx, app_id, key, "SECRET_DELETED")

    async def _data_key(self, tx: Transaction, scope: Scope) -> DataKeyRow:
        """Return the data key of a scope; make it if it is missing."""
        master_id = await store.share_master(tx)
        rows = await store.data_keys(tx, scope)
        if rows:
            return rows[0]

        master = self._master(master_id)
        row_id = str(uuid.uuid4())
        sealed = seal_data_key(master, secrets.token_bytes(32), row_id, scope)
        new_row = DataKeyRow(row_id, scope.kind, scope.app_id, master_id, sealed)
        await store.insert_data_key(tx, new_row)
        # Read again: another process may have made one meanwhile.
        rows = await store.data_keys(tx, scope)
        return rows[0]

    def _open(self, row: SecretRow, data_keys: Sequence[DataKeyRow]) -> str:
        for data_key in data_keys:
            if data_key.scope == row.scope and data_key.app_id == row.app_id:
                return open_secret(self._unwrap(data_key), row)
        raise Unopenable("its data key is gone")

    async def _rotate(self, tx: Transaction) -> int:
        """Only the process that locks the row changes the file of keys."""
        recorded = await store.lock_master(tx)
        newest = self._keyring.read().newest
        if newest == recorded:
            newest = self._keyring.add_new()
        return await self._rewrap(tx, newest)

    async def _drop_old_masters(self, tx: Transaction) -> None:
        recorded = await store.lock_master(tx)
        self._keyring.keep_only(recorded)

    async def _rewrap(self, tx: Transaction, newest: str) -> int:
        rows = await store.data_keys(tx)
        master = self._master(newest)
        for row in rows:
            sealed = seal_data_key(master, self._unwrap(row), row.id, Scope(row.scope, row.app_id))
            await store.rewrap(tx, row.id, newest, sealed)
        await store.set_master(tx, newest)
        detail = {"data_keys": len(rows), "key_id": newest}
        await tx.record(Event.core("keys", "KEYS_ROTATED", tx.actor, new=detail))
        return len(rows)

    def _unwrap(self, row: DataKeyRow) -> bytes:
        return open_data_key(self._master(row.master_id), row)

    def _master(self, name: str) -> bytes:
        if name not in self._keys.known:  # another process may have added it
            self._keys = self._keyring.read()
        if name not in self._keys.known:
            raise Unopenable(f"no master key {name} is here")
        return self._keys.known[name]


def _scope(app_id: str | None) -> Scope:
    """Return the scope of an app, or the platform's for None."""
    if app_id is None:
        return Scope("platform", "")
    return Scope("app", app_id)
