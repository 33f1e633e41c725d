"""The command `caudex`: the kernel's commands and those of plugins."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from functools import partial
from typing import Any, NoReturn

import click
from click.shell_completion import shell_complete

from kernel import VERSION
from kernel.app import migrate_database, running
from kernel.cli.deadline import end_process
from kernel.cli.serve import database_for, serve
from kernel.cli.signals import handle
from kernel.config import log as logging
from kernel.config.settings import Config, ConfigErrors, LogConfig, load_config
from kernel.contracts.base import Command, Services
from kernel.contracts.server import DATABASE_SERVER
from kernel.errors import EX_CONFIG, BootError, BootErrors, KernelError
from kernel.loading.contributions import KERNEL_COMMANDS
from kernel.loading.kernel import Kernel
from kernel.loading.loader import load, safe

COMPLETE = "_CAUDEX_COMPLETE"
"""The variable by which the completion of a shell asks for words (`caudex completion`)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status. Without arguments it ends the process."""
    if arguments is not None:
        return _status_of(arguments)
    try:
        status = _status_of(sys.argv[1:])
    except SystemExit as end:
        status = int(end.code or 0)
    end_process(status)


def _status_of(arguments: Sequence[str]) -> int:
    """Run one command; an error is one line that says what to do."""
    words = list(arguments) or ["--help"]
    try:
        handle((signal.SIGTERM, signal.SIGHUP), _end)
        with closing(logging.configure(LogConfig(level="warning"))):
            commands = command_line(_load_for(words))
            if COMPLETE in os.environ:
                instruction = os.environ[COMPLETE]
                return shell_complete(commands, {}, "caudex", COMPLETE, instruction)
            with commands.make_context("caudex", words) as context:
                return int(commands.invoke(context))
    except click.exceptions.Exit as end:  # after --help
        return end.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (BootError, KernelError) as error:
        for line in str(error).splitlines():
            print(f"caudex: {line}", file=sys.stderr)
        return EX_CONFIG if isinstance(error, BootError) else 1
    except KeyboardInterrupt as error:
        return 128 + int(error.args[0] if error.args else signal.SIGINT)
    except EOFError:  # Ctrl-D at a question
        print("caudex: the input has ended", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader is gone; the interpreter would try to write the rest once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _end(number: int, _: object) -> NoReturn:
    """End cleanly, as at Ctrl-C. A second signal does not interrupt the cleanup."""
    handle((signal.SIGTERM, signal.SIGHUP), signal.SIG_IGN)
    raise KeyboardInterrupt(number)


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value:
        context.meta[str(parameter.name)] = value


_option = partial(click.Option, expose_value=False, callback=_keep)
COMMON = [
    _option(["--config"], metavar="FILE", help="configuration file (./caudex.toml)"),
    _option(["--data-dir"], metavar="DIR", help="folder of the keys and the database"),
    _option(["--plugin"], metavar="FILE", multiple=True,
            help="load a one-file plugin; may be repeated"),
]  # fmt: skip
"""Options of every command, before and after an action; they are kept in the context's `meta`."""


class CaudexCommand(click.Command):
    """A command with the common options."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the command's own parameters, then the common ones."""
        return [*super().get_params(ctx), *COMMON]


class CaudexGroup(CaudexCommand, click.Group):
    """A command with actions, as `users create`."""

    command_class = CaudexCommand


def _load_for(words: Sequence[str]) -> Kernel | None:
    """Load the plugins if their commands matter; help needs no valid configuration.

    If one does not load, a command that needs no plugins runs with those of safe mode, without
    configuration. The same applies to a command that needs no configuration and whose plugin is
    off.
    """
    if words[0] in KERNEL_COMMANDS:
        return None
    lenient = {"ignore_unknown_options": True, "allow_extra_args": True}
    parser = click.Command(None, params=[*COMMON], context_settings=lenient, add_help_option=False)
    options = parser.make_context("caudex", list(words), resilient_parsing=True).meta
    config: Config | None = None
    try:
        config = _config(options)
        kernel = load(config)
    except BootError as error:
        repairing = _load_to_repair(config, error if config is None else None)
        if words[0].startswith("-") or {"-h", "--help"} & {*words}:
            return repairing
        need = "needs_configuration" if config is None else "needs_plugins"
        if _runs_without(repairing, words[0], need):
            return repairing
        raise
    if words[0].startswith("-") or any(command.name == words[0] for command in kernel.commands):
        return kernel
    repairing = _load_to_repair(config, None)
    return repairing if _runs_without(repairing, words[0], "needs_configuration") else kernel


