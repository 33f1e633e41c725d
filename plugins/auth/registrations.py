"""Registration: who may create an account, and when the first one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from kernel.public import Access, Actor, Forbidden, Unauthenticated, User, limits_of

from .accounts.creation import AccountCreation
from .authenticator import TokenAuthenticator
from .models import Registration
from .sign_in.limits import LoginLimiter
from .sign_in.setup_token import SetupToken


class Registrations:
    """Creates accounts for callers, as `mode`, the configured `registration`, allows.

    With `setup`, on a public server, the first account needs its token.
    """

    def __init__(
        self,
        mode: str,
        setup: SetupToken | None,
        creation: AccountCreation,
        authenticator: TokenAuthenticator,
        limiter: LoginLimiter,
        find_access: Callable[[], Access | None],
    ) -> None:
        self._mode = mode
        self._setup = setup
        self._creation = creation
        self._authenticator = authenticator
        self._limiter = limiter
        self._find_access = find_access

    async def setup_required(self) -> bool:
        """Whether any client may create the first account now."""
        return self._setup is None and not await self._creation.has_accounts()

    async def register(self, form: Registration, caller: Actor, header: bytes | None) -> User:
        """Register an account. Raises Forbidden where only core admins may; BadRequest."""
        admin = await self._find_admin(caller, header)
        if admin is not None:
            # Where registration is open, clients register their user with any token at hand.
            temporary = self._mode != "open"
            return await self._creation.create(admin, form, by_itself=False, temporary=temporary)

        if self._mode == "closed":
            raise Forbidden("registration is closed")
        only_first = self._mode == "first-user"
        setup = self._setup
        if only_first or setup is not None:
            has_accounts = await self._creation.has_accounts()
            if only_first and has_accounts:
                raise Forbidden("registration is closed")
            if setup is not None and not has_accounts:
                await setup.check(form.setup_token)

        self._creation.check(form)
        await self._limiter.count_registration(caller)
        admit_first = None
        if setup is not None:
            admit_first = partial(setup.spend, token=form.setup_token)
        return await self._creation.create(
            caller, form, by_itself=True, only_first=only_first, admit_first=admit_first
        )

    async def _find_admin(self, caller: Actor, header: bytes | None) -> Actor | None:
        """Return the core admin that registers another user; no worker does, and no app's host.

        Where registration is open, an invalid token is the same as none.
        """
        access = self._find_access()
        if header is None or access is None:
            return None
        try:
            actor = await self._authenticator.actor(
                header, caller.request_id, caller.address, door=caller.door
            )
        except Unauthenticated:
            if self._mode == "open":
                return None
            raise
        is_narrowed = actor.delegation is not None or actor.door is not None
        if is_narrowed or not await access.is_core_admin(actor.user_id, **limits_of(actor)):
            return None
        return actor
