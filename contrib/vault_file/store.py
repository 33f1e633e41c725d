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
_SET_KEY: Final = "update caudex_vault_file.folder set key_id = $1::text"

_LIVES: Final = "select coalesce(json_object_agg(app_id, born), '{}') from caudex_vault_file.lives"
_BEGIN_LIFE: Final = """
insert into caudex_vault_file.lives as l (app_id, born) values ($1::text, $2::bigint)
on conflict (app_id) do update set born = excluded.born where l.born < excluded.born
returning case when born > 0 then 'true' end"""
_END_LIFE: Final = """
delete from caudex_vault_file.lives where app_id = $1::text and born = coalesce($2::bigint, born)
returning 'true'"""

_row = msgspec.json.Decoder(FolderRow).decode
_lives = msgspec.json.Decoder(dict[str, int]).decode


async def folder(reader: Reader) -> FolderRow | None:
    """The folder of this database; None before the first start."""
    found = await reader.fetch(_FOLDER)
    return None if found is None else _row(found)


async def claim(tx: Transaction, identity: str, key_id: str) -> FolderRow:
    """Record the folder, unless one is recorded; returns the one that is."""
    return _there(await tx.execute(_CLAIM, identity, key_id))


async def lock(tx: Transaction) -> FolderRow:
    """Keep every other writer of files waiting until the transaction ends."""
    return _there(await tx.execute(_LOCK))


async def set_key(tx: Transaction, key_id: str) -> None:
    """Record another key."""
    await tx.execute(_SET_KEY, key_id)


async def lives(reader: Reader) -> dict[str, int]:
    """Apps that are known here, and when each was born."""
    return _lives(await reader.fetch(_LIVES) or b"{}")


async def begin_life(tx: Transaction, app_id: str, born: int) -> bool:
    """Note which life of an app this is; True where what is here can be a former one's only."""
    return await tx.execute(_BEGIN_LIFE, app_id, born) is not None


async def end_life(tx: Transaction, app_id: str, born: int | None = None) -> bool:
    """Note that an app is gone; with `born` that one only, and False where it is another."""
    return await tx.execute(_END_LIFE, app_id, born) is not None


def _there(raw: bytes | None) -> FolderRow:
    assert raw is not None, "the row is made at start-up"
    return _row(raw)
