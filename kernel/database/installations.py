"""Installations of apps: the row that gives each one its key, for a provider of APPS."""

from __future__ import annotations

from typing import Final

from kernel.contracts.statements import Transaction

_REGISTER: Final = """
insert into caudex_kernel.apps as a (app_id) values ($1::text)
on conflict (app_id) do update set app_id = a.app_id returning key"""
_UNREGISTER: Final = "delete from caudex_kernel.apps where app_id = $1::text"


async def register_app(tx: Transaction, app_id: str) -> int:
    """Return the key of an installed app; a first install gets a new one.

    Call it before `app_installing`: rows of plugins reference `caudex_kernel.apps (app_id)`.
    """
    return int(await tx.execute(_REGISTER, app_id) or 0)


async def unregister_app(tx: Transaction, app_id: str) -> None:
    """Delete the row of an app that is removed, and with it all rows that reference it.

    Call it after `app_removing`. The rows of plugins that are switched off go as well.
    """
    await tx.execute(_UNREGISTER, app_id)
