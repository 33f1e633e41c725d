"""`caudex plugins purge NAME`: drop what a plugin that is off has left in the database."""

from __future__ import annotations

import sys
from functools import partial

import click

from kernel.public import (
    STATEMENTS,
    BadRequest,
    Command,
    OpenServices,
    Registry,
    Statements,
    server_actor,
)

from . import store


def purge_command(registry: Registry) -> Command:
    """Make the command."""
    return Command(
        name="purge",
        help="drop what a disabled plugin has left in the database",
        run=partial(_purge, registry),
        parameters=[
            click.Argument(["name"]),
            click.Option(["--dry-run"], is_flag=True, help="show it, and drop nothing"),
            click.Option(["--yes"], is_flag=True, help="drop it without a question"),
        ],
    )


async def _purge(
    registry: Registry, open_services: OpenServices, *, name: str, dry_run: bool, yes: bool
) -> int:
    _check_off(registry, name)
    async with open_services() as services:
        statements = services.get(STATEMENTS)
        await _check_not_running(statements, name)
        remains = await store.list_remains(statements, name)
        if not remains:
            print(f"plugin {name} has left nothing")
            return 0
        if dry_run or not yes:
            print("\n".join(f"would be dropped: {line}" for line in remains))
        if dry_run:
            return 0
        if not yes and not _is_confirmed(name):
            print("nothing was dropped")
            return 1
        await statements.run(server_actor(), lambda tx: store.purge(tx, name))
        print("\n".join(f"dropped: {line}" for line in remains))
    return 0


def _is_confirmed(name: str) -> bool:
    """Ask on a terminal. Raises BadRequest elsewhere: a script says `--yes`."""
    if not sys.stdin.isatty():
        raise BadRequest("nothing was dropped: only a terminal can ask; use --yes")
    return click.confirm(f"Drop all of this? It is what plugin {name} knows, and cannot come back.")


def _check_off(registry: Registry, name: str) -> None:
    if name in ("kernel", "system"):
        raise BadRequest(f"{name} is part of every server")
    if any(info.name == name and info.state != "off" for info in registry.plugins):
        raise BadRequest(f"plugin {name} is not off: [plugins.{name}] enabled = false")


async def _check_not_running(statements: Statements, name: str) -> None:
    if await store.count_others(statements, "", name):
        raise BadRequest(f"a server runs with plugin {name}: stop it, or restart it without")
