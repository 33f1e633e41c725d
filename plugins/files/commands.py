"""`caudex files`."""

from __future__ import annotations

import click

from kernel.public import Command, OpenServices

from .keeping.upkeep import UPKEEP


def files_command() -> Command:
    """Describe the command."""
    verify = Command(
        name="verify", help="read every file, and compare it with its hash", run=_verify
    )
    shared = click.Option(
        ["--shared"], is_flag=True, help="also where other files have the same content"
    )
    erase = Command(
        name="erase",
        help="remove the content of a file for good; that is recorded",
        run=_erase,
        parameters=[click.Argument(["file_id"]), shared],
    )
    return Command(name="files", help="verify and erase files of apps", actions=[verify, erase])


async def _verify(open_services: OpenServices) -> int:
    count = 0
    damaged = 0
    async with open_services() as services:
        async for damage in services.get(UPKEEP).verify():
            count += 1
            if damage is not None:
                damaged += 1
                print(f"{damage.sha256} {damage.problem}")
    print(f"{count} contents were read, {damaged} are damaged")
    return 1 if damaged else 0


async def _erase(open_services: OpenServices, *, file_id: str, shared: bool) -> int:
    async with open_services() as services:
        files = await services.get(UPKEEP).erase(file_id, shared=shared)
    print(f"the content is erased; {files} file(s) had it. Backups may still have it")
    return 0
