"""Keeps the accounts of machines."""

from caudex import BadRequest, Plugin, Transaction, User, hookimpl


class AccountClosingPlugin(Plugin):
    """Machines do not leave by themselves."""

    name = "account_closing"

    @hookimpl
    async def account_closing(self, tx: Transaction, user: User, delete: bool) -> None:
        """Before an account is disabled, or deleted where `delete` is True."""
        if user.username.startswith("machine_"):
            what = "deleted" if delete else "disabled"
            raise BadRequest(f"{user.username} is a machine's account: it cannot be {what}")
