"""A plugin that takes part in every write, so that each is a transaction."""

from kernel.public import Change, Plugin, Transaction, hookimpl


class HookedPlugin(Plugin):
    name = "hooked"

    @hookimpl
    async def record_writing(self, tx: Transaction, change: Change) -> None:
        """Change nothing."""
