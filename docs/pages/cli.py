"""The page of the command line, read from its parser: argparse has no public way to look inside."""
# pyright: reportPrivateUsage=false

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any, cast

from docs.pages.code import table, with_contrib
from kernel.cli import main as cli
from kernel.hooks import hookspecs
from kernel.loading.contributions import KERNEL_COMMANDS
from kernel.loading.loader import Kernel

HEAD = """# Command line

`caudex COMMAND`. Every mistake is answered by one line that says what to do; the exit status is
then 78 for one in the configuration, 2 for one in what was typed (how it is typed stands above that
line), and 1 for others. Commands of plugins are there while the
plugin is on, which those of contrib/ are not by default; beside a running server they use its
embedded database.
"""


def page(kernel: Kernel) -> str:
    """The options that every command has, then each command."""
    shared = cli._common()._actions
    parts, told = [HEAD, "## Options of every command", _options(shared)], set[str]()
    for each in (kernel, *with_contrib()):
        for name, parser in commands(each).items():
            if name not in told:
                origin = "" if name in KERNEL_COMMANDS else f" (plugin `{_owner(each, name)}`)"
                parts.append(f"## {name}{origin}")
                parts += _command(name, parser, {action.dest for action in shared})
                told.add(name)
    return "\n\n".join(part.strip() for part in parts) + "\n"


def commands(kernel: Kernel) -> Mapping[str, argparse.ArgumentParser]:
    """Every command with its parser."""
    return _children(cli._parser(kernel))


def _children(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return cast("Mapping[str, argparse.ArgumentParser]", action.choices)
    return {}


def _command(name: str, parser: argparse.ArgumentParser, shared: set[str]) -> Iterator[str]:
    own = [a for a in parser._actions if a.dest not in shared and a.dest != "help"]
    yield parser.description or ""
    children = _children(parser)
    plain = [a for a in own if not isinstance(a, argparse._SubParsersAction)]
    if plain:
        yield _options(plain)
    for child, inner in children.items():
        yield f"### {name} {child}"
        yield from _command(f"{name} {child}", inner, shared)


def _options(actions: list[argparse.Action]) -> str:
    return table(
        ("option", "meaning"), [(f"`{_shown(action)}`", action.help or "") for action in actions]
    )


def _shown(action: argparse.Action) -> str:
    values: Any = action.choices
    value = "|".join(map(str, values)) if values else action.metavar or action.dest
    if not action.option_strings:
        return f"[{value}]" if action.nargs == "?" else str(value)
    return action.option_strings[0] + ("" if action.nargs == 0 else f" {value}")


def _owner(kernel: Kernel, command: str) -> str:
    offered = kernel.bus.collect(hookspecs.register_commands)
    return next(plugin for plugin, found in offered if command in {c.name for c in found})
