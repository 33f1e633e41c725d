"""Reads a claim from the headers of a request, if its sender is trusted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import structlog

from kernel.public import Actor, BadRequest, Forbidden, Request, Unauthenticated

from .config import IdentityHeaderConfig
from .models import Claim
from .service import HeaderIdentity
from .trust import Trust

SAFE: Final = ("GET", "HEAD", "OPTIONS")
ADMITTED: Final = "caudex.identity_header"
"""The user that a request was admitted for: a stream checks again long after."""

log = structlog.get_logger("caudex.identity_header")


class _Names(NamedTuple):
    user: bytes
    email: bytes
    name: bytes
    groups: bytes


class Headers:
    """Answers `authenticate`."""

    def __init__(
        self, config: IdentityHeaderConfig, trust: Trust, identity: HeaderIdentity
    ) -> None:
        groups = config.groups_header if config.groups else ""
        sent = (config.user_header, config.email_header, config.name_header, groups)
        self._names = _Names(*(name.lower().encode() for name in sent))
        self._origins = frozenset(config.origins)
        self._trust = trust
        self._identity = identity

    async def authenticate(self, request: Request) -> Actor | None:
        """Return the user that the proxy names, else the owner of the token.

        Raises Unauthenticated for a header that does not come from the proxy, whatever else the
        request carries.
        """
        if (admitted := request.scope.get(ADMITTED)) is not None:
            return await self._identity.still(admitted)
        caller = Actor(user_id=None, request_id=request.request_id, address=request.address)
        users = self._values(request, self._names.user)
        if any(value.strip() for value in users):
            self._believe(request)
            self._refuse_strange_page(request)
            actor = await self._identity.signed_in(self._claim(request, users), caller)
            request.scope[ADMITTED] = actor
            return actor
        tokens = self._values(request, b"authorization")
        if len(tokens) > 1:
            raise Unauthenticated
        return await self._identity.bearer(tokens[0], caller) if tokens else None

    def _believe(self, request: Request) -> None:
        if why := self._trust.refusal(request.scope):
            client = request.scope.get("client")
            peer = client[0] if client else "a local socket"
            log.warning("a sign-in header is not believed", peer=peer, why=why)
            raise Unauthenticated("the sign-in header does not come from a trusted proxy")

    def _refuse_strange_page(self, request: Request) -> None:
        """Refuse a write that a page of another site makes a browser send: the proxy knows the user
        by a cookie, which the browser adds to every request. Raises Forbidden.

        Browsers say where a request comes from by headers that no page can set; other clients send
        none of them.
        """
        site, page = request.headers.get("sec-fetch-site"), request.headers.get("origin")
        if request.method in SAFE or site in ("same-origin", "none") or not (site or page):
            return
        if page in self._origins or (page and _host(page) == request.headers.get("host")):
            return
        log.warning("a page of another origin is refused", origin=page, site=site)
        raise Forbidden(f"pages of {page or 'other origins'} may not write here")

    def _claim(self, request: Request, users: Sequence[bytes]) -> Claim:
        """Read what the proxy sends; a header that cannot be read counts as not sent."""
        names = self._names
        try:
            return Claim.cleaned(
                _one(users) or "",
                _one(self._values(request, names.email)),
                _one(self._values(request, names.name)),
                _groups(self._values(request, names.groups)),
            )
        except (BadRequest, UnicodeDecodeError) as error:
            log.warning("a sign-in header cannot be read", why=str(error))
            raise Unauthenticated("the sign-in header of the proxy cannot be read") from None

    def _values(self, request: Request, wanted: bytes) -> list[bytes]:
        return [value for name, value in request.scope["headers"] if name == wanted]


def _host(page: str) -> str | None:
    try:
        return urlsplit(page).netloc
    except ValueError:  # `http://[`
        return None


def _one(values: Sequence[bytes]) -> str | None:
    """The one value. Raises BadRequest for several: a proxy must replace what a client sent."""
    if len(values) > 1:
        raise BadRequest("it is there twice")
    return values[0].decode() if values else None


def _groups(values: Sequence[bytes]) -> tuple[str, ...]:
    """Names between commas, in one header or several."""
    named = [name.strip() for value in values for name in value.decode().split(",")]
    found = sorted({name for name in named if name})
    if len(found) > 500:
        raise BadRequest("there are more than 500 groups")
    return tuple(found)
