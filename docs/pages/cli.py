"""The page of the command line, read from the commands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import click

from docs.pages.code import table, with_contrib
from kernel.cli import main as cli
from kernel.contracts import hookspecs
from kernel.loading.contributions import KERNEL_COMMANDS
from kernel.loading.kernel import Kernel

HEAD = """# Command line

`caudex COMMAND`. Each error is one line that says what to do. The exit status is 78 for an error in
the configuration, 2 for a wrong command line, and 1 for others. Usage is printed above an error of
status 2. Commands of a plugin exist while it is enabled. Plugins of contrib/ are disabled by
default. Beside a running server a command uses the server's embedded database. The commands of the
plugin `authoring` need nothing but HTTP, and have `--json`.
"""


def page(kernel: Kernel) -> str:
    """The options that every command has, then each command."""
    parts, listed = [HEAD, "## Options of every command", _options(cli.COMMON)], set[str]()
    for each in (kernel, *with_contrib()):
        for name, command in commands(each).items():
            if name not in listed:
                origin = "" if name in KERNEL_COMMANDS else f" (plugin `{_owner(each, name)}`)"
                parts.append(f"## {name}{origin}")
                parts += _command(name, command)
                listed.add(name)
    return "\n\n".join(part.strip() for part in parts) + "\n"


def commands(kernel: Kernel) -> Mapping[str, click.Command]:
    """Every command."""
    return cli.command_line(kernel).commands


def _command(name: str, command: click.Command) -> Iterator[str]:
    yield command.help or ""
    if command.params:
        yield _options(command.params)
    for child, inner in (command.commands if isinstance(command, click.Group) else {}).items():
        yield f"### {name} {child}"
        yield from _command(f"{name} {child}", inner)


def _options(parameters: Sequence[click.Parameter]) -> str:
    rows = [(f"`{_shown(each)}`", getattr(each, "help", "") or "") for each in parameters]
    return table(("option", "meaning"), rows)


def _shown(parameter: click.Parameter) -> str:
    value = parameter.metavar or str(parameter.name)
    if isinstance(parameter, click.Option):
        return parameter.opts[0] + ("" if parameter.is_flag else f" {value}")
    return value if parameter.required else f"[{value}]"


def _owner(kernel: Kernel, command: str) -> str:
    offered = kernel.bus.collect(hookspecs.register_commands, services=kernel.services)
    return next(plugin for plugin, found in offered if command in {c.name for c in found})
