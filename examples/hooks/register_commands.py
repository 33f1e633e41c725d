"""Adds the subcommand `accounts`, which asks the database."""

import argparse

from caudex import STATEMENTS, Command, OpenServices, Plugin, hookimpl


async def accounts(options: argparse.Namespace, open_services: OpenServices) -> int:
    """Count the accounts; beside a running server its database is used."""
    async with open_services() as services:
        total = await services.get(STATEMENTS).fetch("select count(*) from caudex_auth.users")
    print(f"{options.label}: {int(total or 0)}")
    return 0


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--label", default="accounts", help="what to call them")


class RegisterCommandsPlugin(Plugin):
    """Counts accounts."""

    name = "register_commands"
    requires = (STATEMENTS,)

    @hookimpl
    def register_commands(self) -> list[Command]:
        """A command that never opens the services works without a database."""
        return [Command(name="accounts", help="count", run=accounts, configure=configure)]
