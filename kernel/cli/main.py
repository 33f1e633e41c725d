"""The command `caudex`: what an operator types. Plugins add subcommands."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from functools import partial
from importlib.metadata import version
from typing import Any, NoReturn

import msgspec

from kernel.app import running
from kernel.cli import commands
from kernel.cli.plan import plan
from kernel.cli.serve import database_for, serve
from kernel.cli.supervisor import handle
from kernel.config import log as logging
from kernel.config.settings import Config, LogConfig, load_config
from kernel.contracts.statements import DATABASE_SERVER
from kernel.errors import EX_CONFIG, BootError, KernelError, nearest
from kernel.hooks.plugin import Command
from kernel.hooks.services import Services
from kernel.loading.contributions import KERNEL_COMMANDS
from kernel.loading.loader import Kernel, load, safe

Run = Callable[[argparse.Namespace], int]

SERVER_OPTIONS: dict[str, tuple[type, str]] = {
    "host": (str, "address to listen on (127.0.0.1)"),
    "port": (int, "port to listen on (9100)"),
    "workers": (int, "number of server processes (1)"),
}


SAFE_NOTICE = """SAFE MODE: only what a broken plugin is repaired with; nobody can register.
Other plugins, [services] that they provide and plugins_dir are left out."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; every mistake is answered by one line that says what to do."""
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        handle((signal.SIGTERM, signal.SIGHUP), _end)
        with closing(logging.configure(LogConfig(level="warning"))):
            options = _parser(_kernel_for(words)).parse_args(words)
            return int(options.run(options))
    except (BootError, KernelError) as error:
        for line in str(error).splitlines():
            print(f"caudex: {line}", file=sys.stderr)
        return EX_CONFIG if isinstance(error, BootError) else 1
    except KeyboardInterrupt as error:
        return 128 + int(error.args[0] if error.args else signal.SIGINT)
    except BrokenPipeError:
        # Whoever read has gone; the interpreter would try to write what is left once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _end(number: int, _: object) -> NoReturn:
    """End in order, as by Ctrl-C. Once: a second signal does not break off what clears away."""
    handle((signal.SIGTERM, signal.SIGHUP), signal.SIG_IGN)
    raise KeyboardInterrupt(number)


def _kernel_for(words: Sequence[str]) -> Kernel | None:
    """Load the plugins where their commands matter; help works with a broken configuration too."""
    if words[0] in KERNEL_COMMANDS:
        return None
    common, _ = _common().parse_known_args(words)
    try:
        return load(_config(common))
    except BootError:
        if words[0].startswith("-"):
            return None
        raise


