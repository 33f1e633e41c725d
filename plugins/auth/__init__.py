"""Accounts, logins, tokens and sessions."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import structlog

from kernel.public import (
    ACCESS,
    HOOKS,
    IDENTITY,
    NOTIFICATIONS,
    SESSIONS,
    STATEMENTS,
    Access,
    AccountDirectory,
    App,
    Command,
    DatabaseQuery,
    Finding,
    InstallPlan,
    Middleware,
    Plugin,
    Provider,
    Route,
    Services,
    Transaction,
    compare_key,
    hookimpl,
    provide,
    server_key,
)

from . import hookspecs
from .accounts.changes import AccountChanges
from .accounts.creation import AccountCreation
from .accounts.identity import Accounts
from .accounts.store import AccountStore
from .authenticator import TOPIC, BearerAuthentication, Demands, TokenAuthenticator
from .commands import users_command
from .config import AuthConfig
from .invites.service import Invites
from .keys import store as key_store
from .keys.address import AddressGuard
from .keys.commands import keys_command
from .keys.service import Keys
from .keys.usage import KeyUses
from .logins import LoginGuard, Logins
from .maintenance import remove_expired
from .people.service import People
from .registrations import Registrations
from .routes import AuthRoutes
from .rules.passwords import PasswordHasher, PasswordRules, Passwords, read_common
from .service import AUTH, Auth
from .sessions.service import Sessions
from .sessions.store import SessionStore
from .sign_in.limits import LoginLimiter
from .sign_in.second_factor import SecondFactors
from .sign_in.setup_token import SetupToken, setup_notice, write_origin
from .tokens import Tokens

OPEN: Final = (
    "any client that reaches this server can register; "
    'set [plugins.auth] registration = "first-user" or "closed"'
)

FIRST_USER: Final = "The first user to register is the admin."

log = structlog.get_logger("caudex.auth")


class AuthPlugin(BearerAuthentication, Plugin):
    """See the README beside this file. The hook `authenticate` is in `authenticator.py`."""

    name = "auth"
    requires = (STATEMENTS, NOTIFICATIONS, HOOKS)
    finds = (ACCESS,)
    hookspecs = hookspecs
    Config = AuthConfig
    config: AuthConfig

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide AUTH, and its parts as IDENTITY and SESSIONS."""
        return [
            provide(AUTH, self._open),
            provide(IDENTITY, lambda services: services.get(AUTH).accounts),
            provide(SESSIONS, lambda services: services.get(AUTH).logins),
        ]

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Declare the routes."""
        return AuthRoutes(services, self.config).routes()

    @hookimpl
    def register_middleware(self, services: Services) -> Sequence[Middleware]:
        """Refuse API keys in query strings, before anything else reads the request."""
        return [lambda app: AddressGuard(app, services)]

    @hookimpl
    def register_commands(self) -> Sequence[Command]:
        """Add `caudex users` and `caudex keys`."""
        return [users_command(self._read_origin), keys_command()]

    def _read_origin(self) -> str:
        """Return what links begin with that the command line prints."""
        return self.config.url or write_origin(self.context.host, self.context.port)

    @hookimpl
    def diagnose(self, query: DatabaseQuery) -> Sequence[Finding]:
        """Check the signing key, and whether registration is open to a network."""
        compare_key(query, "signing", self.config.signing_key, self.context.data_dir)
        if not self._exposed:
            return []
        return [Finding(name="registration", text=OPEN, state="warn")]

    @property
    def _exposed(self) -> bool:
        return self._registration == "open" and self.context.public

    @property
    def _registration(self) -> str:
        if self.config.registration is not None:
            return self.config.registration
        if self.context.public:
            return "first-user"
        return "open"

    @property
    def _own_email(self) -> bool:
        if self.config.own_email is not None:
            return self.config.own_email
        return self._registration == "open"

    @hookimpl
    async def app_installing(self, tx: Transaction, plan: InstallPlan) -> None:
        """Rename what the app renames in the permissions of API keys."""
        if plan.renamed:
            for key_id in await key_store.rename_permissions(tx, plan):
                await tx.publish(TOPIC, f"key:{key_id}")

    @hookimpl
    async def app_removing(self, tx: Transaction, app: App) -> None:
        """Forget the tokens of its workers and its host: a later app of the name is another one."""
        await tx.publish(TOPIC, f"app:{app.id}")

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        """Warn where registration is open, announce the setup token, start the maintenance."""
        if self._exposed:
            log.warning(OPEN, host=self.context.host)
        if self._registration != "closed":
            await self._announce_setup(services.get(AUTH))
        remove = partial(remove_expired, services.get(STATEMENTS))
        self.tasks.every(600, remove, "remove expired sessions")
        async with self._uses.running():
            yield

    async def _announce_setup(self, auth: Auth) -> None:
        """Show the operator how the first account is created, if there is no account."""
        notices = self.context.notices
        if auth.setup is not None:
            token = await auth.setup.issue()
            if token is not None:
                notices.append(setup_notice(self.context.host, self.context.port, token))
        if await auth.registrations.setup_required():
            notices.append(FIRST_USER)

    @asynccontextmanager
    async def _open(self, services: Services) -> AsyncGenerator[Auth]:
        config = self.config
        statements = services.get(STATEMENTS)
        hooks = services.get(HOOKS)

        def find_access() -> Access | None:
            return services.find(ACCESS)

        key = await server_key(statements, "signing", config.signing_key, self.context.data_dir)
        tokens = Tokens(key)
        account_store = AccountStore(statements)
        session_store = SessionStore(statements)

        hasher = PasswordHasher()
        common = read_common(config.common_passwords)
        rules = PasswordRules(common, refuse_common=config.refuse_common)
        passwords = Passwords(hasher, rules)
        creation = AccountCreation(statements, account_store, hooks, passwords)
        changes = AccountChanges(statements, account_store, session_store, hooks, passwords)
        directory = AccountDirectory(config.directory, find_access)
        accounts = Accounts(account_store, session_store, creation, tokens, directory)

        demands = Demands(config.second_factor, find_access)
        self._uses = KeyUses(statements)
        self._authenticator = TokenAuthenticator(
            tokens, session_store, services.get(NOTIFICATIONS), demands, uses=self._uses
        )
        limiter = LoginLimiter(statements, enabled=config.rate_limit_logins)
        setup = None
        if self.context.public:
            setup = SetupToken(statements, key)
        registrations = Registrations(
            self._registration, setup, creation, self._authenticator, limiter, find_access
        )

        sessions = Sessions(statements, account_store, session_store, tokens, limiter, config)
        factors = SecondFactors(statements, key, TOPIC)
        guard = LoginGuard(hasher, limiter, factors)
        logins = Logins(statements, account_store, changes, sessions, guard)

        yield Auth(
            accounts=accounts,
            creation=creation,
            changes=changes,
            registrations=registrations,
            logins=logins,
            sessions=sessions,
            setup=setup,
            factors=factors,
            keys=Keys(statements, accounts, logins, find_access),
            invites=Invites(statements, accounts, creation, limiter, hooks, find_access),
            people=People(statements, accounts, changes, logins, own_email=self._own_email),
        )
