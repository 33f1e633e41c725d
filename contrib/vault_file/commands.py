"""`caudex vault-file`: seal by a new key, and take over the secrets of another vault."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

from kernel.public import APPS, VAULT, BootError, Command, OpenServices, Services

from .service import VaultFileService

Open = Callable[[Services], AbstractAsyncContextManager[VaultFileService]]


def vault_file_command(open_engine: Open) -> Command:
    """Make the subcommand."""
    return Command(
        name="vault-file",
        help="keys and contents of the vault that is a folder of sealed files",
        configure=_configure,
        run=partial(_run, open_engine),
    )


def _configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    for name, text, action in (
        ("rotate", "seal every secret by a new master key, while servers run", _rotate),
        ("import", "copy every secret of the vault that [services] names now", _import),
    ):
        described = f"{text[0].upper()}{text[1:]}."
        sub = actions.add_parser(name, help=text, description=described, allow_abbrev=False)
        for option in ("--config", "--data-dir"):  # may come after the action, too
            sub.add_argument(option, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        sub.add_argument(
            "--plugin", action="append", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )
        sub.set_defaults(vault_file_action=action)


async def _run(open_engine: Open, options: argparse.Namespace, open_services: OpenServices) -> int:
    async with open_services() as services:
        lost: tuple[str, ...] = await options.vault_file_action(open_engine, services)
    for place in lost:
        print(f"{place} cannot be opened: set it again", file=sys.stderr)
    return 1 if lost else 0


async def _rotate(_: Open, services: Services) -> tuple[str, ...]:
    vault = services.get(VAULT)
    if not isinstance(vault, VaultFileService):
        raise BootError("vault-file rotate", "[services] vault is another plugin's", "ask that one")
    done = await vault.rotate()
    print(f"secrets sealed by a new master key: {done.sealed}")
    return done.unopenable


async def _import(open_engine: Open, services: Services) -> tuple[str, ...]:
    source = services.get(VAULT)
    if isinstance(source, VaultFileService):
        problem = "[services] vault is vault_file already: there is no other to copy from"
        raise BootError("vault-file import", problem, "name the vault to copy from, import, switch")
    async with open_engine(services) as target:
        done = await target.take_over(source, await services.get(APPS).all())
    print(f"secrets copied: {done.copied}; now set [services] vault = 'vault_file' and restart")
    return done.unopenable
