"""Accounts: the provider of IDENTITY, with the operations that change accounts."""

from __future__ import annotations

import secrets
from functools import partial
from typing import Final

from msgspec import UNSET
from msgspec.structs import replace

from kernel.public import (
    REVOKED_DELEGATIONS,
    AccountDirectory,
    Actor,
    BadRequest,
    ConstraintViolation,
    Delegation,
    Event,
    Forbidden,
    HookBus,
    Limits,
    NotFound,
    Person,
    Reader,
    Statements,
    Transaction,
    Unauthenticated,
    User,
    Work,
    clean_display_name,
    clean_email,
    fold_name,
    hookspecs,
    is_uuid,
)

from .authenticator import REVOKED_SESSION, TOPIC
from .invites import store as invite_store
from .keys import store as key_store
from .models import Account, ImportedAccount, NewAccount, Registration, UserChanges
from .rules.names import NAMES, check_names, explain_breach, refuse_taken_email, refuse_taken_names
from .rules.passwords import Passwords, check_hash
from .store import AuthStore
from .tokens import Tokens

FIRST: Final = "the first account is made here: caudex users create"


class Accounts:
    """See `kernel.contracts.identity.Identity`."""

    def __init__(
        self,
        statements: Statements,
        store: AuthStore,
        hooks: HookBus,
        passwords: Passwords,
        tokens: Tokens,
        directory: AccountDirectory,
    ) -> None:
        self._statements = statements
        self._store = store
        self._hooks = hooks
        self._passwords = passwords
        self._rules = passwords.rules
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

    async def has_any(self) -> bool:
        """Whether there is an account."""
        return await self._store.has_users()

    async def add(self, actor: Actor, person: Person) -> User:
        """See `Identity.add`; the password is a random one."""
        if not await self._store.has_users():
            raise Forbidden(FIRST)
        form = Registration(
            password=f"aA1{secrets.token_urlsafe(32)}",  # a random text alone may have no digit
            username=person.username,
            email=person.email,
            display_name=person.display_name,
        )
        return await self.create(actor, form, by_itself=True)

    async def require(self, user_id: str) -> User:
        """Return an account. Raises BadRequest for a malformed id, NotFound."""
        check_id(user_id)
        user = await self._store.user(user_id)
        if user is None:
            raise _unknown(user_id)
        return user

    async def me(self, actor: Actor) -> User:
        """Return the account of a caller. Raises Unauthenticated when it was deleted."""
        user = await self.user(actor.user_id or "")
        if user is None:
            raise Unauthenticated(REVOKED_SESSION)
        return user

    def relation(self) -> tuple[str, str]:
        """See `Identity.relation`."""
        return "caudex_auth", "users"

    async def issue_delegated_token(
        self, user_id: str, delegation: Delegation, limits: Limits | None = None
    ) -> str:
        """See `Identity.issue_delegated_token`; a disabled user is unknown, too."""
        if not is_uuid(user_id):
            raise _unknown(user_id)
        user = await self._store.delegator(user_id, delegation.app_id)
        # A job of one app may be enqueued by the worker of another, whose installation it names.
        withdrawals = delegation.epoch.partition(".")[0]
        if user is None or withdrawals not in ("", user.withdrawals):
            raise _unknown(user_id)
        delegation = replace(delegation, epoch=user.epoch)
        if limits is not None and limits.key:
            if await key_store.find_id(self._store.reader, limits.key, user.id) is None:
                raise _unknown(user_id)
            limits = Limits(key=limits.key)
        return self._tokens.delegated(user.id, user.username, delegation, limits)

    def check(self, form: Registration) -> None:
        """Raise BadRequest for a registration that breaks a rule.

        It reads no database and takes no time: whether the password is guessed easily is checked
        when the account is created.
        """
        self._rules.check_registration(form)

    async def create(
        self,
        actor: Actor,
        form: Registration,
        *,
        by_itself: bool,
        only_first: bool = False,
        temporary: bool = False,
        admit_first: Work[None] | None = None,
    ) -> User:
        """Create an account, and call the hook `account_created`.

        With `by_itself` the event's actor is the new user; `admit_first` may refuse the first
        account. With `temporary` the user must change the password, unless it is the first one.
        Raises BadRequest for a name that is taken; with `only_first` Forbidden when there is an
        account.
        """
        new = self._rules.check_registration(form)
        password_hash = await self._passwords.hash_chosen(new.password)

        async def insert(tx: Transaction) -> User:
            await tx.lock(NAMES)
            is_first = not await self._store.has_users(tx)
            if only_first and not is_first:
                raise Forbidden("registration is closed")
            if is_first and admit_first is not None:
                await admit_first(tx)

            account = replace(new, temporary=temporary and not is_first)
            user = await self._insert(tx, account, password_hash, is_first=is_first)
            creator = actor
            if by_itself:
                creator = replace(actor, user_id=user.id, username=user.username)
            await _record(tx, "REGISTER", creator, new=user)
            return user

        return await self._run(actor, new, insert)

    async def create_service(
        self, actor: Actor, username: str, display_name: str | None = None
    ) -> User:
        """Create a service account, never the first account. Raises BadRequest, Forbidden."""
        form = Registration(username=username, display_name=display_name, password="")
        new = replace(check_names(form), kind="service")
        password_hash = await self._passwords.hasher.hash(secrets.token_urlsafe(32))

        async def insert(tx: Transaction) -> User:
            await tx.lock(NAMES)
            if not await self._store.has_users(tx):
                raise Forbidden(FIRST)
            user = await self._insert(tx, new, password_hash, is_first=False)
            await _record(tx, "REGISTER", actor, new=user)
            return user

        return await self._run(actor, new, insert)

    async def prepare(self, form: Registration) -> tuple[NewAccount, str]:
        """Check a registration, and hash its password, for `insert_guest`. Raises BadRequest."""
        new = self._rules.check_registration(form)
        return new, await self._passwords.hash_chosen(new.password)

    async def insert_guest(self, tx: Transaction, new: NewAccount, password_hash: str) -> User:
        """Add the account of an invite, never the first one. The caller holds the lock on names.

        Raises BadRequest for a name that is taken, Forbidden.
        """
        if not await self._store.has_users(tx):
            raise Forbidden(FIRST)
        user = await self._insert(tx, new, password_hash, is_first=False)
        guest = replace(tx.actor, user_id=user.id, username=user.username)
        await _record(tx, "REGISTER", guest, new=user)
        return user

    async def lock(self, tx: Transaction, user_id: str) -> None:
        """Lock an account that may be used. Raises NotFound."""
        account = await self._store.lock_account(tx, user_id, with_keys=False)
        if account is None or account.disabled:
            raise _unknown(user_id)

    async def take_over(self, actor: Actor, account: ImportedAccount) -> User:
        """Create an account of another system with its password hash; never the first account.

        Raises BadRequest for a hash that this server does not verify; Forbidden; NameTaken.
        """
        new = check_names(account)
        check_hash(account.password_hash)

        async def insert(tx: Transaction) -> User:
            await tx.lock(NAMES)
            if not await self._store.has_users(tx):
                raise Forbidden(FIRST)
            user = await self._insert(tx, new, account.password_hash, is_first=False)
            await _record(tx, "REGISTER", actor, new=user)
            return user

        return await self._run(actor, new, insert)

    async def _insert(
        self, tx: Transaction, new: NewAccount, password_hash: str, *, is_first: bool
    ) -> User:
        await refuse_taken_names(self._store, tx, new)
        user = await self._store.insert_user(tx, new, password_hash)
        await self._hooks.emit(hookspecs.account_created, tx=tx, user=user, first=is_first)
        return user

    async def _run(self, actor: Actor, new: NewAccount, insert: Work[User]) -> User:
        try:
            return await self._statements.run(actor, insert)
        except ConstraintViolation as breach:
            raise explain_breach(breach, new) from None

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
            raise _unknown(user_id)
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
                raise _unknown(user_id)
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
                await _record(tx, operation, actor, old=old.user, new=new.user)
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
                raise _unknown(user_id)
            user = account.user
            await self._hooks.emit(hookspecs.account_closing, tx=tx, user=user, delete=True)
            await self._store.delete_user(tx, user.id)
            await tx.publish(TOPIC, f"user:{user.id}")
            await _record(tx, "USER_DELETED", actor, old=user)
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
            await _record(tx, "PASSWORD_CHANGED", actor, new=account.user)

        await self._statements.run(actor, write)

    async def end_sessions(self, tx: Transaction, user_id: str, except_id: str | None) -> None:
        """End a user's sessions, except one, and delegations on every server process."""
        await self._store.revoke_delegations(tx, user_id)
        await self._store.revoke_sessions(tx, user_id, except_id)
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


async def _record(
    tx: Transaction,
    operation: str,
    actor: Actor,
    *,
    old: User | None = None,
    new: User | None = None,
) -> None:
    before = old and old.view
    after = new and new.view
    user = new or old
    user_id = user and user.id
    await tx.record(Event.core("users", operation, actor, user_id, old=before, new=after))


def check_id(text: str) -> None:
    """Raise BadRequest for a malformed id of an account or a session."""
    if not is_uuid(text):
        raise BadRequest("id: must be a UUID")


def _unknown(user_id: str) -> NotFound:
    return NotFound(f"user '{user_id[:64]}' not found")
