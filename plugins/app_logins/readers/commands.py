"""`caudex sql-reader`: logins for BI tools, from the command line."""

from __future__ import annotations

import sys
from typing import Final

import click

from kernel.public import STATEMENTS, BadRequest, Command, OpenServices, Services

from . import store
from .models import Bounds, NewReader
from .service import READERS

HEADINGS: Final = ("name", "app", "sees", "user", "state", "connections", "created (UTC)")


def sql_reader_command() -> Command:
    """Describe the command."""
    views_help = "views of the tables, which `select *` can read, in a schema of its own"
    parameters = [
        click.Argument(["name"], required=False),
        click.Option(["--app", "app_id"], help="the app whose tables it reads"),
        click.Option(["--views"], is_flag=True, help=views_help),
        click.Option(["--renew"], is_flag=True, help="give it a new password"),
        click.Option(["--revoke"], is_flag=True, help="drop it, and end its sessions"),
        click.Option(["--list", "lists"], is_flag=True, help="list all readers"),
        click.Option(
            ["--connections"], type=click.IntRange(1, 100), default=5, show_default=True,
            help="connections that it may have",
        ),
        click.Option(
            ["--timeout"], type=click.IntRange(1, 300), default=60, show_default=True,
            help="seconds that a statement of it may take, unless its session sets others",
        ),
    ]  # fmt: skip
    text = "make, renew, revoke or list logins of PostgreSQL that read one app, for BI tools"
    return Command(name="sql-reader", help=text, run=_run, parameters=parameters)


async def _run(
    open_services: OpenServices,
    *,
    name: str | None,
    app_id: str | None,
    views: bool,
    renew: bool,
    revoke: bool,
    lists: bool,
    connections: int,
    timeout: int,
) -> int:
    _check_options(name, app_id, [lists, revoke, renew])
    if views and app_id is None:
        raise BadRequest("--views goes with --app: revoke the reader, and make it with --views")
    bounds = Bounds(connections=connections, timeout=timeout)
    async with open_services() as services:
        readers = services.get(READERS)
        if name is None:
            await _list(services)
        elif revoke:
            await readers.revoke(name)
            print(f"reader '{name}' revoked")
        elif renew:
            _show(await readers.renew(name, bounds))
        elif app_id is not None:
            _show(await readers.create(name, app_id, bounds, views=views))
    return 0


def _check_options(name: str | None, app_id: str | None, actions: list[bool]) -> None:
    """Raise BadRequest unless the words ask for one thing."""
    lists = actions[0]
    if lists and name is None and app_id is None and sum(actions) == 1:
        return
    is_new = app_id is not None and sum(actions) == 0
    is_change = app_id is None and sum(actions) == 1 and not lists
    if name is None or not (is_new or is_change):
        raise BadRequest(
            "say NAME --app APP, NAME --renew, NAME --revoke, or --list alone: one of these"
        )


async def _list(services: Services) -> None:
    lines: list[tuple[str, ...]] = [HEADINGS]
    for row in await store.list_readers(services.get(STATEMENTS)):
        connections = "-" if row.connections is None else str(row.connections)
        sees = "views" if row.views else "tables"
        lines.append((row.name, row.app_id, sees, row.role, row.state, connections, row.created_at))
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        print("  ".join(cells).rstrip())


def _show(reader: NewReader) -> None:
    """Print what a BI tool asks for; remarks go to stderr, as they are no part of it."""
    address = reader.address
    print(f"reader '{reader.name}' of {reader.app_id}; the password is not shown again")
    print(f"host      {address.host}")
    print(f"port      {address.port}")
    print(f"database  {address.database}")
    print(f"schema    {reader.schema}")
    print(f"user      {address.user}")
    print(f"password  {address.password}")
    print(f"url       {address.url}")
    for remark in reader.remarks:
        print(f"caudex: {remark}", file=sys.stderr)
