"""The rules of invites: who makes and withdraws one, and what its link is good for."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from msgspec.structs import asdict, replace

from kernel.public import (
    Access,
    Actor,
    BadRequest,
    ConstraintViolation,
    Event,
    Forbidden,
    HookBus,
    Invitation,
    JoinedAssignments,
    NotFound,
    Statements,
    Transaction,
    User,
    clean_email,
    failure,
    supports,
)
from plugins.auth import hookspecs
from plugins.auth.accounts.creation import AccountCreation
from plugins.auth.accounts.identity import Accounts
from plugins.auth.keys.service import read_end, refuse_key
from plugins.auth.models import Registration
from plugins.auth.rules.ids import check_id
from plugins.auth.rules.names import NAMES, explain_breach
from plugins.auth.sign_in.limits import LoginLimiter

from . import store
from .models import (
    Acceptance,
    CheckedInvite,
    InviteRow,
    MadeInvite,
    NewInvite,
    OpenInvite,
    ShownInvite,
)

DAYS: Final = 7
"""For how long an invite is open unless its maker says otherwise."""
MAX_DAYS: Final = 30
MAX_OPEN: Final = 1000
"""Invites that can be used at one moment."""
MAX_TOKEN: Final = 100
"""Characters of what is hashed and looked up."""
NO_ROLES: Final = "role: the roles of this server are not given by invites"
INVALID: Final = "the invite is not valid: it was used, has ended or was withdrawn"

FindAccess = Callable[[], Access | None]

log = structlog.get_logger("caudex.auth")


class Invites:
    """Makes, lists, withdraws and accepts invites."""

    def __init__(
        self,
        statements: Statements,
        accounts: Accounts,
        creation: AccountCreation,
        limiter: LoginLimiter,
        hooks: HookBus,
        find_access: FindAccess,
    ) -> None:
        self._statements = statements
        self._accounts = accounts
        self._creation = creation
        self._limiter = limiter
        self._hooks = hooks
        self._find_access = find_access

    async def create(self, actor: Actor, form: NewInvite, page: str) -> MadeInvite:
        """Make an invite of a core admin. `page` is where its link leads, without the token.

        Raises BadRequest, Forbidden, NotFound.
        """
        refuse_key(actor)
        invite = await self._check(form)
        token = secrets.token_urlsafe(32)

        async def insert(tx: Transaction) -> store.StoredInvite:
            if await store.count_open(tx) >= MAX_OPEN:
                raise BadRequest(f"at most {MAX_OPEN} invites are open at once: withdraw some")
            stored = await store.insert(tx, _hash(token), actor.user_id or "", invite)
            values = {**asdict(invite), "expires": stored.expires}
            await _record(tx, "INVITE_CREATED", actor, stored.id, values)
            return stored

        stored = await self._statements.run(actor, insert)
        link = f"{page}#invite={token}"
        is_sent = await self._send(actor, stored, invite, link)
        return MadeInvite(
            id=stored.id,
            token=token,
            link=link,
            sent=is_sent,
            app=invite.app,
            role=invite.role,
            email=invite.email,
            created_at=stored.created_at,
            expires=stored.expires,
        )

    async def list(self) -> list[InviteRow]:
        """Return the invites, the newest first."""
        return await store.read_all(self._statements)

    async def withdraw(self, actor: Actor, invite_id: str) -> None:
        """End an invite. Raises BadRequest, NotFound."""
        refuse_key(actor)
        check_id(invite_id)

        async def remove(tx: Transaction) -> None:
            if not await store.delete(tx, invite_id):
                raise NotFound(f"there is no invite '{invite_id}' that could be withdrawn")
            await _record(tx, "INVITE_WITHDRAWN", actor, invite_id.lower(), {})

        await self._statements.run(actor, remove)

    async def show(self, caller: Actor, token: str) -> ShownInvite:
        """Return what an invite is for. Raises Forbidden for any token that is not valid now."""
        invite = await self._open(caller, token)
        return ShownInvite(
            app=invite.app, role=invite.role, email=invite.email, expires=invite.expires,
            by=invite.by,
        )  # fmt: skip

    async def accept(self, caller: Actor, form: Acceptance) -> User:
        """Make the account of an invite, with its role, and use the invite up.

        Raises Forbidden, BadRequest, Throttled. Names and passwords are judged after the token: no
        client without one learns which names are taken.
        """
        invite = await self._open(caller, form.token)
        await self._limiter.count_registration(caller)
        if invite.email is not None and form.email not in (None, invite.email):
            raise BadRequest(f"email: this invite is for '{invite.email}'")
        registration = Registration(
            username=form.username,
            password=form.password,
            email=invite.email or form.email,
            display_name=form.display_name or form.display_name_camel,
        )
        prepared = await self._creation.prepare(registration)
        inviter = await self._accounts.user(invite.created_by)
        if inviter is None:
            raise Forbidden(INVALID)
        # What the invite gives is given by who made it, as the trail shows.
        giver = replace(caller, user_id=inviter.id, username=inviter.username)

        async def insert(tx: Transaction) -> User:
            await tx.lock(NAMES)
            user = await self._creation.insert_guest(tx, prepared)
            if not await store.use(tx, invite.id, user.id):
                raise Forbidden(INVALID)
            await self._assign(tx, invite, user)
            guest = replace(caller, user_id=user.id, username=user.username)
            values = {"created_by": inviter.id, "app": invite.app, "role": invite.role}
            await _record(tx, "INVITE_USED", guest, invite.id, values)
            return user

        try:
            return await self._statements.run(giver, insert)
        except ConstraintViolation as breach:
            raise explain_breach(breach, prepared.account) from None

    async def _check(self, form: NewInvite) -> CheckedInvite:
        """Return an invite that can be stored. Raises BadRequest, NotFound."""
        if (form.app is None) != (form.role is None):
            raise BadRequest("app and role belong together: give both or none")
        if form.app is not None and form.role is not None:
            await self._check_role(form.app, form.role)
        email = None
        if form.email is not None:
            email = clean_email(form.email)
            if await self._accounts.find_email(email) is not None:
                raise BadRequest(f"email '{email}' is already taken")
        expires = read_end(form.expires)
        now = datetime.now(UTC)
        if expires is None:
            expires = (now + timedelta(days=DAYS)).isoformat()
        elif datetime.fromisoformat(expires) > now + timedelta(days=MAX_DAYS):
            raise BadRequest(f"expires must be within {MAX_DAYS} days")
        return CheckedInvite(app=form.app, role=form.role, email=email, expires=expires)

    async def _check_role(self, app_id: str, role: str) -> None:
        """Raise BadRequest for a role that no invite can give; NotFound for an unknown app."""
        access = self._find_access()
        if access is None:
            raise BadRequest(NO_ROLES)
        roles = await access.roles(app_id)
        if not supports(access, JoinedAssignments):
            raise BadRequest(NO_ROLES)
        if all(existing.name != role for existing in roles):
            raise BadRequest(f"role: there is no role '{role[:64]}'")

    async def _open(self, caller: Actor, token: str) -> OpenInvite:
        """Return the invite of a token. Raises Forbidden, and Throttled after many wrong tokens.

        All that is wrong with a token has one answer. A core admin who has lost the right to invite
        has invited no one.
        """
        await self._limiter.check_guesses(caller)
        invite = None
        if len(token) <= MAX_TOKEN:
            invite = await store.find_open(self._statements, _hash(token))
        if invite is not None and await self._may_invite(invite.created_by):
            return invite
        await self._limiter.count_guess(caller)
        raise Forbidden(INVALID)

    async def _may_invite(self, user_id: str) -> bool:
        access = self._find_access()
        return access is not None and await access.is_core_admin(user_id)

    async def _assign(self, tx: Transaction, invite: OpenInvite, user: User) -> None:
        if invite.app is None or invite.role is None:
            return
        access = self._find_access()
        if not supports(access, JoinedAssignments):
            raise Forbidden(INVALID)
        await access.assign_within(tx, invite.app, user.id, invite.role)

    async def _send(
        self, actor: Actor, stored: store.StoredInvite, invite: CheckedInvite, link: str
    ) -> bool:
        """Let plugins send a link. The invite stays where one fails: its maker has the link."""
        invitation = Invitation(
            id=stored.id, link=link, email=invite.email, app=invite.app, role=invite.role,
            expires=stored.expires, by=actor.username or "",
        )  # fmt: skip
        is_sent = False
        for implementation in self._hooks.implementations(hookspecs.invite_created):
            try:
                answer = await implementation.attempt({"invitation": invitation})
            except Exception as error:
                plugin = implementation.plugin
                log.warning("an invite was not sent", plugin=plugin, **failure(error))
            else:
                is_sent = is_sent or answer is True
        return is_sent


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


async def _record(
    tx: Transaction, operation: str, actor: Actor, invite_id: str, values: Mapping[str, object]
) -> None:
    await tx.record(Event.core("invites", operation, actor, invite_id, new=values))
