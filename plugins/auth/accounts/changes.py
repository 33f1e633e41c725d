"""How accounts change and end."""

from __future__ import annotations

from msgspec import UNSET
from msgspec.structs import replace

from kernel.public import (
    REVOKED_DELEGATIONS,
    Actor,
    BadRequest,
    ConstraintViolation,
    Forbidden,
    HookBus,
    Statements,
    Transaction,
    User,
    Work,
    clean_display_name,
    clean_email,
    fold_name,
    hookspecs,
)
from plugins.auth.authenticator import TOPIC
from plugins.auth.invites import store as invite_store
from plugins.auth.keys import store as key_store
from plugins.auth.models import Account, UserChanges
from plugins.auth.rules.ids import check_id, unknown_user
from plugins.auth.rules.names import NAMES, refuse_taken_email
from plugins.auth.rules.passwords import Passwords
from plugins.auth.sessions.store import SessionStore

from .store import AccountStore
from .trail import record_change


class AccountChanges:
    """Changes and removes accounts, and ends what rests on them: sessions, keys, delegations."""

    def __init__(
        self,
        statements: Statements,
        store: AccountStore,
        sessions: SessionStore,
        hooks: HookBus,
        passwords: Passwords,
    ) -> None:
        self._statements = statements
        self._store = store
        self._sessions = sessions
        self._hooks = hooks
        self._passwords = passwords
        self._rules = passwords.rules

    async def update(
        self, actor: Actor, user_id: str, changes: UserChanges, *, permanent: bool = False
    ) -> User:
        """Change an account.

        A new password or a disabled account ends its sessions and delegations. Unless it is
        `permanent`, the user must change a password that another user has set. Raises BadRequest,
        NotFound; hooks may refuse to disable the account.
        """
        check_id(user_id)
        before = await self._store.account(user_id)
        if before is None:
            raise unknown_user(user_id)
        if changes.password is not UNSET:
            if actor.limits is not None:
                raise Forbidden("an API key changes no password")
            if before.kind == "service":
                raise BadRequest("a service account has no password")
        columns = await self._check_changes(before, changes)
        if "password_hash" in columns:
            columns["password_temporary"] = not permanent and actor.user_id != before.id

        async def write(tx: Transaction) -> User:
            # The row first: an app that creates a link to the user locks its key. A transaction
            # that waits for it must not hold the lock on names.
            old = await self._store.lock_account(tx, before.id, with_keys="email_key" in columns)
            if old is None:
                raise unknown_user(user_id)
            await tx.lock(NAMES)
            new = replace(old, **columns)
            await refuse_taken_email(self._store, tx, new)

            if new.disabled and not old.disabled:
                await self._hooks.emit(
                    hookspecs.account_closing, tx=tx, user=old.user, delete=False
                )
            await self._store.update_account(tx, new)
            if new.disabled:
                await key_store.delete_all(tx, old.id)
                await invite_store.delete_all(tx, old.id)
            if new.disabled or new.password_hash != old.password_hash:
                await self.end_sessions(tx, old.id, except_id=None)
            for operation in _list_operations(old, new):
                await record_change(tx, operation, actor, old=old.user, new=new.user)
            return new.user

        return await self._statements.run(actor, write)

    async def delete(self, actor: Actor, user_id: str) -> User:
        """Remove an account.

        Raises NotFound; BadRequest for a malformed id, and while records refer to the account;
        hooks may refuse.
        """
        check_id(user_id)

        async def remove(tx: Transaction) -> User:
            account = await self._store.lock_account(tx, user_id, with_keys=True)
            if account is None:
                raise unknown_user(user_id)
            user = account.user
            await self._hooks.emit(hookspecs.account_closing, tx=tx, user=user, delete=True)
            await self._store.delete_user(tx, user.id)
            await tx.publish(TOPIC, f"user:{user.id}")
            await record_change(tx, "USER_DELETED", actor, old=user)
            return user

        try:
            return await self._statements.run(actor, remove)
        except ConstraintViolation:
            raise BadRequest(
                "records still refer to this user: change them, or disable the user instead"
            ) from None

    async def set_password(
        self,
        actor: Actor,
        account: Account,
        password: str,
        *,
        keep_session: str | None,
        check: Work[None] | None = None,
    ) -> None:
        """Set a new password and end the sessions except `keep_session`.

        `check` is called first in the transaction, and may refuse.
        """
        self._rules.check(password, account.username, account.email)
        old_hash = account.password_hash
        if account.password_temporary:
            is_same = await self._passwords.hasher.verify(old_hash, password)
            if is_same:
                raise BadRequest("the new password must be another one")
        new_hash = await self._passwords.hash_chosen(password)

        async def write(tx: Transaction) -> None:
            if check is not None:
                await check(tx)
            if not await self._store.renew_hash(tx, account.id, old_hash, new_hash, chosen=True):
                raise BadRequest("the password was changed at the same moment")
            await self.end_sessions(tx, account.id, except_id=keep_session)
            await record_change(tx, "PASSWORD_CHANGED", actor, new=account.user)

        await self._statements.run(actor, write)

    async def end_sessions(self, tx: Transaction, user_id: str, except_id: str | None) -> None:
        """End a user's sessions, except one, and delegations on every server process."""
        await self._sessions.revoke_delegations(tx, user_id)
        await self._sessions.revoke_sessions(tx, user_id, except_id)
        await tx.publish(TOPIC, f"user:{user_id}")
        await tx.publish(REVOKED_DELEGATIONS, user_id)

    async def _check_changes(
        self, account: Account, changes: UserChanges
    ) -> dict[str, str | bool | None]:
        """Check changes and return the columns that they set."""
        columns: dict[str, str | bool | None] = {}

        email = account.email
        if changes.email is None:
            email = None
            columns |= {"email": None, "email_key": None}
        elif changes.email is not UNSET:
            email = clean_email(changes.email)
            columns |= {"email": email, "email_key": fold_name(email)}

        display_name = changes.display_name
        if display_name is UNSET:
            display_name = changes.display_name_camel
        if display_name is not UNSET:
            columns["display_name"] = clean_display_name(display_name)

        if changes.disabled is not UNSET:
            columns["disabled"] = changes.disabled

        if changes.password is not UNSET:
            self._rules.check(changes.password, account.username, email)
            columns["password_hash"] = await self._passwords.hash_chosen(changes.password)

        if not columns:
            raise BadRequest("give display_name, email, password or disabled")
        return columns


def _list_operations(old: Account, new: Account) -> list[str]:
    """Return the operations that a change is in the audit trail."""
    operations: list[str] = []
    if new.disabled and not old.disabled:
        operations.append("USER_DISABLED")
    if old.disabled and not new.disabled:
        operations.append("USER_ENABLED")
    if new.password_hash != old.password_hash:
        operations.append("PASSWORD_CHANGED")
    if (new.email, new.display_name) != (old.email, old.display_name):
        operations.append("USER_UPDATED")
    return operations
