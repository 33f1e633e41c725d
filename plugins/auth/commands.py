"""`caudex users`: accounts from the command line."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

import click
import msgspec

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

from .invites.models import NewInvite
from .invites.service import DAYS, MAX_DAYS
from .models import ImportedAccount, Registration, UserChanges
from .rules.names import NameTaken
from .service import AUTH

Action = Callable[..., Awaitable[None]]
HEADINGS: Final = ("username", "email", "display name", "state", "created", "id")


def users_command(read_origin: Callable[[], str]) -> Command:
    """Describe the command; `read_origin` says what links begin with unless `--url` does."""
    username = click.Argument(["username"])
    details = [click.Option(["--email"]), click.Option(["--display-name"])]
    permanent = click.Option(
        ["--permanent"],
        is_flag=True,
        help="the user need not change the password, as for the first account",
    )

    service = click.Option(
        ["--service"],
        is_flag=True,
        help="a service account: it has no password, and API keys that `caudex keys` makes",
    )

    invite = [
        click.Option(["--app"], help="the app of the role"),
        click.Option(["--role"], help="the role that the account gets, of the app"),
        click.Option(["--email"], help="the address that the account has"),
        click.Option(
            ["--days"], type=click.IntRange(1, MAX_DAYS), default=DAYS,
            help=f"after how many days the invite ends; {DAYS} unless it is given",
        ),
        click.Option(["--by"], help="the core admin who invites; the oldest account of one"),
        click.Option(
            ["--url"], help="what the link begins with, such as https://desk.example.com"
        ),
    ]  # fmt: skip

    def action(name: str, text: str, run: Action, *parameters: click.Parameter) -> Command:
        return Command(name=name, help=text, run=partial(_run, run), parameters=parameters)

    actions = [
        action("list", "list every account", _list),
        action("create", "create an account; the password is asked for, or read from stdin",
               _create, username, *details, permanent, service),
        action("import", "create accounts with Argon2id hashes of another system, from stdin",
               _import),
        action("invite", "make a link that makes one account, with a role, and print it",
               partial(_invite, read_origin), *invite),
        action("passwd", "give an account a new password and end its sessions", _passwd, username,
               permanent),
        action("reset-second-factor", "remove the second factor of an account",
               _reset_second_factor, username),
        action("disable", "refuse an account from now on", _disable, username),
        action("enable", "accept a disabled account again", _enable, username),
        action("grant-admin", "make an account admin of everything", _grant_admin, username),
    ]  # fmt: skip
    return Command(name="users", help="list, create and change accounts", actions=actions)


async def _run(action: Action, open_services: OpenServices, **arguments: Any) -> int:
    needs_password = action is _create and not arguments["service"]
    if needs_password or action is _passwd:
        arguments["password"] = _ask_password()
    async with open_services() as services:
        await action(services, **arguments)
    return 0


async def _list(services: Services) -> None:
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
    _print_table(rows)


async def _create(services: Services, *, permanent: bool, service: bool, **members: Any) -> None:
    creation = services.get(AUTH).creation
    if service:
        if members["email"] is not None:
            raise BadRequest("a service account has no email")
        user = await creation.create_service(
            server_actor(), members["username"], members["display_name"]
        )
        print(f"created service account '{user.username}' ({user.id})")
        return
    form = Registration(**members)
    user = await creation.create(server_actor(), form, by_itself=False, temporary=not permanent)
    print(f"created user '{user.username}' ({user.id})")


async def _import(services: Services) -> None:
    """Goes on after a line that is refused, and fails at the end."""
    creation = services.get(AUTH).creation
    counts = {"imported": 0, "skipped": 0, "refused": 0}
    for number, line in enumerate(filter(str.strip, sys.stdin), 1):
        try:
            account = msgspec.json.decode(line, type=ImportedAccount)
            await creation.take_over(server_actor(), account)
            counts["imported"] += 1
        except NameTaken as taken:
            print(f"line {number}: skipped: {taken}")
            counts["skipped"] += 1
        except (BadRequest, msgspec.MsgspecError, UnicodeEncodeError) as refusal:
            print(f"line {number}: {refusal}", file=sys.stderr)
            counts["refused"] += 1
    summary = ", ".join(f"{count} {word}" for word, count in counts.items())
    if counts["refused"]:
        raise BadRequest(summary)
    print(summary)


class InviteWords(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `users invite`."""

    app: str | None
    role: str | None
    email: str | None
    days: int
    by: str | None
    url: str | None


async def _invite(read_origin: Callable[[], str], services: Services, **options: Any) -> None:
    words = InviteWords(**options)
    inviter = await _find_inviter(services, words.by)
    actor = msgspec.structs.replace(server_actor(), user_id=inviter.id, username=inviter.username)
    expires = (datetime.now(UTC) + timedelta(days=words.days)).isoformat()
    form = NewInvite(app=words.app, role=words.role, email=words.email, expires=expires)
    origin = (words.url or read_origin()).rstrip("/")
    invite = await services.get(AUTH).invites.create(actor, form, f"{origin}/console/")
    print(invite.link)
    sent = ", was sent" if invite.sent else ""
    print(
        f"'{inviter.username}' invites; the link works once{sent}, and ends {invite.expires}",
        file=sys.stderr,
    )


async def _find_inviter(services: Services, username: str | None) -> User:
    """Return who invites: only core admins do. Raises BadRequest, NotFound."""
    access = services.get(ACCESS)
    if username is not None:
        user = await _find_user(services, username)
        if not await access.is_core_admin(user.id):
            raise BadRequest(f"'{username}' is no core admin, and only these invite")
        return user
    users = await services.get(AUTH).accounts.users()
    for user in sorted(users, key=lambda user: user.created_at):
        if not user.disabled and await access.is_core_admin(user.id):
            return user
    raise NotFound("there is no core admin who could invite: `caudex users grant-admin` makes one")


async def _passwd(services: Services, *, username: str, password: str, permanent: bool) -> None:
    user = await _change(services, username, UserChanges(password=password), permanent=permanent)
    print(f"user '{user.username}' has a new password, and has to log in again")


async def _disable(services: Services, *, username: str) -> None:
    user = await _change(services, username, UserChanges(disabled=True))
    print(f"disabled user '{user.username}'")


async def _enable(services: Services, *, username: str) -> None:
    user = await _change(services, username, UserChanges(disabled=False))
    print(f"enabled user '{user.username}'")


async def _grant_admin(services: Services, *, username: str) -> None:
    user = await _find_user(services, username)
    await services.get(ACCESS).assign(server_actor(), "core", user.id, "admin")
    print(f"user '{user.username}' is admin of everything")


async def _reset_second_factor(services: Services, *, username: str) -> None:
    user = await _find_user(services, username)
    await services.get(AUTH).factors.remove(server_actor(), user.id)
    print(f"user '{user.username}' has no second factor any more")


async def _change(
    services: Services, username: str, changes: UserChanges, *, permanent: bool = False
) -> User:
    user = await _find_user(services, username)
    account_changes = services.get(AUTH).changes
    return await account_changes.update(server_actor(), user.id, changes, permanent=permanent)


async def _find_user(services: Services, username: str) -> User:
    user = await services.get(AUTH).accounts.find(username)
    if user is None:
        raise NotFound(f"there is no user '{username}'")
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


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    lines = [HEADINGS, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        print("  ".join(cells).rstrip())
