"""Lets only addresses of the house register."""

from caudex import BadRequest, Plugin, Transaction, User, hookimpl


class AccountCreatedPlugin(Plugin):
    """An email must have the domain example.org."""

    name = "account_created"

    @hookimpl
    async def account_created(self, tx: Transaction, user: User, first: bool) -> None:
        """Runs in the transaction of the registration; `first` is True for the first account."""
        if not first and user.email and not user.email.endswith("@example.org"):
            raise BadRequest("email: only addresses at example.org may register")
