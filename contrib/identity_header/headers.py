"""Reads a claim from the headers of a request, if its sender is trusted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import structlog
from msgspec.structs import replace

from kernel.public import NOTHING, Actor, BadRequest, Forbidden, Request, Unauthenticated, door_of

from .config import IdentityHeaderConfig
from .models import Claim, clean_claim
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
        groups_header = ""
        if config.groups:
            groups_header = config.groups_header
        self._names = _Names(
            user=_encode_name(config.user_header),
            email=_encode_name(config.email_header),
            name=_encode_name(config.name_header),
            groups=_encode_name(groups_header),
        )
        self._origins = frozenset(config.origins)
        self._trust = trust
        self._identity = identity

    async def authenticate(self, request: Request) -> Actor | None:
        """Return the user that the proxy names, else the owner of the token.

        Raises Unauthenticated for a header that does not come from the proxy, whatever else the
        request carries.
        """
        admitted = request.scope.get(ADMITTED)
        if admitted is not None:
            return await self._identity.check_again(admitted)

        caller = Actor(
            user_id=None, request_id=request.request_id, address=request.address, limits=NOTHING
        )
        users = _select_values(request, self._names.user)
        if any(value.strip() for value in users):
            self._check_trust(request)
            self._refuse_strange_page(request)
            claim = self._read_claim(request, users)
            at_door = replace(caller, door=door_of(request.scope))
            actor = await self._identity.identify_by_claim(claim, at_door)
            request.scope[ADMITTED] = actor
            return actor

        tokens = _select_values(request, b"authorization")
        if not tokens:
            return None
        if len(tokens) > 1:
            raise Unauthenticated
        return await self._identity.identify_by_token(tokens[0], caller)

    def _check_trust(self, request: Request) -> None:
        reason = self._trust.refusal(request.scope)
        if reason is None:
            return
        client = request.scope.get("client")
        peer = client[0] if client else "a local socket"
        log.warning("a sign-in header is not believed", peer=peer, why=reason)
        raise Unauthenticated("the sign-in header does not come from a trusted proxy")

    def _refuse_strange_page(self, request: Request) -> None:
        """Refuse a write that a page of another site makes a browser send: the proxy knows the user
        by a cookie, which the browser adds to every request. Raises Forbidden.

        Browsers say where a request comes from by headers that no page can set; other clients send
        none of them.
        """
        site = request.headers.get("sec-fetch-site")
        page = request.headers.get("origin")
        is_of_browser = bool(site or page)
        if request.method in SAFE or not is_of_browser:
            return
        if site in ("same-origin", "none"):
            return
        if page in self._origins:
            return
        if page and _host(page) == request.headers.get("host"):
            return
        log.warning("a page of another origin is refused", origin=page, site=site)
        raise Forbidden(f"pages of {page or 'other origins'} may not write here")

    def _read_claim(self, request: Request, users: Sequence[bytes]) -> Claim:
        """Read what the proxy sends; a header that cannot be read counts as not sent."""
        names = self._names
        try:
            return clean_claim(
                _read_single(users) or "",
                _read_single(_select_values(request, names.email)),
                _read_single(_select_values(request, names.name)),
                _read_groups(_select_values(request, names.groups)),
            )
        except (BadRequest, UnicodeDecodeError) as error:
            log.warning("a sign-in header cannot be read", why=str(error))
            raise Unauthenticated("the sign-in header of the proxy cannot be read") from None


def _encode_name(header: str) -> bytes:
    return header.lower().encode()


def _select_values(request: Request, header: bytes) -> list[bytes]:
    return [value for name, value in request.scope["headers"] if name == header]


def _host(page: str) -> str | None:
    try:
        return urlsplit(page).netloc
    except ValueError:  # `http://[`
        return None


def _read_single(values: Sequence[bytes]) -> str | None:
    """The one value. Raises BadRequest for several: a proxy must replace what a client sent."""
    if not values:
        return None
    if len(values) > 1:
        raise BadRequest("it is there twice")
    return values[0].decode()


def _read_groups(values: Sequence[bytes]) -> tuple[str, ...]:
    """Names between commas, in one header or several."""
    groups: set[str] = set()
    for value in values:
        groups.update(name.strip() for name in value.decode().split(","))
    groups.discard("")
    if len(groups) > 500:
        raise BadRequest("there are more than 500 groups")
    return tuple(sorted(groups))
