"""Lives of apps: files of one that went while the plugin was off are nobody's."""

from __future__ import annotations

from functools import partial

import anyio.to_thread

from kernel.public import Apps, Statements, Transaction, server_actor

from . import store
from .files import Folder


async def catch_up(statements: Statements, apps: Apps, folder: Folder) -> None:
    """Delete the files of apps that went, also where others of their names came since."""
    known = await store.lives(statements)  # first: what comes in between is not taken for gone
    await apps.refresh()
    installed = {app.id: app.born for app in await apps.all()}
    for app_id, born in installed.items():
        if known.get(app_id, 0) < born:
            new = partial(begin, folder=folder, app_id=app_id, born=born)
            await statements.run(server_actor(), new)
    for app_id in known.keys() - installed.keys():
        former = partial(_end, folder=folder, app_id=app_id, born=known[app_id])
        await statements.run(server_actor(), former)


async def begin(
    tx: Transaction, folder: Folder, app_id: str, born: int, *, first: bool = False
) -> None:
    """An app is installed: keep no file that is a former one's. `first` when it was not there."""
    former = await store.begin_life(tx, app_id, born)
    if former or first:
        await anyio.to_thread.run_sync(folder.wipe, app_id)


async def _end(tx: Transaction, folder: Folder, app_id: str, born: int) -> None:
    if await store.end_life(tx, app_id, born):
        await anyio.to_thread.run_sync(folder.wipe, app_id)
