"""The client of the provider: discovery, authorization, token exchange, ID tokens.

OpenID Connect Core 1.0 (section 3.1, the authorization code flow) with PKCE (RFC 7636) and the
issuer's identification (RFC 9207). The protocol is Authlib's, the signatures are joserfc's.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Set
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

from kernel.public import BootError, ConcurrencyLimiter, Unauthenticated, Unavailable

from .config import OidcConfig
from .models import Attempt, Claims, Metadata, Tokens

T = TypeVar("T")
CALLBACK: Final = "/api/v1/auth/oidc/callback"
TIMEOUT_SECONDS: Final = 10.0
"""The time for a complete reply of the provider."""
RETRY_SECONDS: Final = 5.0
"""The pause after a failed request for the metadata."""
FRESH_SECONDS: Final = 3600.0
"""How long metadata and keys of the provider are cached."""
KEYS_PAUSE_SECONDS: Final = 30.0
"""The pause between two requests for the keys, when a token has an unknown key."""
SIGNATURES: Final = {
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
    "Ed25519",
}  # fmt: skip
"""Never `none` and no HMAC: the client secret must not be enough to sign an ID token."""

TOO_MANY: Final = "too many sign-ins at the same moment"
UNREACHED: Final = "the sign-in provider cannot be reached"

HTTPClient = Any
"""Authlib's client, which has no types."""

log = structlog.get_logger("caudex.oidc")


class OidcProvider:
    """A provider, whose metadata and keys are cached for an hour."""

    def __init__(self, config: OidcConfig, client: HTTPClient) -> None:
        self._config = config
        self._client = client
        self._metadata: Metadata | None = None
        self._keys: KeySet | None = None
        self._metadata_since = 0.0
        self._keys_since = 0.0
        self._failed_at = -inf
        self._fetching = anyio.Lock()
        self._sign_ins = ConcurrencyLimiter(16, message=TOO_MANY, retry_after=5)

    async def address(self, attempt: Attempt) -> str:
        """Return the URL of the provider's authorization endpoint. Raises Unavailable."""
        metadata = await self._current_metadata()
        url, _ = self._client.create_authorization_url(
            metadata.authorization_endpoint,
            state=attempt.state,
            nonce=attempt.nonce,
            code_verifier=attempt.verifier,
        )
        return url

    async def claims(self, attempt: Attempt, code: str, issuer: str) -> Claims:
        """Exchange a code for the claims of the user.

        Raises Unauthenticated for an invalid code or token, Unavailable.
        """
        async with self._sign_ins.hold():
            return await self._claims(attempt, code, issuer)

    async def _claims(self, attempt: Attempt, code: str, issuer: str) -> Claims:
        metadata = await self._current_metadata()
        sends_issuer = metadata.authorization_response_iss_parameter_supported
        if issuer != metadata.issuer and (issuer or sends_issuer):
            raise Unauthenticated("the sign-in came back from another provider")
        tokens = await self._fetch_tokens(metadata, attempt, code)
        claims = await self._verify(metadata, attempt, tokens.id_token)
        if not metadata.userinfo_endpoint or not tokens.access_token:
            return claims

        details = await self._fetch_userinfo(metadata, tokens.access_token)
        if details.get("sub") != claims["sub"]:  # section 5.3.2
            raise Unauthenticated("the provider describes another user")
        email = details.get("email")
        if email != claims.get("email", email):
            # `email_verified` of one email does not apply to another.
            details.pop("email_verified", None)
        return details | claims

    async def _fetch_tokens(self, metadata: Metadata, attempt: Attempt, code: str) -> Tokens:
        async def exchange() -> dict[str, Any]:
            return await self._client.fetch_token(
                metadata.token_endpoint,
                grant_type="authorization_code",
                code=code,
                code_verifier=attempt.verifier,
            )

        try:
            return msgspec.convert(dict(await _call(exchange)), Tokens)
        except AuthlibBaseError as error:
            log.warning("the provider refuses a code", error=error.error)
            raise Unauthenticated("the provider did not accept the sign-in") from None
        except msgspec.ValidationError:
            raise Unauthenticated("the provider sent no ID token") from None

    async def _verify(self, metadata: Metadata, attempt: Attempt, token: str) -> Claims:
        """Check an ID token (section 3.1.3.7) and return its claims."""
        allowed = SIGNATURES.intersection(metadata.id_token_signing_alg_values_supported)
        rules = jwt.JWTClaimsRegistry(
            leeway=60,
            iss={"essential": True, "value": metadata.issuer},
            aud={"essential": True, "value": self._config.client_id},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": attempt.nonce},
        )
        claims = await self._decode(metadata, token, rules, allowed)
        if claims is None or claims.get("azp", self._config.client_id) != self._config.client_id:
            raise Unauthenticated("the provider's ID token is not valid")
        return claims

    async def verify_access_token(self, token: str, audience: str) -> Claims:
        """Check an access token for a resource of this server (RFC 9068, section 4).

        Raises Unauthenticated, Unavailable.
        """
        metadata = await self._current_metadata()
        rules = jwt.JWTClaimsRegistry(
            leeway=60,
            iss={"essential": True, "value": metadata.issuer},
            aud={"essential": True, "value": audience},
            sub={"essential": True},
            exp={"essential": True},
        )
        claims = await self._decode(metadata, token, rules, SIGNATURES)
        if claims is None:
            raise Unauthenticated("the provider's access token is not valid")
        return claims

    async def _decode(
        self, metadata: Metadata, token: str, rules: jwt.JWTClaimsRegistry, allowed: Set[str]
    ) -> Claims | None:
        """Return the claims of a token that a key of the provider has signed, else None."""
        for fresh in (False, True):
            keys = await self._current_keys(metadata, fresh=fresh)
            try:
                claims = jwt.decode(token, keys, sorted(allowed)).claims
                rules.validate(claims)
            except (JoseError, ValueError) as error:
                if not fresh and self._keys_since < time.monotonic() - KEYS_PAUSE_SECONDS:
                    continue  # the signing key may be newer than the cached ones
                log.warning("a token is invalid", error=f"{type(error).__name__}: {error}")
                return None
            return claims
        return None

    async def _fetch_userinfo(self, metadata: Metadata, access_token: str) -> Claims:
        """Get the userinfo endpoint: many providers send more claims there than in a token."""
        headers = {"authorization": f"Bearer {access_token}"}
        return await self._get(metadata.userinfo_endpoint, dict[str, Any], headers)

    async def _current_metadata(self) -> Metadata:
        """Return the metadata; one request fetches it, concurrent ones wait for the result."""
        metadata = self._cached_metadata()
        if metadata is not None:
            return metadata
        if self._fetching.statistics().tasks_waiting >= 32:  # anonymous callers
            raise Unavailable(TOO_MANY, retry_after=5)
        async with self._fetching:
            metadata = self._cached_metadata()
            if metadata is not None:
                return metadata
            try:
                self._metadata = await self._fetch_metadata()
            except Unavailable:
                self._failed_at = time.monotonic()
                raise
            self._metadata_since = time.monotonic()
            return self._metadata

    def _cached_metadata(self) -> Metadata | None:
        """Return the cached metadata. Raises Unavailable for a while after a failed request."""
        now = time.monotonic()
        if self._metadata is not None and self._metadata_since >= now - FRESH_SECONDS:
            return self._metadata
        if self._failed_at > now - RETRY_SECONDS:
            raise Unavailable(UNREACHED, retry_after=5)
        return None

    async def _fetch_metadata(self) -> Metadata:
        url = f"{self._config.issuer.rstrip('/')}/.well-known/openid-configuration"
        metadata = await self._get(url, Metadata)
        if metadata.issuer != self._config.issuer:
            log.error("the provider has another issuer", issuer=metadata.issuer)
            raise Unavailable("the sign-in provider is not the one that is configured")
        return metadata

    async def _current_keys(self, metadata: Metadata, *, fresh: bool) -> KeySet:
        """Return the keys; `fresh` ones are not those of the cache."""
        is_expired = self._keys_since < time.monotonic() - FRESH_SECONDS
        if self._keys is not None and not fresh and not is_expired:
            return self._keys
        key_set = await self._get(metadata.jwks_uri, dict[str, Any])
        try:
            self._keys = KeySet.import_key_set(key_set)  # type: ignore[arg-type]
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
            return msgspec.json.decode(await _call(get), type=kind)
        except msgspec.DecodeError:
            log.error("a reply of the provider is malformed", url=url)
            raise Unavailable("a reply of the sign-in provider is malformed") from None


