"""What an ID token must hold up to; the keys and tokens are made here."""

import base64
import hmac
import time
from contextlib import asynccontextmanager

import anyio
import httpx2
import pytest
from authlib.integrations.httpx_client import AsyncOAuth2Client
from joserfc import jwt
from joserfc.jwk import RSAKey

from contrib.oidc.config import OidcConfig
from contrib.oidc.models import Attempt
from contrib.oidc.provider import OidcProvider
from kernel.public import Unauthenticated, Unavailable

ISSUER = "https://id.example.org"
KEY = RSAKey.generate_key(2048, {"kid": "one"})
OTHER = RSAKey.generate_key(2048, {"kid": "two"})
CONFIG = OidcConfig(
    issuer=ISSUER, client_id="me", client_secret="s" * 40, public_url="https://me.example.org"
)
ATTEMPT = Attempt(state="s", nonce="n", verifier="v" * 43, return_to="", challenge="", expires=0)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


def _base64(raw):
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


class Outside:
    """A provider that replies as a test wants, and counts requests for its keys."""

    def __init__(self, **claims):
        now = int(time.time())
        self.claims = {
            "iss": ISSUER, "aud": "me", "sub": "ada", "nonce": "n", "iat": now, "exp": now + 60,
        } | claims  # fmt: skip
        self.key = KEY
        self.keys = [KEY.as_dict(private=False)]
        self.userinfo = {"sub": "ada", "name": "Ada"}
        self.issuer = ISSUER
        self.token = None
        self.asked = 0
        self.described = 0
        self.away = False
        self.slow = ""
        self.gate = anyio.Event()

    async def answer(self, request):
        place = request.url.path
        if self.slow and place.endswith(self.slow):
            self.described += self.slow == "openid-configuration"
            await self.gate.wait()
        elif place.endswith("openid-configuration"):
            self.described += 1
        if self.away:
            raise httpx2.ConnectError("no route")
        if place.endswith("openid-configuration"):
            return httpx2.Response(200, json={
                "issuer": self.issuer, "authorization_endpoint": f"{ISSUER}/a",
                "token_endpoint": f"{ISSUER}/t", "jwks_uri": f"{ISSUER}/k",
                "userinfo_endpoint": f"{ISSUER}/u",
                "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
            })  # fmt: skip
        if place == "/k":
            self.asked += 1
            return httpx2.Response(200, json={"keys": self.keys})
        if place == "/u":
            return httpx2.Response(200, json=self.userinfo)
        token = self.token
        if token is None:
            token = jwt.encode({"alg": "RS256", "kid": self.key.kid}, self.claims, self.key)
        return httpx2.Response(200, json={"id_token": token, "access_token": "a"})

    async def sign_in(self, provider=None):
        return await (provider or self.provider()).claims(ATTEMPT, "code", "")

    def provider(self):
        transport = httpx2.MockTransport(self.answer)
        client = AsyncOAuth2Client(client_id="me", client_secret="s", transport=transport)
        return OidcProvider(CONFIG, client)


async def test_a_valid_token_names_the_user():
    claims = await Outside().sign_in()
    assert (claims["sub"], claims["name"]) == ("ada", "Ada")


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://other.example.org"}, {"aud": "another"}, {"aud": ["a", "b"]},
        {"nonce": "of-another-attempt"}, {"exp": 1_000_000_000}, {"sub": None},
        {"azp": "another"}, {"iat": 9_000_000_000}, {"nonce": None},
    ],
)  # fmt: skip
async def test_a_token_for_someone_or_something_else_is_refused(claims):
    outside = Outside(**claims)
    outside.claims = {key: value for key, value in outside.claims.items() if value is not None}
    with pytest.raises(Unauthenticated):
        await outside.sign_in()


async def test_a_token_of_another_key_is_refused():
    outside = Outside()
    outside.key = OTHER
    with pytest.raises(Unauthenticated):
        await outside.sign_in()


async def test_a_token_signed_with_the_public_key_as_a_secret_is_refused():
    outside = Outside()
    body = jwt.encode({"alg": "RS256"}, outside.claims, KEY).split(".")[1]
    header = _base64(b'{"alg":"HS256","kid":"one"}')
    signed = f"{header}.{body}"
    mac = hmac.digest(KEY.as_pem(private=False), signed.encode(), "sha256")
    outside.token = f"{signed}.{_base64(mac)}"
    with pytest.raises(Unauthenticated):
        await outside.sign_in()


async def test_a_token_without_a_signature_is_refused():
    outside = Outside()
    header, body, _ = jwt.encode({"alg": "RS256"}, outside.claims, KEY).split(".")
    for token in (f"eyJhbGciOiJub25lIn0.{body}.", f"{header}.{body}.", "", "x"):
        outside.token = token
        with pytest.raises(Unauthenticated):
            await outside.sign_in()


