"""How accounts are made: by registration, by an admin, by an invite, or from another system."""

from __future__ import annotations

import secrets
from typing import Final, NamedTuple

from msgspec.structs import replace

from kernel.public import (
    Actor,
    ConstraintViolation,
    Forbidden,
    HookBus,
    Person,
    Statements,
    Transaction,
    User,
    Work,
    hookspecs,
)
from plugins.auth.models import ImportedAccount, NewAccount, Registration
from plugins.auth.rules.names import NAMES, check_names, explain_breach, refuse_taken_names
from plugins.auth.rules.passwords import Passwords, check_hash

from .store import AccountStore
from .trail import record_change

FIRST: Final = "the first account is made here: caudex users create"


class PreparedAccount(NamedTuple):
    """An account whose names and password were checked, before it is stored."""

    account: NewAccount
    password_hash: str


class AccountCreation:
    """Makes accounts: checks names and password, and calls the hook `account_created`."""

    def __init__(
        self, statements: Statements, store: AccountStore, hooks: HookBus, passwords: Passwords
    ) -> None:
        self._statements = statements
        self._store = store
        self._hooks = hooks
        self._passwords = passwords
        self._rules = passwords.rules

    async def has_accounts(self) -> bool:
        """Whether there is an account."""
        return await self._store.has_users()

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
            await record_change(tx, "REGISTER", creator, new=user)
            return user

        return await self._run(actor, new, insert)

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

    async def create_service(
        self, actor: Actor, username: str, display_name: str | None = None
    ) -> User:
        """Create a service account, never the first account. Raises BadRequest, Forbidden."""
        form = Registration(username=username, display_name=display_name, password="")
        new = replace(check_names(form), kind="service")
        password_hash = await self._passwords.hasher.hash(secrets.token_urlsafe(32))

        async def insert(tx: Transaction) -> User:
            await tx.lock(NAMES)
            user = await self._insert_after_first(tx, new, password_hash)
            await record_change(tx, "REGISTER", actor, new=user)
            return user

        return await self._run(actor, new, insert)

    async def prepare(self, form: Registration) -> PreparedAccount:
        """Check a registration, and hash its password, for `insert_guest`. Raises BadRequest."""
        account = self._rules.check_registration(form)
        return PreparedAccount(account, await self._passwords.hash_chosen(account.password))

    async def insert_guest(self, tx: Transaction, prepared: PreparedAccount) -> User:
        """Add the account of an invite, never the first one. The caller holds the lock on names.

        Raises BadRequest for a name that is taken, Forbidden.
        """
        user = await self._insert_after_first(tx, prepared.account, prepared.password_hash)
        guest = replace(tx.actor, user_id=user.id, username=user.username)
        await record_change(tx, "REGISTER", guest, new=user)
        return user

    async def take_over(self, actor: Actor, account: ImportedAccount) -> User:
        """Create an account of another system with its password hash; never the first account.

        Raises BadRequest for a hash that this server does not verify; Forbidden; NameTaken.
        """
        new = check_names(account)
        check_hash(account.password_hash)

        async def insert(tx: Transaction) -> User:
            await tx.lock(NAMES)
            user = await self._insert_after_first(tx, new, account.password_hash)
            await record_change(tx, "REGISTER", actor, new=user)
            return user

        return await self._run(actor, new, insert)

    async def _insert_after_first(
        self, tx: Transaction, new: NewAccount, password_hash: str
    ) -> User:
        """Add an account that is not the first one. Raises Forbidden, NameTaken."""
        if not await self._store.has_users(tx):
            raise Forbidden(FIRST)
        return await self._insert(tx, new, password_hash, is_first=False)

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