def _load_to_repair(config: Config | None, fault: BootError | None) -> Kernel:
    """Load the plugins of safe mode for commands that explain the configuration, or its errors."""
    base = config or Config()
    kernel = load(safe(Config(server=base.server, source=base.source)))
    if config is not None:
        kernel.config = config
    kernel.reloader.fault = fault
    return kernel


def _runs_without(kernel: Kernel, name: str, need: str) -> bool:
    """Whether a plugin has a command of this name that works without what `need` names."""
    commands = [command for command in kernel.commands if command.name == name]
    return any(not getattr(command, need) for command in commands)


def command_line(kernel: Kernel | None) -> click.Group:
    """Return the commands of the kernel, and those of the plugins if they are loaded."""
    commands = dict(kernel_commands.commands)
    if kernel is not None:
        for command in kernel.commands:
            commands[command.name] = _plugin_command(kernel, command)
    return click.Group("caudex", commands, help=kernel_commands.help, params=kernel_commands.params,
                       context_settings={"help_option_names": ["-h", "--help"]})  # fmt: skip


def _plugin_command(kernel: Kernel, command: Command) -> click.Command:
    text = f"{command.help[:1].upper()}{command.help[1:]}."
    description: dict[str, Any] = {
        "callback": partial(_run, kernel, command),
        "params": list(command.parameters),
        "help": text,
        "short_help": text,
    }
    if not command.actions:
        return CaudexCommand(command.name, **description)
    actions = [_plugin_command(kernel, action) for action in command.actions]
    runs_alone = command.run is not None
    return CaudexGroup(command.name, actions, invoke_without_command=runs_alone, **description)


def _run(kernel: Kernel, command: Command, **parameters: Any) -> int:
    if command.run is None or click.get_current_context().invoked_subcommand:
        return 0

    @asynccontextmanager
    async def open_services() -> AsyncGenerator[Services]:
        with database_for(kernel):
            if not command.needs_services:
                kernel.services.build_early(DATABASE_SERVER)
                yield kernel.services
                return
            async with running(kernel) as services:
                yield services

    return asyncio.run(command.run(open_services, **parameters))


def _config(options: Mapping[str, Any] | None = None, **server: Any) -> Config:
    """Read the configuration that the common options name; `server` overrides `[server]`."""
    if options is None:
        options = click.get_current_context().meta
    server |= {"data_dir": options.get("data_dir"), "plugin_files": options.get("plugin")}
    overrides = {f"server.{name}": value for name, value in server.items()}
    try:
        return load_config(options.get("config"), overrides=overrides)
    except ConfigErrors as error:
        try:
            load(error.rest)
        except BootErrors as more:
            raise BootErrors([*error.errors, *more.errors]) from None
        raise


@click.group(cls=CaudexGroup, help="The backend core for internal tools: one server on PostgreSQL.")
@click.version_option(VERSION, message="caudex %(version)s")
def kernel_commands() -> None:
    """Hold the kernel's own commands."""


@kernel_commands.command("serve", help="Run the server.")
@click.option("--host", metavar="HOST", help="address to listen on (127.0.0.1)")
@click.option("--port", type=int, metavar="PORT", help="port to listen on (9100)")
@click.option("--workers", metavar="WORKERS", help="number of server processes (1), or auto")
@click.option("--safe", "only_safe", is_flag=True,
              help="load only the plugins that repairing a broken one needs")  # fmt: skip
@click.option("--reload", is_flag=True, help="restart when a file changes")
@click.pass_context
def _serve(context: click.Context, only_safe: bool, reload: bool, **server: Any) -> int:
    read = partial(_serving_config, context.meta, only_safe, reload, server)
    return serve(read(), read, reload=reload)


def _serving_config(
    options: Mapping[str, Any], only_safe: bool, reload: bool, server: Mapping[str, Any]
) -> Config:
    """Return the configuration of a server; with --reload each start reads it again."""
    config = _config(options, **server)
    if only_safe:
        config = safe(config)
    is_of_author = reload or bool(options.get("plugin"))
    if is_of_author and config.loopback and config.server.server_timing is None:
        return config.replaced("server", server_timing=True)
    return config


@kernel_commands.command("migrate", help="Bring the database up to date.")
def _migrate() -> int:
    kernel = load(_config())
    with database_for(kernel):
        report = asyncio.run(migrate_database(kernel))
    for name in report.applied:
        print(f"applied {name}")
    for name in report.unknown:
        print(f"unknown {name}: a newer release applied it; this one goes on without it")
    if not report.applied and not report.unknown:
        print("the database is up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