def _common(default: Any = None) -> argparse.ArgumentParser:
    """Options of every command; one below another must not undo what the upper one was given."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, argument_default=default)
    parser.add_argument("--config", metavar="FILE", help="configuration file (./caudex.toml)")
    parser.add_argument("--data-dir", metavar="DIR", help="where keys and the database lie")
    text = "load a one-file plugin; may be given again"
    parser.add_argument("--plugin", action="append", metavar="FILE", help=text)
    return parser


class _Parser(argparse.ArgumentParser):
    """Tells the nearest known word; what a command does not know, it refuses itself."""

    def parse_known_args(self, *given: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        found, unknown = super().parse_known_args(*given)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        known = [word for action in self._actions for word in action.option_strings]
        if choice := re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message):
            known = re.findall(r"[^\s',]+", choice[2])
        choice = choice or re.search(r"unrecognized arguments: (--[^\s=]+)", message)
        hint = nearest(choice[1], known) if choice else ""
        super().error(f"{message}; {hint}" if hint.startswith("did you mean") else message)


def _parser(kernel: Kernel | None) -> argparse.ArgumentParser:
    common = _common()
    parser = _Parser(
        prog="caudex", allow_abbrev=False,
        description="The backend core for internal tools: one server on PostgreSQL.",
        epilog="`caudex COMMAND --help` tells more about a command.",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"caudex {version('caudex')}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add = partial(_add, subparsers, common)
    _serve_options(add("serve", "run the server", _serve))
    init = add("init", "write a commented caudex.toml", commands.init)
    init.add_argument("file", nargs="?", default="caudex.toml", help="where to write it")
    _plugins_options(add("plugins", "list the plugins, on and off", _plugins))
    add("routes", "list the routes and what they need", _loaded(commands.routes))
    add("migrate", "bring the database up to date", _migrate)
    add("doctor", "look for what is wrong and say what to do", _doctor)
    config = add("config", "check the configuration", _loaded(commands.check))
    config.add_argument("action", choices=["check"], help="read everything, start nothing")
    if kernel is not None:
        for command in kernel.commands:
            run = partial(_plugin_command, kernel, command)
            command.configure(add(command.name, command.help, run))
    return parser


def _add(
    subparsers: Any, common: argparse.ArgumentParser, name: str, text: str, run: Run
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + ".", parents=[common],
        allow_abbrev=False,
    )  # fmt: skip
    parser.set_defaults(run=run)
    return parser


def _plugins_options(parser: argparse.ArgumentParser) -> None:
    text = "ask this server, and tell what its hooks cost"
    parser.add_argument("--url", default="", metavar="URL", help=text)
    text = "of a core admin; better by CAUDEX_TOKEN, as others can read command lines"
    token = os.environ.get("CAUDEX_TOKEN", "")
    parser.add_argument("--token", default=token, metavar="TOKEN", help=text)
    text = "tell what switching plugins on or off would change; change nothing"
    planning = parser.add_subparsers(metavar="ACTION").add_parser(
        "plan", help=text, description=f"{text.capitalize()}.", allow_abbrev=False,
        parents=[_common(argparse.SUPPRESS)],
    )  # fmt: skip
    for word in ("disable", "enable"):
        text = f"{word} a plugin; may be given again"
        planning.add_argument(f"--{word}", action="append", default=[], metavar="NAME", help=text)
    planning.set_defaults(run=_plan)


def _serve_options(parser: argparse.ArgumentParser) -> None:
    for name, (kind, text) in SERVER_OPTIONS.items():
        parser.add_argument(f"--{name}", type=kind, metavar=name.upper(), help=text)
    text = "only what a broken plugin is repaired with: system, auth, roles, database"
    parser.add_argument("--safe", action="store_true", help=text)
    parser.add_argument("--reload", action="store_true", help="start again when a file changes")


def _config(options: argparse.Namespace) -> Config:
    given = vars(options)
    overrides: dict[str, Any] = {f"server.{name}": given.get(name) for name in SERVER_OPTIONS}
    overrides |= {"server.data_dir": options.data_dir, "server.plugin_files": options.plugin}
    return load_config(options.config, overrides=overrides)


def _serve(options: argparse.Namespace) -> int:
    read = partial(_served, options)
    notice = SAFE_NOTICE if options.safe else ""
    return serve(read(), again=read if options.reload else None, notice=notice)


def _served(options: argparse.Namespace) -> Config:
    """The configuration as a server takes it; with --reload each start reads it anew."""
    config = safe(_config(options)) if options.safe else _config(options)
    server = config.server
    if server.server_timing is None and (options.reload or options.plugin) and config.loopback:
        server = msgspec.structs.replace(server, server_timing=True)
    return msgspec.structs.replace(config, server=server)


def _plugins(options: argparse.Namespace) -> int:
    return commands.plugins(_config(options), options.url, options.token)


def _plan(options: argparse.Namespace) -> int:
    return plan(_config(options), options.disable, options.enable)


def _loaded(show: Callable[[Kernel], int]) -> Run:
    return lambda options: show(load(_config(options)))


def _migrate(options: argparse.Namespace) -> int:
    kernel = load(_config(options))
    with database_for(kernel):
        return asyncio.run(commands.migrate(kernel))


def _doctor(options: argparse.Namespace) -> int:
    return commands.doctor(lambda: _config(options))


def _plugin_command(kernel: Kernel, command: Command, options: argparse.Namespace) -> int:
    @asynccontextmanager
    async def open_services() -> AsyncGenerator[Services]:
        with database_for(kernel):
            if not command.needs_services:
                kernel.services.build_early(DATABASE_SERVER)
                yield kernel.services
                return
            async with running(kernel) as services:
                yield services

    async def run() -> int:
        return await command.run(options, open_services)

    return asyncio.run(run())


if __name__ == "__main__":
    sys.exit(main())
