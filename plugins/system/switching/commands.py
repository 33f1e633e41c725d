"""`caudex plugins purge NAME`: drop what a plugin that is off has left in the database."""

from __future__ import annotations

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
        ],
    )


async def _purge(
    registry: Registry, open_services: OpenServices, *, name: str, dry_run: bool
) -> int:
    _check_off(registry, name)
    async with open_services() as services:
        statements = services.get(STATEMENTS)
        await _check_not_running(statements, name)
        if not (found := await store.left(statements, name)):
            print(f"plugin {name} has left nothing")
            return 0
        if not dry_run:
            await statements.run(server_actor(), lambda tx: store.purge(tx, name))
        verb = "would be dropped" if dry_run else "dropped"
        print("\n".join(f"{verb}: {line}" for line in found))
    return 0


def _check_off(registry: Registry, name: str) -> None:
    if name in ("kernel", "system"):
        raise BadRequest(f"{name} is part of every server")
    if any(info.name == name and info.state != "off" for info in registry.plugins):
        raise BadRequest(f"plugin {name} is not off: [plugins.{name}] enabled = false")


async def _check_not_running(statements: Statements, name: str) -> None:
    if await store.others(statements, "", name):
        raise BadRequest(f"a server runs with plugin {name}: stop it, or restart it without")
