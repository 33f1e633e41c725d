"""`caudex keys`: API keys from the command line, for the operator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

import click

from kernel.public import (
    STATEMENTS,
    Command,
    Limits,
    NotFound,
    OpenServices,
    Services,
    Transaction,
    User,
    server_actor,
)
from plugins.auth.service import AUTH

from . import store
from .models import KeyRow, MadeKey
from .service import MAX_OVERLAP, clean_name, read_end

Action = Callable[..., Awaitable[None]]
HEADINGS: Final = ("prefix", "name", "apps", "permissions", "expires", "last used", "id")


def keys_command() -> Command:
    """Describe the command."""
    username = click.Argument(["username"])
    key_id = click.Argument(["key_id"])
    limits = [
        click.Option(["--expires"], help="an RFC 3339 time"),
        click.Option(["--app", "apps"], multiple=True, help="an app that it is for; repeatable"),
        click.Option(
            ["--permission", "permissions"], multiple=True,
            help="a permission that it has, such as crm:deals.read; repeatable",
        ),
    ]  # fmt: skip
    overlap = click.Option(
        ["--overlap"], type=click.IntRange(0, MAX_OVERLAP), default=0,
        help="seconds for which the former key is valid, too",
    )  # fmt: skip

    def action(name: str, text: str, run: Action, *parameters: click.Parameter) -> Command:
        return Command(name=name, help=text, run=partial(_run, run), parameters=parameters)

    actions = [
        action("create", "make a key of an account, and print it", _create, username,
               click.Argument(["name"]), *limits),
        action("list", "list the keys of an account", _list, username),
        action("revoke", "end a key at once", _revoke, key_id),
        action("rotate", "replace a key by a new one of the same id, and print it", _rotate,
               key_id, overlap),
    ]  # fmt: skip
    return Command(name="keys", help="make, list and end API keys", actions=actions)


async def _run(action: Action, open_services: OpenServices, **arguments: Any) -> int:
    async with open_services() as services:
        await action(services, **arguments)
    return 0


async def _create(
    services: Services,
    *,
    username: str,
    name: str,
    expires: str | None,
    apps: Sequence[str],
    permissions: Sequence[str],
) -> None:
    keys = services.get(AUTH).keys
    owner = await _find_user(services, username)
    limits = Limits(apps=tuple(apps) or None, permissions=tuple(permissions) or None)
    await keys.check(owner, limits)
    title = clean_name(name)
    end = read_end(expires)

    async def work(tx: Transaction) -> MadeKey:
        return await keys.add(tx, owner.id, title, limits, end)

    new_key = await services.get(STATEMENTS).run(server_actor(), work)
    print(new_key.key)


async def _list(services: Services, *, username: str) -> None:
    owner = await _find_user(services, username)
    rows = await store.read_keys(services.get(STATEMENTS), owner.id)
    lines = [HEADINGS, *(_list_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        print("  ".join(cells).rstrip())


async def _revoke(services: Services, *, key_id: str) -> None:
    keys = services.get(AUTH).keys

    async def work(tx: Transaction) -> None:
        await keys.remove(tx, await keys.lock(tx, key_id))

    await services.get(STATEMENTS).run(server_actor(), work)
    print(f"key '{key_id}' revoked")


async def _rotate(services: Services, *, key_id: str, overlap: int) -> None:
    keys = services.get(AUTH).keys

    async def work(tx: Transaction) -> MadeKey:
        return await keys.replace(tx, await keys.lock(tx, key_id), overlap)

    new_key = await services.get(STATEMENTS).run(server_actor(), work)
    print(new_key.key)


async def _find_user(services: Services, username: str) -> User:
    user = await services.get(AUTH).accounts.find(username)
    if user is None:
        raise NotFound(f"there is no user '{username}'")
    return user


def _list_cells(row: KeyRow) -> tuple[str, ...]:
    return (
        row.prefix,
        row.name,
        _join_names(row.apps),
        _join_names(row.permissions),
        _shorten_time(row.expires, "never"),
        _shorten_time(row.last_used_at, "-"),
        row.id,
    )


def _join_names(names: Sequence[str] | None) -> str:
    return "all" if names is None else " ".join(names)


def _shorten_time(time: str | None, without: str) -> str:
    return without if time is None else time[:16].replace("T", " ")
