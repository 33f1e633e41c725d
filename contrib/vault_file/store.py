"""Every statement of the plugin."""

from __future__ import annotations

from typing import Final

import msgspec

from kernel.public import Reader, Transaction

from .models import FolderRow

_FOLDER: Final = "select row_to_json(f) from caudex_vault_file.folder f"
_CLAIM: Final = """
insert into caudex_vault_file.folder as f (id, key_id) values ($1::text, $2::text)
on conflict (only_row) do update set id = f.id returning row_to_json(f)"""
_LOCK: Final = "select row_to_json(f) from caudex_vault_file.folder f for update"
_ADD_APP: Final = """
insert into caudex_vault_file.apps (app_id)
select app_id from caudex_kernel.apps where app_id = $1::text for key share
on conflict do nothing returning 'true'"""
_SET_KEY: Final = "update caudex_vault_file.folder set key_id = $1::text"

_row = msgspec.json.Decoder(FolderRow).decode


async def folder(reader: Reader) -> FolderRow | None:
    """The folder of this database; None before the first start."""
    row = await reader.fetch(_FOLDER)
    return None if row is None else _row(row)


async def claim(tx: Transaction, identity: str, key_id: str) -> FolderRow:
    """Record the folder, unless one is recorded; returns the one that is."""
    return _decode(await tx.execute(_CLAIM, identity, key_id))


async def lock(tx: Transaction) -> FolderRow:
    """Keep every other writer of files waiting until the transaction ends."""
    return _decode(await tx.execute(_LOCK))


async def add_app(tx: Transaction, app_id: str) -> bool:
    """Record that the files of an app are its own; False when that is recorded already."""
    return await tx.execute(_ADD_APP, app_id) is not None


async def set_key(tx: Transaction, key_id: str) -> None:
    """Record another key."""
    await tx.execute(_SET_KEY, key_id)


def _decode(row: bytes | None) -> FolderRow:
    assert row is not None, "the row is made at start-up"
    return _row(row)
