"""Adds the subcommand `accounts`, which asks the database."""

import click

from caudex import STATEMENTS, Command, OpenServices, Plugin, hookimpl


async def accounts(open_services: OpenServices, label: str) -> int:
    """Count the accounts; beside a running server its database is used."""
    async with open_services() as services:
        total = await services.get(STATEMENTS).fetch("select count(*) from caudex_auth.users")
    print(f"{label}: {int(total or 0)}")
    return 0


class RegisterCommandsPlugin(Plugin):
    """Counts accounts."""

    name = "register_commands"
    requires = (STATEMENTS,)

    @hookimpl
    def register_commands(self) -> list[Command]:
        """A command that never opens the services works without a database."""
        label = click.Option(["--label"], default="accounts", help="what to call them")
        return [Command(name="accounts", help="count", run=accounts, parameters=[label])]
