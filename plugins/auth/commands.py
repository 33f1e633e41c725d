"""`caudex users`: accounts from the command line."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from kernel.public import (
    ACCESS,
    BadRequest,
    Command,
    NotFound,
    OpenServices,
    Services,
    User,
    server_actor,
)

from .models import Registration, UserChanges
from .service import AUTH

Action = Callable[[argparse.Namespace, Services], Awaitable[None]]
HEADINGS: Final = ("username", "email", "display name", "state", "created", "id")


def users_command() -> Command:
    """Describe the command."""
    return Command(name="users", help="list, make and change accounts", run=_run,
                   configure=_configure)  # fmt: skip


def _configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    def add(name: str, text: str, action: Action) -> argparse.ArgumentParser:
        described = f"{text[0].upper()}{text[1:]}."
        sub = actions.add_parser(name, help=text, description=described, allow_abbrev=False)
        for option in ("--config", "--data-dir"):  # may come after the action, too
            sub.add_argument(option, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        sub.add_argument(
            "--plugin", action="append", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )
        sub.set_defaults(users_action=action)
        return sub

    add("list", "list every account", _list)
    create = add(
        "create", "make an account; the password is asked for, or read from stdin", _create
    )
    create.add_argument("username")
    create.add_argument("--email")
    create.add_argument("--display-name")
    for name, text, action in (
        ("passwd", "give an account a new password and end its sessions", _passwd),
        ("disable", "keep somebody out, from this moment", _disable),
        ("enable", "let somebody in again", _enable),
        ("grant-admin", "make somebody admin of everything", _grant_admin),
    ):
        add(name, text, action).add_argument("username")


async def _run(options: argparse.Namespace, open_services: OpenServices) -> int:
    if options.users_action in (_create, _passwd):
        options.password = _ask_password()
    async with open_services() as services:
        await options.users_action(options, services)
    return 0


async def _list(_: argparse.Namespace, services: Services) -> None:
    rows = [
        (
            user.username,
            user.email or "-",
            user.display_name or "-",
            "disabled" if user.disabled else "active",
            user.created_at[:19].replace("T", " "),
            user.id,
        )
        for user in await services.get(AUTH).accounts.users()
    ]
    _table(rows)


async def _create(options: argparse.Namespace, services: Services) -> None:
    form = Registration(
        username=options.username,
        email=options.email,
        display_name=options.display_name,
        password=options.password,
    )
    accounts = services.get(AUTH).accounts
    user = await accounts.create(server_actor(), form, by_itself=False)
    print(f"created user '{user.username}' ({user.id})")


async def _passwd(options: argparse.Namespace, services: Services) -> None:
    user = await _change(options, services, UserChanges(password=options.password))
    print(f"user '{user.username}' has a new password, and has to log in again")


async def _disable(options: argparse.Namespace, services: Services) -> None:
    user = await _change(options, services, UserChanges(disabled=True))
    print(f"disabled user '{user.username}'")


async def _enable(options: argparse.Namespace, services: Services) -> None:
    user = await _change(options, services, UserChanges(disabled=False))
    print(f"enabled user '{user.username}'")


async def _grant_admin(options: argparse.Namespace, services: Services) -> None:
    user = await _named(options, services)
    await services.get(ACCESS).assign(server_actor(), "core", user.id, "admin")
    print(f"user '{user.username}' is admin of everything")


async def _change(options: argparse.Namespace, services: Services, changes: UserChanges) -> User:
    user = await _named(options, services)
    return await services.get(AUTH).accounts.update(server_actor(), user.id, changes)


async def _named(options: argparse.Namespace, services: Services) -> User:
    user = await services.get(AUTH).accounts.find(options.username)
    if user is None:
        raise NotFound(f"there is no user '{options.username}'")
    return user


def _ask_password() -> str:
    """Ask twice on a terminal; else take the first line of stdin. Never from the arguments, which
    every process of the machine can read."""
    if not sys.stdin.isatty():
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = getpass.getpass("Password: ")
        if getpass.getpass("Again: ") != password:
            raise BadRequest("the two passwords differ")
    try:
        password.encode()
    except UnicodeEncodeError:
        raise BadRequest("the password is not valid UTF-8") from None
    return password


def _table(rows: Sequence[Sequence[str]]) -> None:
    lines = [HEADINGS, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    for line in lines:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )
