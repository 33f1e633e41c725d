"""Lives of apps: what is here of one that went while the plugin was off is nobody's."""

from __future__ import annotations

from functools import partial

from kernel.public import Apps, Statements, Transaction, server_actor

from . import store


async def catch_up(statements: Statements, apps: Apps) -> None:
    """Forget what is here of apps that went, also where others of their names came since."""
    known = await store.lives(statements)  # first: what comes in between is not taken for gone
    await apps.refresh()
    installed = {app.id: app.born for app in await apps.all()}
    for app_id, born in installed.items():
        if known.get(app_id, 0) < born:
            await statements.run(server_actor(), partial(begin, app_id=app_id, born=born))
    for app_id in known.keys() - installed.keys():
        former = partial(end, app_id=app_id, born=known[app_id])
        await statements.run(server_actor(), former)


async def begin(tx: Transaction, app_id: str, born: int, *, first: bool = False) -> None:
    """An app is installed: keep nothing that is a former one's. `first` when it was not there."""
    former = await store.begin_life(tx, app_id, born)
    if former or first:
        await store.forget_app(tx, app_id)


async def end(tx: Transaction, app_id: str, born: int | None = None) -> None:
    """An app is gone: forget it; with `born` that one only."""
    if await store.end_life(tx, app_id, born) or born is None:
        await store.forget_app(tx, app_id)
