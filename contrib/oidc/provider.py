"""The other side: discovery, the way there, the exchange of a code, the proof of an ID token.

OpenID Connect Core 1.0 (section 3.1, the authorization code flow) with PKCE (RFC 7636) and the
issuer's identification (RFC 9207). The protocol is Authlib's, the signatures are joserfc's.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any, Final, TypeVar

import anyio
import httpx2
import msgspec
import structlog
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from kernel.public import BootError, Unauthenticated, Unavailable

from .config import OidcConfig
from .models import Attempt, Claims, Metadata, Tokens

T = TypeVar("T")
CALLBACK: Final = "/api/v1/auth/oidc/callback"
TIMEOUT: Final = 10.0
"""Seconds that an answer of the provider may take, all of it."""
SIGN_INS: Final = 16
"""Sign-ins of one process that ask the provider at the same moment."""
WAITING: Final = 32
"""Requests that may wait for what the provider says of itself: anybody can begin a sign-in."""
AWAY: Final = 5.0
"""Seconds in which a provider is not asked again that could not say what it is."""
FRESH: Final = 3600.0
"""Seconds that what the provider says of itself is believed."""
PAUSE: Final = 30.0
"""Seconds between two looks for a key that is not among the known ones."""
LEEWAY: Final = 60
SIGNATURES: Final = {
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
    "Ed25519",
}  # fmt: skip
"""Never `none`, and no HMAC: whoever knew the client's secret could vouch for anybody."""

UNREACHED: Final = "the sign-in provider cannot be reached"

HTTPClient = Any
"""Authlib's client, which its types do not describe."""

log = structlog.get_logger("caudex.oidc")


class Provider:
    """One provider, with what it says of itself kept for an hour."""

    def __init__(self, config: OidcConfig, client: HTTPClient) -> None:
        self._config = config
        self._client = client
        self._metadata: Metadata | None = None
        self._keys: KeySet | None = None
        self._known_since = 0.0
        self._keys_since = 0.0
        self._away_since = -inf
        self._describing = anyio.Lock()
        self._sign_ins = anyio.CapacityLimiter(SIGN_INS)

    async def address(self, attempt: Attempt) -> str:
        """Return the address at the provider where a sign-in begins. Raises Unavailable."""
        metadata = await self._described()
        url, _ = self._client.create_authorization_url(
            metadata.authorization_endpoint,
            state=attempt.state,
            nonce=attempt.nonce,
            code_verifier=attempt.verifier,
        )
        return url

    async def claims(self, attempt: Attempt, code: str, issuer: str) -> Claims:
        """Exchange a code for what the provider says of who signed in.

        Raises Unauthenticated for a code or token that does not hold, Unavailable.
        """
        try:
            self._sign_ins.acquire_nowait()
        except anyio.WouldBlock:
            raise Unavailable("too many sign-ins at the same moment", retry_after=5) from None
        try:
            return await self._claims(attempt, code, issuer)
        finally:
            self._sign_ins.release()

    async def _claims(self, attempt: Attempt, code: str, issuer: str) -> Claims:
        metadata = await self._described()
        if issuer != metadata.issuer and (
            issuer or metadata.authorization_response_iss_parameter_supported
        ):
            raise Unauthenticated("the sign-in came back from another provider")
        tokens = await self._tokens(metadata, attempt, code)
        claims = await self._proven(metadata, attempt, tokens.id_token)
        if metadata.userinfo_endpoint and tokens.access_token:
            told = await self._told(metadata, tokens.access_token)
            if told.get("sub") != claims["sub"]:  # section 5.3.2
                raise Unauthenticated("the provider tells of somebody else")
            # What is said of one email says nothing of another.
            if told.get("email") != claims.get("email", told.get("email")):
                told.pop("email_verified", None)
            return told | claims
        return claims

    async def _tokens(self, metadata: Metadata, attempt: Attempt, code: str) -> Tokens:
        async def exchange() -> dict[str, Any]:
            return await self._client.fetch_token(
                metadata.token_endpoint,
                grant_type="authorization_code",
                code=code,
                code_verifier=attempt.verifier,
            )

        try:
            return msgspec.convert(dict(await _reached(exchange)), Tokens)
        except AuthlibBaseError as error:
            log.warning("the provider refuses a code", error=error.error)
            raise Unauthenticated("the provider did not accept the sign-in") from None
        except msgspec.ValidationError:
            raise Unauthenticated("the provider sent no ID token") from None

    async def _proven(self, metadata: Metadata, attempt: Attempt, token: str) -> Claims:
        """Check an ID token (section 3.1.3.7) and return its claims."""
        allowed = SIGNATURES.intersection(metadata.id_token_signing_alg_values_supported)
        rules = jwt.JWTClaimsRegistry(
            leeway=LEEWAY,
            iss={"essential": True, "value": metadata.issuer},
            aud={"essential": True, "value": self._config.client_id},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": attempt.nonce},
        )
        for fresh in (False, True):
            keys = await self._known_keys(metadata, fresh=fresh)
            try:
                claims = jwt.decode(token, keys, sorted(allowed)).claims
                rules.validate(claims)
            except (JoseError, ValueError) as error:
                if not fresh and self._keys_since < time.monotonic() - PAUSE:
                    continue  # it may have been signed by a key that is newer than those we know
                log.warning("an ID token does not hold", error=f"{type(error).__name__}: {error}")
                break
            if claims.get("azp", self._config.client_id) != self._config.client_id:
                break
            return claims
        raise Unauthenticated("the provider's ID token does not hold")

    async def _told(self, metadata: Metadata, access_token: str) -> Claims:
        """Ask the userinfo endpoint, which many providers tell more than they sign."""
        headers = {"authorization": f"Bearer {access_token}"}
        return await self._get(metadata.userinfo_endpoint, dict[str, Any], headers)

    async def _described(self) -> Metadata:
        """What the provider says of itself; one asks, others wait for what that brings."""
        if (known := self._known()) is not None:
            return known
        if self._describing.statistics().tasks_waiting >= WAITING:
            raise Unavailable("too many sign-ins at the same moment", retry_after=5)
        async with self._describing:
            if (known := self._known()) is not None:
                return known
            try:
                self._metadata = await self._describe()
            except Unavailable:
                self._away_since = time.monotonic()
                raise
            self._known_since = time.monotonic()
            return self._metadata

    def _known(self) -> Metadata | None:
        """What is known of the provider, unless it is too old. Raises Unavailable just after the
        provider could not be asked."""
        if self._metadata is not None and self._known_since >= time.monotonic() - FRESH:
            return self._metadata
        if self._away_since > time.monotonic() - AWAY:
            raise Unavailable(UNREACHED, retry_after=5)
        return None

    async def _describe(self) -> Metadata:
        place = f"{self._config.issuer.rstrip('/')}/.well-known/openid-configuration"
        found = await self._get(place, Metadata)
        if found.issuer != self._config.issuer:
            log.error("the provider calls itself otherwise", issuer=found.issuer)
            raise Unavailable("the sign-in provider is not the one that is configured")
        return found

    async def _known_keys(self, metadata: Metadata, *, fresh: bool) -> KeySet:
        if self._keys is None or fresh or self._keys_since < time.monotonic() - FRESH:
            found = await self._get(metadata.jwks_uri, dict[str, Any])
            try:
                self._keys = KeySet.import_key_set(found)  # type: ignore[arg-type]
            except (JoseError, ValueError, KeyError, TypeError):
                raise Unavailable("the sign-in provider's keys cannot be read") from None
            self._keys_since = time.monotonic()
        return self._keys

    async def _get(self, url: str, kind: type[T], headers: dict[str, str] | None = None) -> T:
        async def get() -> bytes:
            answer = await self._client.request(
                "GET", url, headers=headers or {}, withhold_token=True
            )
            answer.raise_for_status()
            return answer.content

        try:
            return msgspec.json.decode(await _reached(get), type=kind)
        except msgspec.DecodeError:
            log.error("the provider sends what is not understood", url=url)
            raise Unavailable("the sign-in provider sends what is not understood") from None


