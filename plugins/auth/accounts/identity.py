"""Who has an account: the provider of IDENTITY."""

from __future__ import annotations

from functools import partial

from msgspec.structs import replace

from kernel.public import (
    AccountDirectory,
    Actor,
    Delegation,
    Limits,
    Person,
    Reader,
    Transaction,
    Unauthenticated,
    User,
    fold_name,
    is_uuid,
)
from plugins.auth.authenticator import REVOKED_SESSION
from plugins.auth.keys import store as key_store
from plugins.auth.rules.ids import check_id, unknown_user
from plugins.auth.sessions.store import SessionStore
from plugins.auth.tokens import Tokens

from .creation import AccountCreation
from .store import AccountStore


class Accounts:
    """See `kernel.contracts.identity.Identity`."""

    def __init__(
        self,
        store: AccountStore,
        sessions: SessionStore,
        creation: AccountCreation,
        tokens: Tokens,
        directory: AccountDirectory,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._creation = creation
        self._tokens = tokens
        self._directory = directory

    async def user(self, user_id: str, reader: Reader | None = None) -> User | None:
        """See `Identity.user`."""
        if not is_uuid(user_id):
            return None
        return await self._store.user(user_id, reader)

    async def find(self, username: str) -> User | None:
        """See `Identity.find`; finds an account by its email, too."""
        account = await self._store.find_account(fold_name(username))
        if account is None:
            return None
        return account.user

    async def find_email(self, email: str) -> User | None:
        """See `Identity.find_email`."""
        email_key = fold_name(email)
        account = await self._store.find_account(email_key)
        if account is None or account.email_key != email_key:
            return None
        return account.user

    async def users(self) -> list[User]:
        """See `Identity.users`."""
        return await self._store.users()

    async def visible(self, actor: Actor) -> frozenset[str] | None:
        """See `Directory.visible`."""
        return await self._directory.visible(actor)

    async def page(self, actor: Actor, limit: int | None, after: str | None) -> list[User]:
        """Return accounts that a caller may see, by username, after the one with the id `after`.

        Raises BadRequest for an `after` that is the id of no such account.
        """
        find_users = partial(self._store.users, limit, after)
        return await self._directory.find_page(actor, after, self.user, find_users)

    async def add(self, actor: Actor, person: Person) -> User:
        """See `Identity.add`; the password is a random one."""
        return await self._creation.add(actor, person)

    async def require(self, user_id: str) -> User:
        """Return an account. Raises BadRequest for a malformed id, NotFound."""
        check_id(user_id)
        user = await self._store.user(user_id)
        if user is None:
            raise unknown_user(user_id)
        return user

    async def me(self, actor: Actor) -> User:
        """Return the account of a caller. Raises Unauthenticated when it was deleted."""
        user = await self.user(actor.user_id or "")
        if user is None:
            raise Unauthenticated(REVOKED_SESSION)
        return user

    async def lock(self, tx: Transaction, user_id: str) -> None:
        """Lock an account that may be used. Raises NotFound."""
        account = await self._store.lock_account(tx, user_id, with_keys=False)
        if account is None or account.disabled:
            raise unknown_user(user_id)

    def relation(self) -> tuple[str, str]:
        """See `Identity.relation`."""
        return "caudex_auth", "users"

    async def issue_delegated_token(
        self, user_id: str, delegation: Delegation, limits: Limits | None = None
    ) -> str:
        """See `Identity.issue_delegated_token`; a disabled user is unknown, too."""
        if not is_uuid(user_id):
            raise unknown_user(user_id)
        user = await self._sessions.delegator(user_id, delegation.app_id)
        # A job of one app may be enqueued by the worker of another, whose installation it names.
        withdrawals = delegation.epoch.partition(".")[0]
        if user is None or withdrawals not in ("", user.withdrawals):
            raise unknown_user(user_id)
        delegation = replace(delegation, epoch=user.epoch)
        if limits is not None and limits.key:
            if await key_store.find_id(self._sessions.reader, limits.key, user.id) is None:
                raise unknown_user(user_id)
            limits = Limits(key=limits.key)
        return self._tokens.delegated(user.id, user.username, delegation, limits)