async def test_a_new_key_is_looked_for_and_not_again_and_again(monkeypatch):
    outside = Outside()
    provider = outside.provider()
    await outside.sign_in(provider)
    outside.key, outside.keys = OTHER, [OTHER.as_dict(private=False)]
    with pytest.raises(Unauthenticated):
        await outside.sign_in(provider)  # just looked
    assert outside.asked == 1
    monkeypatch.setattr("contrib.oidc.provider.KEYS_PAUSE_SECONDS", 0)
    assert (await outside.sign_in(provider))["sub"] == "ada"
    assert outside.asked == 2


async def test_userinfo_of_another_is_refused():
    outside = Outside()
    outside.userinfo = {"sub": "eve", "email": "ada@example.org", "email_verified": True}
    with pytest.raises(Unauthenticated):
        await outside.sign_in()


async def test_one_email_is_not_verified_by_what_is_said_of_another():
    outside = Outside(email="ada@example.org")
    outside.userinfo = {"sub": "ada", "email": "mine@example.org", "email_verified": True}
    claims = await outside.sign_in()
    assert (claims["email"], "email_verified" in claims) == ("ada@example.org", False)


async def test_a_provider_that_calls_itself_otherwise_is_none():
    outside = Outside()
    outside.issuer = "https://evil.example.org"
    with pytest.raises(Unavailable):
        await outside.sign_in()


async def test_a_provider_that_is_away_is_unavailable():
    def refuse(request):
        raise httpx2.ConnectError("no route")

    client = AsyncOAuth2Client(client_id="me", transport=httpx2.MockTransport(refuse))
    with pytest.raises(Unavailable, match="cannot be reached"):
        await OidcProvider(CONFIG, client).address(ATTEMPT)


@asynccontextmanager
async def at_once(number, ask):
    """Send so many requests at the same time; yield the lists of those answered and refused."""
    answered, refused = [], []

    async def one():
        try:
            answered.append(await ask())
        except Unavailable as error:
            refused.append(error)

    async with anyio.create_task_group() as tasks:
        for _ in range(number):
            tasks.start_soon(one)
        yield answered, refused


async def test_many_who_begin_at_once_ask_one_time_what_the_provider_is():
    outside = Outside()
    outside.slow = "openid-configuration"
    provider = outside.provider()
    async with at_once(20, lambda: provider.address(ATTEMPT)) as (answered, refused):
        await anyio.wait_all_tasks_blocked()
        assert outside.described == 1
        outside.gate.set()
    assert (len(answered), refused, outside.described) == (20, [], 1)


async def test_no_more_wait_for_a_provider_that_hangs_than_may():
    outside = Outside()
    outside.slow = "openid-configuration"
    provider = outside.provider()
    async with at_once(1 + 32 + 5, lambda: provider.address(ATTEMPT)) as (answered, refused):
        await anyio.wait_all_tasks_blocked()
        assert (len(answered), len(refused)) == (0, 5)
        outside.gate.set()
    assert (len(answered), len(refused), outside.described) == (1 + 32, 5, 1)


async def test_a_provider_that_is_away_is_not_asked_by_every_request(monkeypatch):
    outside = Outside()
    outside.slow, outside.away = "openid-configuration", True
    provider = outside.provider()
    async with at_once(20, lambda: provider.address(ATTEMPT)) as (answered, refused):
        await anyio.wait_all_tasks_blocked()
        outside.gate.set()
    assert (answered, len(refused), outside.described) == ([], 20, 1)
    outside.away = False
    with pytest.raises(Unavailable):
        await provider.address(ATTEMPT)  # just looked
    with pytest.raises(Unavailable):
        await outside.sign_in(provider)
    assert outside.described == 1
    monkeypatch.setattr("contrib.oidc.provider.RETRY_SECONDS", 0)
    assert (await provider.address(ATTEMPT)).startswith(f"{ISSUER}/a")
    assert outside.described == 2


@pytest.mark.parametrize("place", ["openid-configuration", "/t", "/k", "/u"])
async def test_an_answer_that_never_ends_is_not_waited_for(monkeypatch, place):
    monkeypatch.setattr("contrib.oidc.provider.TIMEOUT_SECONDS", 0.05)
    outside = Outside()
    outside.slow = place
    with anyio.fail_after(60), pytest.raises(Unavailable, match="cannot be reached"):
        await outside.sign_in()


async def test_more_sign_ins_than_may_be_under_way_are_refused_at_once():
    outside = Outside()
    outside.slow = "/t"
    provider = outside.provider()
    async with at_once(16 + 3, lambda: outside.sign_in(provider)) as (answered, refused):
        await anyio.wait_all_tasks_blocked()
        assert (len(answered), len(refused)) == (0, 3)
        assert (await provider.address(ATTEMPT)).startswith(f"{ISSUER}/a")
        outside.gate.set()
    assert (len(answered), len(refused)) == (16, 3)
    assert (await outside.sign_in(provider))["sub"] == "ada"