async def _reached(call: Callable[[], Awaitable[T]]) -> T:
    try:
        with anyio.fail_after(TIMEOUT):
            return await call()
    except (httpx2.HTTPError, TimeoutError) as error:
        log.error(UNREACHED, error=f"{type(error).__name__}: {error}")
        raise Unavailable(UNREACHED, retry_after=5) from None


def client_of(config: OidcConfig) -> HTTPClient:
    """Make the HTTP client; it follows no redirects, and nothing waits for ever."""
    return AsyncOAuth2Client(
        client_id=config.client_id,
        client_secret=config.client_secret,
        scope=" ".join(config.scopes),
        redirect_uri=config.public_url.rstrip("/") + CALLBACK,
        code_challenge_method="S256",
        timeout=TIMEOUT,
        follow_redirects=False,
    )


def check(config: OidcConfig) -> None:
    """Refuse what would send secrets in the clear, or cannot work. Raises BootError."""
    for name in ("issuer", "public_url"):
        url = httpx2.URL(getattr(config, name))
        local = url.host in ("localhost", "127.0.0.1", "::1")
        if url.scheme != "https" and not (local and url.scheme == "http"):
            raise BootError(f"[plugins.oidc] {name}", "must begin with https://")
    for key, roles in config.roles.items():
        for role in roles:
            if len(role.split(":")) != 2 or not all(role.split(":")):
                where = f"[plugins.oidc.roles] {key}"
                raise BootError(where, f"{role!r} is no role", 'write it as "app:role"')
    if "openid" not in config.scopes:
        raise BootError("[plugins.oidc] scopes", "openid is missing", 'add "openid"')
    if not config.client_secret:
        raise BootError("[plugins.oidc] client_secret", "must not be empty")
