"""A real OpenID provider (Canaille), and a server that trusts it."""

import json
import re
import socket
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from kernel.testing import Client, running_server
from kernel.testing.servers import NO_TLS

PUBLIC = "http://127.0.0.1:1"
PAGE = "https://app.example.org/start?x=1"
VERIFIER = "what-only-the-page-knows-that-began-it"
CHALLENGE = "p5IdiNuugjMeWQTHSJU0PY7D-oos0j5Bi0vr2dGKnus"
SCOPES = ["openid", "profile", "email", "groups"]


@pytest.fixture(scope="session")
def iam_server_port():
    """A port that no other is given: bound, but a provider that names it may listen there."""
    with socket.socket() as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        yield kept.getsockname()[1]


@pytest.fixture(scope="session")
def iam(request):
    """Canaille itself. It is loaded only now: each process of a run would pay half a second."""
    import pytest_iam

    request.config.pluginmanager.register(pytest_iam, "canaille")
    return request.getfixturevalue("iam_server")


@pytest.fixture(scope="session")
def provider(iam):
    """The provider, with a client that all servers of these tests are.

    Canaille does not say whether an email is verified: here every one is, but of `unproven`.
    """
    import flask

    @iam.app.after_request
    def say_what_is_verified(answer):
        if flask.request.path == "/oauth/userinfo":
            reported = answer.get_json()
            reported["email_verified"] = not reported["email"].startswith("unproven")
            answer.set_data(json.dumps(reported))
        return answer

    client = iam.models.Client(
        client_id="caudex", client_secret="s3cret-of-the-client", client_name="Caudex",
        client_uri=PUBLIC, redirect_uris=[f"{PUBLIC}/api/v1/auth/oidc/callback"],
        grant_types=["authorization_code"], response_types=["code"],
        token_endpoint_auth_method="client_secret_basic", scope=SCOPES,
    )  # fmt: skip
    iam.backend.save(client)
    client.audience = [client]  # of whom only one that is saved can be part
    iam.backend.save(client)
    return iam


@pytest.fixture(scope="session")
def configured(provider):
    """Overrides that switch the plugin on, at the address that a server is going to have."""

    def make(**more):
        own = {
            "enabled": True, "issuer": provider.url.rstrip("/"), "client_id": "caudex",
            "client_secret": "s3cret-of-the-client", "public_url": PUBLIC,
            "frontends": ["https://app.example.org"], "scopes": SCOPES, **more,
        }  # fmt: skip
        return {"plugins": {"oidc": own}}

    return make


@pytest.fixture(scope="module")
def server(postgres, configured):
    with running_server(postgres, configured()) as running:
        assert running.admin
        yield running


class Browser(Client):
    """A browser at the server under test, whose public address is not its real one."""

    def __init__(self, server, provider):
        super().__init__(base_url=server.url, timeout=30)
        self.provider = provider

    def begin(self, return_to=PAGE):
        """Ask for a sign-in and return the provider's address."""
        answer = self.get(
            "/api/v1/auth/oidc/login", params={"return_to": return_to, "challenge": CHALLENGE}
        )
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    def at_provider(self, address, user):
        """Sign in there and return where the browser is sent: path and query."""
        self.provider.login(user)
        self.provider.consent(user)
        try:
            answer = httpx.get(address, timeout=30, verify=NO_TLS)
        finally:
            self.provider.logout()
        assert answer.status_code == 302, answer.text
        back = urlsplit(answer.headers["location"])
        assert back.path == "/api/v1/auth/oidc/callback"
        return f"{back.path}?{back.query}"

    def sign_in(self, user, return_to=PAGE):
        """Go the whole way and return the reply to the callback."""
        return self.get(self.at_provider(self.begin(return_to), user))

    def exchange(self, code, verifier=VERIFIER):
        """Exchange a code as the page would."""
        body = {"code": code, "verifier": verifier}
        return self.post("/api/v1/auth/oidc/exchange", json=body)

    def tokens(self, user):
        """Go the whole way and return what the exchange answers."""
        answer = self.sign_in(user)
        assert answer.status_code == 302, answer.text
        place, _, code = answer.headers["location"].partition("#code=")
        assert place == PAGE, answer.headers["location"]
        answer = self.exchange(code)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(autouse=True)
def no_codes_left(provider):
    """Forget codes that a test did not use: the provider in memory takes them for the next one."""
    yield
    for code in provider.backend.query(provider.models.AuthorizationCode):
        provider.backend.delete(code)


@pytest.fixture
def browser(server, provider):
    with Browser(server, provider) as made:
        yield made


@pytest.fixture
def browse(provider):
    """Make a browser at another server."""
    made = []

    def make(server):
        made.append(Browser(server, provider))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def person(provider):
    """Make someone at the provider: `person("ada", groups=["editors"])`."""

    def make(name, groups=(), **more):
        fields = {"emails": [f"{name}@example.org"], "given_name": name, "family_name": "Test"}
        user = provider.models.User(
            user_name=name,
            display_name=name,
            formatted_name=name.title(),
            password="x",
            **fields | more,
        )
        provider.backend.save(user)
        for group in groups:
            join(provider, user, group)
        return user

    return make


def join(provider, user, name):
    group = provider.backend.get(provider.models.Group, display_name=name)
    if group is None:
        group = provider.models.Group(display_name=name, members=[user])
    else:
        group.members = [*group.members, user]
    provider.backend.save(group)
    return group


def query(address):
    """The query of an address, each parameter once."""
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


def error_of(answer):
    """What a page is reported behind `#error=`."""
    found = re.search(r"#error=(.+)", answer.headers["location"])
    assert found, answer.headers["location"]
    return httpx.URL("http://x/?" + "e=" + found[1]).params["e"]
