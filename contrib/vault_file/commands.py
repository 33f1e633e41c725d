"""`caudex vault-file`: seal by a new key, and take over the secrets of another vault."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

from kernel.public import APPS, VAULT, BootError, Command, OpenServices, Services

from .service import VaultFileService

Open = Callable[[Services], AbstractAsyncContextManager[VaultFileService]]
Action = Callable[[Open, Services], Awaitable[tuple[str, ...]]]


def vault_file_command(open_engine: Open) -> Command:
    """Make the subcommand."""
    actions = [
        Command(name=name, help=text, run=partial(_run, action, open_engine))
        for name, text, action in (
            ("rotate", "seal every secret by a new master key, while servers run", _rotate),
            ("import", "copy every secret of the vault that [services] names now", _import),
        )
    ]
    text = "keys and contents of the vault that is a folder of sealed files"
    return Command(name="vault-file", help=text, actions=actions)


async def _run(action: Action, open_engine: Open, open_services: OpenServices) -> int:
    async with open_services() as services:
        unopenable = await action(open_engine, services)
    for place in unopenable:
        print(f"{place} cannot be opened: set it again", file=sys.stderr)
    if unopenable:
        return 1
    return 0


async def _rotate(_: Open, services: Services) -> tuple[str, ...]:
    vault = services.get(VAULT)
    if not isinstance(vault, VaultFileService):
        raise BootError("vault-file rotate", "[services] vault is another plugin's", "ask that one")
    outcome = await vault.rotate()
    print(f"secrets sealed by a new master key: {outcome.count}")
    return outcome.unopenable


async def _import(open_engine: Open, services: Services) -> tuple[str, ...]:
    source = services.get(VAULT)
    if isinstance(source, VaultFileService):
        problem = "[services] vault is vault_file already: there is no other to copy from"
        raise BootError("vault-file import", problem, "name the vault to copy from, import, switch")
    async with open_engine(services) as target:
        apps = await services.get(APPS).all()
        outcome = await target.take_over(source, apps)
    print(f"secrets copied: {outcome.count}; now set [services] vault = 'vault_file' and restart")
    return outcome.unopenable
