"""`caudex plugin new NAME`."""

from __future__ import annotations

import argparse
from pathlib import Path

from kernel.public import Command, OpenServices

from .names import check_name, distribution
from .package import write_package


def scaffold_commands() -> list[Command]:
    """Make the subcommands."""
    return [
        Command(
            name="plugin", help="begin a plugin in a package of its own", configure=_options,
            run=_run, needs_services=False,
        )
    ]  # fmt: skip


def _options(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    text = "make a package that works, with its tests"
    new = actions.add_parser("new", help=text, description=f"{text.capitalize()}.")
    new.add_argument("name", metavar="NAME", help="of the plugin: lower-case, as in order_mail")
    new.add_argument(
        "--dir", type=Path, metavar="DIR", help="the folder to make (./caudex-plugin-NAME)"
    )


async def _run(options: argparse.Namespace, _: OpenServices) -> int:
    check_name(options.name)
    folder: Path = options.dir or Path(distribution(options.name))
    write_package(options.name, folder)
    print(f"made {folder}; next:\n")
    for line in (f"cd {folder}", "pip install -e '.[testing]'", "pytest", "caudex serve"):
        print(f"    {line}")
    return 0
