"""`caudex sql-reader`: logins for BI tools, from the command line."""

from __future__ import annotations

import sys
from typing import Any, Final

import click
import msgspec

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


class ReaderWords(msgspec.Struct, frozen=True, kw_only=True):
    """The words of the command line, as the parameters of the command are called."""

    name: str | None
    app_id: str | None
    views: bool
    renew: bool
    revoke: bool
    lists: bool
    connections: int
    timeout: int

    def check(self) -> None:
        """Raise BadRequest unless the words ask for one thing."""
        actions = sum([self.renew, self.revoke, self.lists])
        is_list = self.lists and actions == 1 and self.name is None and self.app_id is None
        is_new = self.name is not None and self.app_id is not None and actions == 0
        changes_one = actions == 1 and not self.lists
        is_change = self.name is not None and self.app_id is None and changes_one
        if not (is_list or is_new or is_change):
            raise BadRequest(
                "say NAME --app APP, NAME --renew, NAME --revoke, or --list alone: one of these"
            )
        if self.views and not is_new:
            raise BadRequest("--views goes with --app: revoke the reader, and make it with --views")


async def _run(open_services: OpenServices, **parameters: Any) -> int:
    words = ReaderWords(**parameters)
    words.check()
    bounds = Bounds(connections=words.connections, timeout=words.timeout)
    async with open_services() as services:
        readers = services.get(READERS)
        if words.name is None:
            await _list(services)
        elif words.revoke:
            await readers.revoke(words.name)
            print(f"reader '{words.name}' revoked")
        elif words.renew:
            _show(await readers.renew(words.name, bounds))
        elif words.app_id is not None:
            _show(await readers.create(words.name, words.app_id, bounds, views=words.views))
    return 0


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