async def _call(request: Callable[[], Awaitable[T]]) -> T:
    """Send a request to the provider. Raises Unavailable where it does not answer."""
    try:
        with anyio.fail_after(TIMEOUT_SECONDS):
            return await request()
    except (httpx2.HTTPError, TimeoutError) as error:
        log.error(UNREACHED, error=f"{type(error).__name__}: {error}")
        raise Unavailable(UNREACHED, retry_after=5) from None


def client_of(config: OidcConfig) -> HTTPClient:
    """Make the HTTP client, with timeouts and without redirects."""
    return AsyncOAuth2Client(
        client_id=config.client_id,
        client_secret=config.client_secret,
        scope=" ".join(config.scopes),
        redirect_uri=config.public_url.rstrip("/") + CALLBACK,
        code_challenge_method="S256",
        timeout=TIMEOUT_SECONDS,
        follow_redirects=False,
    )


def check(config: OidcConfig) -> None:
    """Check the configuration. Raises BootError for plain HTTP, and for invalid values."""
    for name in ("issuer", "public_url"):
        url = httpx2.URL(getattr(config, name))
        is_local = url.host in ("localhost", "127.0.0.1", "::1")
        if url.scheme != "https" and not (is_local and url.scheme == "http"):
            raise BootError(f"[plugins.oidc] {name}", "must begin with https://")
    for key, roles in config.roles.items():
        for role in roles:
            parts = role.split(":")
            if len(parts) != 2 or not all(parts):
                setting = f"[plugins.oidc.roles] {key}"
                raise BootError(setting, f"{role!r} is no role", 'write it as "app:role"')
    if "openid" not in config.scopes:
        raise BootError("[plugins.oidc] scopes", "openid is missing", 'add "openid"')
    if not config.client_secret:
        raise BootError("[plugins.oidc] client_secret", "must not be empty")
