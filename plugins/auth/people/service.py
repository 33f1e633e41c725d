"""The rules of profiles, and of what admins see and do with accounts."""

from __future__ import annotations

from msgspec import UNSET

from kernel.public import (
    Actor,
    BadRequest,
    Event,
    Forbidden,
    Statements,
    Transaction,
    User,
    is_uuid,
)
from plugins.auth.accounts.changes import AccountChanges
from plugins.auth.accounts.identity import Accounts
from plugins.auth.keys.service import refuse_key
from plugins.auth.logins import Logins

from . import store
from .models import AccountRow, EndedSessions, OwnChanges

NO_EMAIL = "email: an admin changes it on this server"


class People:
    """Changes profiles, and shows accounts to admins."""

    def __init__(
        self,
        statements: Statements,
        accounts: Accounts,
        changes: AccountChanges,
        logins: Logins,
        *,
        own_email: bool,
    ) -> None:
        """`own_email`: users may change their own email."""
        self._statements = statements
        self._accounts = accounts
        self._changes = changes
        self._logins = logins
        self._own_email = own_email

    async def change_own(self, actor: Actor, form: OwnChanges) -> User:
        """Change the caller's profile. Raises BadRequest, Forbidden, Throttled.

        A stolen session alone changes no email. Where admins make the accounts, an email may
        identify a person to other plugins, so there only admins change it.
        """
        refuse_key(actor)
        if form.email is not UNSET:
            if not self._own_email:
                raise Forbidden(NO_EMAIL)
            if form.password is UNSET:
                raise BadRequest("password is required to change the email")
            await self._logins.check_password(actor, form.password)
        return await self._changes.update(actor, actor.user_id or "", form.changes)

    async def list_accounts(self, limit: int, after: str | None) -> list[AccountRow]:
        """Return a page of accounts. Raises BadRequest for an `after` that is no account."""
        if after is not None:
            account = await self._accounts.user(after) if is_uuid(after) else None
            if account is None:
                raise BadRequest("after: must be the id of a user")
        return await store.read_accounts(self._statements, limit, after)

    async def end_sessions(self, actor: Actor, user_id: str) -> EndedSessions:
        """End all sessions of an account, and the delegations of workers that act for it.

        Raises BadRequest, NotFound.
        """
        refuse_key(actor)
        user = await self._accounts.require(user_id)

        async def end(tx: Transaction) -> int:
            count = await store.count_sessions(tx, user.id)
            except_id = actor.session_id if user.id == actor.user_id else None
            await self._changes.end_sessions(tx, user.id, except_id=except_id)
            values = {"user_id": user.id, "sessions": count}
            await tx.record(Event.core("users", "SESSIONS_ENDED", actor, user.id, new=values))
            return count

        return EndedSessions(await self._statements.run(actor, end))
