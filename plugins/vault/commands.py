"""`caudex rotate-keys`."""

from __future__ import annotations

from kernel.public import VAULT, BootError, Command, OpenServices

from .service import VaultService


def rotate_command() -> Command:
    """Make the subcommand."""
    return Command(
        name="rotate-keys", help="seal all secrets by a new master key, while servers run", run=_run
    )


async def _run(open_services: OpenServices) -> int:
    async with open_services() as services:
        vault = services.get(VAULT)
        if not isinstance(vault, VaultService):
            raise BootError("rotate-keys", "[services] vault is another plugin's", "ask that one")
        print(f"{await vault.rotate()} data keys are sealed by a new master key")
        return 0
