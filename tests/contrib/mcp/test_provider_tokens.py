"""Access tokens of the provider of `oidc`: they open the door of agents, and no other one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from kernel.testing import Client, Server, running_server
from tests.contrib.mcp.support import CRM, PATH, Agent, with_bearer

PUBLIC_URL = "https://crm.example.com"
RESOURCE = PUBLIC_URL + PATH


class Issuer:
    """A provider with one key."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.key = RSAKey.generate_key(2048, {"kid": "k1"})

    def token(self, key: Any = None, alg: str = "RS256", **claims: Any) -> str:
        """Issue an access token for the door of agents."""
        now = int(time.time())
        usual = {"iss": self.url, "sub": "ada", "aud": RESOURCE, "exp": now + 60, "iat": now}
        header = {"alg": alg, "typ": "at+jwt", "kid": "k1"}
        wanted = {name: value for name, value in (usual | claims).items() if value is not None}
        return jwt.encode(header, wanted, key or self.key, algorithms=[alg])


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    class Provider(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            ends = {"authorization_endpoint": "a", "token_endpoint": "t", "jwks_uri": "jwks"}
            body: dict[str, Any] = {"issuer": made.url}
            body |= {name: f"{made.url}/{path}" for name, path in ends.items()}
            if self.path == "/jwks":
                body = {"keys": [made.key.as_dict(private=False)]}
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Provider) as listening:
        made = Issuer(f"http://127.0.0.1:{listening.server_address[1]}")
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield made
        listening.shutdown()


@pytest.fixture(scope="module")
def door(postgres, issuer: Issuer) -> Iterator[Server]:
    oidc = {
        "issuer": issuer.url, "client_id": "caudex", "client_secret": "a secret of the client",
        "public_url": PUBLIC_URL,
    }  # fmt: skip
    with running_server(postgres, {"plugins": {"mcp": {"rate": 1000}, "oidc": oidc}}) as running:
        running.install(CRM)
        yield running


@pytest.fixture(scope="module")
def ada(door: Server, issuer: Issuer) -> Client:
    """A user who has signed in before, as subject `ada`."""
    user = door.user(permissions={"crm": ["deals.read", "deals.create"]})
    door.sql(
        "insert into caudex_oidc.links (issuer, subject, user_id) values (%s, 'ada', %s)",
        issuer.url, user.id,
    )  # fmt: skip
    return user


def ask(door: Server, token: str, path: str = PATH) -> httpx.Response:
    with with_bearer(door.url, token) as http:
        return Agent(http).post("tools/list") if path == PATH else http.get(path)


def test_a_token_for_this_address_has_the_rights_of_its_user(
    door: Server, issuer: Issuer, ada: Client
) -> None:
    with with_bearer(door.url, issuer.token()) as http:
        agent = Agent(http, name="oauth-agent")
        assert "audit_search" not in agent.tools()
        create = [{"op": "create", "entity": "deals", "data": {"title": "By a token"}}]
        done = agent.use("mutate_data", app="crm", operations=create)
        assert "companies" in agent.refusal("query_data", app="crm", entity="companies")
    rows = door.admin.get("/api/v1/audit", params={"record_id": done["results"][0]["id"]}).json()
    assert (rows[0]["actor_id"], rows[0]["client"]) == (ada.id, "oauth-agent")


def test_it_opens_no_other_door(door: Server, issuer: Issuer, ada: Client) -> None:
    assert ada.id
    for path in ("/api/v1/auth/me", "/api/v1/apps/crm/collections/deals"):
        assert ask(door, issuer.token(), path).status_code == 401
        assert ask(door, issuer.token(aud=PUBLIC_URL + path), path).status_code == 401


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "caudex"},
        {"aud": PUBLIC_URL},
        {"aud": None},
        {"sub": "bob"},
        {"sub": None},
        {"exp": 1},
        {"exp": None},
        {"iss": "https://evil.example.com"},
        {"iss": "caudex"},
    ],
    ids=str,
)
def test_another_token_is_refused(
    door: Server, issuer: Issuer, ada: Client, claims: dict[str, Any]
) -> None:
    assert ada.id
    answer = ask(door, issuer.token(**claims))
    assert (answer.status_code, list(answer.json())) == (401, ["error"])


def test_another_signature_is_refused(door: Server, issuer: Issuer, ada: Client) -> None:
    assert ada.id
    forged = issuer.token(key=RSAKey.generate_key(2048, {"kid": "k1"}))
    by_secret = issuer.token(key=OctKey.import_key("a secret of the client"), alg="HS256")
    head, body, signature = issuer.token().split(".")
    for token in (forged, by_secret, f"{head}.{body}.", f"{head}.{body}.{signature[:-8]}AAAAAAAA"):
        assert ask(door, token).status_code == 401


def test_a_disabled_account_is_refused(door: Server, issuer: Issuer) -> None:
    user = door.user(permissions={"crm": ["deals.read"]})
    door.sql(
        "insert into caudex_oidc.links (issuer, subject, user_id) values (%s, 'eve', %s)",
        issuer.url, user.id,
    )  # fmt: skip
    assert ask(door, issuer.token(sub="eve")).status_code == 200
    body = {"disabled": True}
    assert door.admin.patch(f"/api/v1/users/{user.id}", json=body).status_code == 200
    assert ask(door, issuer.token(sub="eve")).status_code == 401
