"""Describes the commands. What runs one is imported when it runs: a server never needs it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import click

from kernel.public import Command, KernelError, OpenServices

from .output import Output, refusal_of

TEMPLATES: Final = ("blank", "crm", "helpdesk", "from-csv")
SHELLS: Final = ("bash", "zsh", "fish")

Run = Callable[..., Coroutine[Any, Any, int]]
FILE: Final = click.Path(dir_okay=False, path_type=Path)
FOLDER: Final = click.Path(path_type=Path)


def author_commands() -> list[Command]:
    """Make every command; none needs a database or a configuration."""
    return [
        _command("login", "sign in at a server, and keep the sign-in",
                 "server.sign_in:login", _login_options()),
        _command("logout", "end the session at a server, and forget the sign-in",
                 "server.sign_in:logout", [
                     _url(), click.Option(["--all", "every"], is_flag=True, help="at every server"),
                 ]),
        Command(name="app", help="make, run and ship an app", actions=_app_actions(),
                needs_services=False, needs_plugins=False, needs_configuration=False),
        Command(name="types", help="write types for the records of an app",
                actions=_types_actions(), needs_services=False, needs_plugins=False,
                needs_configuration=False),
        Command(name="data", help="move records of an app as files", actions=_data_actions(),
                needs_services=False, needs_plugins=False, needs_configuration=False),
        _command("undo", "take back what a request, a user or a time did to records",
                 "exchange.undo:undo", _undo_options()),
        _command("completion", "print what completes commands in a shell",
                 "completion:completion", [
                     click.Argument(["shell"], type=click.Choice(SHELLS)),
                 ]),
    ]  # fmt: skip


def _login_options() -> list[click.Parameter]:
    return [
        _url("the server (http://127.0.0.1:9100)"),
        click.Option(["--username"], metavar="NAME", help="asked for where it is missing"),
        click.Option(["--key"], is_flag=False, flag_value="", metavar="[KEY]",
                     help="sign in with an API key; without a value it is asked for, or read from "
                     "stdin: other accounts can read command lines"),
        click.Option(["--register"], is_flag=True, help="make the account first"),
    ]  # fmt: skip


def _undo_options() -> list[click.Parameter]:
    return [
        _url(), _app(),
        click.Option(["--request"], metavar="ID", help="what this request did"),
        click.Option(["--children"], is_flag=True, help="and what its jobs did"),
        click.Option(["--actor"], metavar="NAME", help="what this user did, by name or id"),
        click.Option(["--since"], metavar="TIME", help="from this time on (RFC 3339)"),
        click.Option(["--until"], metavar="TIME", help="before this time"),
        click.Option(["--record"], metavar="ENTITY/ID", help="what was done to a record"),
        click.Option(["--to"], metavar="TIME", help="the time that a record goes back to"),
        click.Option(["--entity"], multiple=True, metavar="ENTITY",
                     help="only records of this entity; can be given again"),
        click.Option(["--possible"], is_flag=True,
                     help="put back what can be, though other records have changed since"),
        click.Option(["--dry-run"], is_flag=True, help="show what would happen"),
    ]  # fmt: skip


def _app_actions() -> list[Command]:
    return [
        _command("new", "make the folder of an app", "project.new:new", [
            click.Argument(["name"]),
            click.Argument(["files"], nargs=-1, type=FILE),
            click.Option(["--template"], type=click.Choice(TEMPLATES), default="blank",
                         show_default=True, help="what to begin with; from-csv takes FILES"),
            click.Option(["--dir", "folder"], type=FOLDER, metavar="DIR",
                         help="the folder to create (./NAME)"),
        ]),
        _command("dev", "run a server, and deploy at each save", "development.session:dev", [
            _url("a server to use instead, where you are signed in"),
            click.Option(["--port"], type=click.IntRange(0, 65535), metavar="PORT",
                         help="port of the server (9100, else a free one)"),
        ]),
        _command("plan", "show what a deploy would change", "shipping.deploy:plan", [_url()]),
        _command("deploy", "send manifest, roles, worker and frontend",
                 "shipping.deploy:deploy", [_url()]),
        _command("logs", "print the log of the app", "shipping.logs:logs", [
            _url(), _app(),
            click.Option(["--follow", "-f"], is_flag=True, help="go on with each new line"),
            click.Option(["--tail"], type=click.IntRange(0, 1000), default=100,
                         show_default=True, help="how many old lines come first"),
            click.Option(["--since"], metavar="TIME", help="begin at an RFC 3339 time"),
        ]),
        _command("rollback", "put back what the last deploy replaced, or named versions",
                 "shipping.rollback:rollback", [
                     _url(), _app(), _version("worker"), _version("frontend"),
                     _version("manifest"),
                 ]),
        _command("status", "show what of an app is in service", "shipping.status:status",
                 [_url(), _app()]),
        _command("pull", "write the manifest of a server into a file",
                 "exchange.manifest:pull", [
                     _url(), _app(),
                     click.Option(["--output", "-o", "file"], type=FILE, metavar="FILE",
                                  help="the file (manifest.json of the project)"),
                     click.Option(["--force"], is_flag=True, help="replace a file that differs"),
                 ]),
    ]  # fmt: skip


def _types_actions() -> list[Command]:
    options: list[click.Parameter] = [
        _url(), _app(),
        click.Option(["--output", "-o", "file"], type=FILE, metavar="FILE",
                     help="the file; without it the types are printed"),
    ]  # fmt: skip
    return [
        _command("ts", "write TypeScript", "declarations.written:write_typescript", options),
        _command("python", "write Python", "declarations.written:write_python", options),
    ]


def _data_actions() -> list[Command]:
    form = click.Option(["--format", "form"], type=click.Choice(["csv", "ndjson"]),
                        help="by default that of the file's name, else CSV")  # fmt: skip
    raw = click.Option(["--raw"], is_flag=True, help="leave texts that are formulas as they are")
    return [
        _command("import", "create or change records from a file", "exchange.records:load", [
            click.Argument(["entity"]),
            click.Argument(["file"], type=click.Path(dir_okay=False, allow_dash=True)),
            _url(), _app(), form,
            click.Option(["--on"], metavar="FIELDS",
                         help="fields of a unique index: rows change the records that they meet"),
            click.Option(["--dry-run"], is_flag=True, help="check everything, and write nothing"),
            click.Option(["--mode"], type=click.Choice(["all", "valid"]), default="all",
                         show_default=True, help="valid leaves out the rows that are wrong"),
            raw,
        ]),
        _command("export", "write records to a file", "exchange.records:save", [
            click.Argument(["entity"]),
            click.Argument(["file"], required=False, default="-",
                           type=click.Path(dir_okay=False, allow_dash=True)),
            _url(), _app(), form,
            click.Option(["--fields"], metavar="FIELDS", help="with commas between"),
            click.Option(["--where"], metavar="JSON", help="a where-tree"),
            raw,
        ]),
    ]  # fmt: skip


def _command(
    name: str, text: str, place: str, parameters: Sequence[click.Parameter] = ()
) -> Command:
    """Describe a command; `place` is the module and the function that run it."""
    as_json = click.Option(["--json", "as_json"], is_flag=True, help="print JSON")
    return Command(
        name=name,
        help=text,
        run=partial(_run, place),
        parameters=[*parameters, as_json],
        needs_services=False,
        needs_plugins=False,
        needs_configuration=False,
    )


async def _run(place: str, _: OpenServices, *, as_json: bool, **options: Any) -> int:
    """Run a command; with `--json` a refusal is JSON, too."""
    module, function = place.split(":")
    action: Run = getattr(import_module(f"{__package__}.{module}"), function)
    try:
        return await action(Output(as_json), **options)
    except KernelError as error:
        if not as_json:
            raise
        Output(as_json).result(refusal_of(error))
        return 1


def _url(text: str = "the server (the one of the last login)") -> click.Option:
    return click.Option(["--url"], metavar="URL", help=text)


def _app() -> click.Option:
    return click.Option(["--app"], metavar="APP", help="the app (that of the project)")


def _version(part: str) -> click.Option:
    return click.Option([f"--{part}"], type=click.IntRange(min=1), metavar="VERSION",
                        help=f"the version of the {part}")  # fmt: skip
