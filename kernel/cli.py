"""The command `caudex`: what an operator types. Plugins add subcommands."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Any

from kernel import commands
from kernel.app import running
from kernel.config import Config, load_config
from kernel.errors import EX_CONFIG, BootError, KernelError
from kernel.loader import Kernel, load
from kernel.plugin import Command
from kernel.serve import database_for, serve
from kernel.services import Services

Run = Callable[[argparse.Namespace], int]

SERVER_OPTIONS: dict[str, tuple[type, str]] = {
    "host": (str, "address to listen on (127.0.0.1)"),
    "port": (int, "port to listen on (9100)"),
    "workers": (int, "number of server processes (1)"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; every mistake is answered by one line that says what to do."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        options = _parser(_plugin_commands(words)).parse_args(words)
        return int(options.run(options))
    except (BootError, KernelError) as error:
        print(f"caudex: {error}", file=sys.stderr)
        return EX_CONFIG if isinstance(error, BootError) else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0


def _plugin_commands(words: Sequence[str]) -> Sequence[Command]:
    """The commands of the plugins that are on; none while the configuration is broken, so that
    `doctor` and `config check` can still say what is wrong."""
    common, _ = _common().parse_known_args(words)
    try:
        return load(_config(common)).commands
    except BootError:
        return ()


def _common() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", metavar="FILE", help="configuration file (./caudex.toml)")
    parser.add_argument("--data-dir", metavar="DIR", help="where keys and the database lie")
    return parser


def _parser(plugin_commands: Sequence[Command]) -> argparse.ArgumentParser:
    common = _common()
    parser = argparse.ArgumentParser(
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
    add("plugins", "list the plugins, on and off", _loaded(commands.plugins))
    add("routes", "list the routes and what they need", _loaded(commands.routes))
    add("migrate", "bring the database up to date", _migrate)
    add("doctor", "look for what is wrong and say what to do", _doctor)
    config = add("config", "check the configuration", _check)
    config.add_argument("action", choices=["check"], help="read everything, start nothing")
    for command in plugin_commands:
        command.configure(add(command.name, command.help, partial(_plugin_command, command)))
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


def _serve_options(parser: argparse.ArgumentParser) -> None:
    for name, (kind, text) in SERVER_OPTIONS.items():
        parser.add_argument(f"--{name}", type=kind, metavar=name.upper(), help=text)
    parser.add_argument("--reload", action="store_true", help="start again when a file changes")
    parser.add_argument(
        "--plugin", action="append", default=[], metavar="FILE", help="load a one-file plugin"
    )


def _config(options: argparse.Namespace) -> Config:
    given = vars(options)
    overrides: dict[str, Any] = {f"server.{name}": given.get(name) for name in SERVER_OPTIONS}
    overrides |= {"server.data_dir": options.data_dir}
    overrides |= {"server.plugin_files": given.get("plugin") or None}
    return load_config(options.config, overrides=overrides)


def _serve(options: argparse.Namespace) -> int:
    return serve(_config(options), reload=options.reload)


def _loaded(show: Callable[[Kernel], int]) -> Run:
    return lambda options: show(load(_config(options)))


def _check(options: argparse.Namespace) -> int:
    return commands.check(load(_config(options)))


def _migrate(options: argparse.Namespace) -> int:
    kernel = load(_config(options))
    with database_for(kernel):
        return asyncio.run(commands.migrate(kernel))


def _doctor(options: argparse.Namespace) -> int:
    return commands.doctor(lambda: _config(options))


def _plugin_command(command: Command, options: argparse.Namespace) -> int:
    kernel = load(_config(options))

    @asynccontextmanager
    async def open_services() -> AsyncGenerator[Services]:
        with database_for(kernel):
            async with running(kernel, lifespans=False) as services:
                yield services

    # The command of this very load: its plugin is wired to the services that are opened.
    own = next(item for item in kernel.commands if item.name == command.name)
    return asyncio.run(own.run(options, open_services))  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(main())
