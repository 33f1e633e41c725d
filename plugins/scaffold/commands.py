"""`caudex plugin new NAME`."""

from __future__ import annotations

from pathlib import Path

import click

from kernel.public import Command, OpenServices

from .names import check_name, distribution
from .package import write_package


def scaffold_commands() -> list[Command]:
    """Make the subcommands."""
    new = Command(
        name="new",
        help="write an installable package with its tests",
        run=_run,
        parameters=[
            click.Argument(["name"]),
            click.Option(["--dir", "folder"], type=click.Path(path_type=Path), metavar="DIR",
                         help="the folder to create (./caudex-plugin-NAME)"),
        ],
        needs_services=False,
    )  # fmt: skip
    return [Command(name="plugin", help="start a plugin in a package of its own", actions=[new])]


async def _run(_: OpenServices, *, name: str, folder: Path | None) -> int:
    check_name(name)
    folder = folder or Path(distribution(name))
    write_package(name, folder)
    print(f"created {folder}; next:\n")
    for line in (f"cd {folder}", "pip install -e '.[testing]'", "pytest", "caudex serve"):
        print(f"    {line}")
    return 0
