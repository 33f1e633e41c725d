"""The account and the roles of a sign-in."""

from __future__ import annotations

import hashlib
import re
import secrets
from base64 import urlsafe_b64encode
from typing import Final
from urllib.parse import urlsplit

import anyio
import structlog

from kernel.public import (
    Actor,
    BadRequest,
    Forbidden,
    Identity,
    Person,
    ServiceKey,
    Sessions,
    Transaction,
    Unauthenticated,
    User,
)

from .attempts import Attempts
from .config import OidcConfig
from .models import Attempt, Handover, Subject, subject_of
from .provider import OidcProvider
from .roles import ClaimedRoles
from .store import OidcStore

CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")

log = structlog.get_logger("caudex.oidc")


class OidcService:
    """The rules of a sign-in with the provider."""

    def __init__(
        self,
        config: OidcConfig,
        provider: OidcProvider,
        store: OidcStore,
        identity: Identity,
        sessions: Sessions,
        roles: ClaimedRoles,
    ) -> None:
        self._config = config
        self._provider = provider
        self._store = store
        self._identity = identity
        self._sessions = sessions
        self._roles = roles
        self._attempts = Attempts(config.client_secret)
        self._making = anyio.Lock()

    async def begin(self, return_to: str, challenge: str) -> tuple[str, str]:
        """Return the URL at the provider, and the text for the cookie. Raises BadRequest."""
        if return_to and not CHALLENGE.fullmatch(challenge):
            raise BadRequest("challenge must be the SHA-256 of a verifier, in base64url")
        if return_to and origin(return_to) not in self._config.frontends:
            raise BadRequest("return_to must be one of the configured frontends")
        attempt, sealed = self._attempts.begin(return_to, challenge)
        return await self._provider.address(attempt), sealed

    def attempt(self, sealed: str, state: str) -> Attempt:
        """Return the attempt that a callback belongs to. Raises BadRequest."""
        return self._attempts.open(sealed, state)

    async def finish(self, attempt: Attempt, code: str, issuer: str, caller: Actor) -> str:
        """Return the id of the account. Raises Unauthenticated, Forbidden, Unavailable."""
        claims = await self._provider.claims(attempt, code, issuer)
        subject = subject_of(claims, self._config.username_claim, self._config.roles_claim)
        user = await self._account(subject, caller)
        if user.disabled:
            raise Forbidden("this account is disabled")
        await self._roles.update(user.id, subject.values)
        return user.id

    async def session(self, user_id: str, caller: Actor, user_agent: str) -> bytes:
        """Begin a session and return the body of the reply."""
        return await self._sessions.begin(user_id, caller, user_agent)

    async def hand_over(self, user_id: str, challenge: str) -> str:
        """Return a code that a page exchanges for a session, once, within a minute.

        The exchange needs the verifier of the challenge, so the code of another user's sign-in is
        of no use to a page.
        """
        code = secrets.token_urlsafe(32)
        await self._store.hand_over(_digest(code), user_id, challenge)
        return code

    async def take_over(self, form: Handover, caller: Actor, user_agent: str) -> bytes:
        """Exchange a code for a session. Raises Unauthenticated."""
        digest = hashlib.sha256(form.verifier.encode()).digest()
        challenge = urlsafe_b64encode(digest).rstrip(b"=").decode()
        user_id = await self._store.take_over(_digest(form.code), challenge)
        if user_id is None:
            problem = "this code was already used, has expired, or was issued to another page"
            raise Unauthenticated(problem)
        return await self.session(user_id, caller, user_agent)

    async def forget(self, tx: Transaction, user_id: str) -> None:
        """Remove the rows of an account, in the transaction that deletes it."""
        await self._store.unlink(tx, user_id)

    # Accounts

    async def _account(self, subject: Subject, caller: Actor) -> User:
        """Return the linked account; otherwise link an existing or a new one."""
        async with self._making:  # two windows of a new user create one account
            linked_user = await self._find_linked(subject)
            if linked_user is not None:
                return linked_user
            self._refuse_domain(subject)
            user = await self._find_matching(subject)
            if user is None:
                user = await self._create_user(subject, caller)
            owner_id = await self._store.link(subject.issuer, subject.subject, user.id)
            log.info("an account is linked", user=user.username, subject=subject.subject)
        if owner_id == user.id:
            return user
        # Another server process was faster.
        return await self._identity.user(owner_id) or user

    async def _find_linked(self, subject: Subject) -> User | None:
        user_id = await self._store.find_linked(subject.issuer, subject.subject)
        if user_id is None:
            return None
        return await self._identity.user(user_id)

    def _refuse_domain(self, subject: Subject) -> None:
        domain = (subject.email or "").rpartition("@")[2].lower()
        if self._config.domains and domain not in self._config.domains:
            raise Forbidden("no verified email of a domain that may sign in here")

    async def _find_matching(self, subject: Subject) -> User | None:
        if subject.email is None or not self._config.match_email:
            return None
        return await self._identity.find_email(subject.email)

    async def _create_user(self, subject: Subject, caller: Actor) -> User:
        if not self._config.auto_create_users:
            raise Forbidden("there is no account for you here: ask an admin for one")
        if subject.email is not None and await self._identity.find_email(subject.email):
            raise Forbidden("an account with your email exists, and is not linked to this sign-in")
        person = Person(
            username=await self._find_free_name(subject.username),
            email=subject.email,
            display_name=subject.display_name,
        )
        try:
            return await self._identity.add(caller, person)
        except BadRequest as error:
            raise Forbidden(f"no account can be made for you: {error.message}") from None

    async def _find_free_name(self, username: str) -> str:
        candidates = [username, *(f"{username}-{number}" for number in range(2, 20))]
        for candidate in candidates:
            if await self._identity.find(candidate) is None:
                return candidate
        raise Forbidden("no account can be made for you: every name like yours is taken")


def origin(url: str) -> str:
    """Return scheme, host and port of a URL, empty for a malformed one."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        return ""
    host = parts.hostname
    if ":" in host:
        host = f"[{host}]"
    if port:
        host = f"{host}:{port}"
    return f"{parts.scheme}://{host}"


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


OIDC = ServiceKey[OidcService]("oidc")
