"""The first account of a public server needs the token that the server prints."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from kernel.testing import running_server
from kernel.testing.servers import setup_token

PASSWORD = "Str0ngPass!x"
PUBLIC = {"server": {"host": "0.0.0.0"}, "plugins": {"auth": {"registration": None}}}
BEHIND_PROXY = {
    "server": {"trusted_proxies": ["192.0.2.0/24"]},
    "plugins": {"auth": {"registration": None}},
}
REFUSAL = "the first account needs the setup token that the server printed at its start"


def register(server, name="ada", headers=None, **more):
    body = {"username": name, "password": PASSWORD, **more}
    return server.http.post("/api/v1/auth/register", json=body, headers=headers)


def token_of(server):
    return setup_token(server.kernel.context.notices)


def setup_notices(server):
    return [notice for notice in server.kernel.context.notices if "#setup=" in notice]


def mode(server):
    return server.http.get("/api/v1/auth/mode").json()


@pytest.fixture(params=[PUBLIC, BEHIND_PROXY], ids=["address", "proxy"])
def public(request, make_server):
    return make_server(request.param)


@pytest.fixture(scope="module", params=[PUBLIC, BEHIND_PROXY], ids=["address", "proxy"])
def unclaimed(request, postgres):
    """The same, for tests that make no account."""
    with running_server(postgres, request.param) as running:
        yield running


def test_first_account_of_public_server_needs_token(public):
    for given in ({}, {"setupToken": "guess"}, {"setupToken": ""}, {"setupToken": "é"}):
        answer = register(public, **given)
        assert (answer.status_code, answer.json()) == (403, {"error": REFUSAL})
    assert register(public, headers={"x-setup-token": "guess"}).status_code == 403
    assert public.sql("select count(*) from caudex_auth.users") == [(0,)]
    assert register(public, setupToken=token_of(public)).status_code == 201
    ada = public.login("ada")
    assert ada.get("/api/v1/apps/core/permissions").json()["permissions"] == ["*"]


def test_token_is_accepted_in_header(public):
    assert register(public, headers={"x-setup-token": token_of(public)}).status_code == 201


def test_wrong_token_is_refused_before_the_rules_for_names_and_passwords(unclaimed):
    assert register(unclaimed, name="", setupToken="guess").status_code == 403


def test_registration_of_public_server_closes_after_first_account(public):
    token = token_of(public)
    assert register(public, setupToken=token).status_code == 201
    answer = register(public, "bob", setupToken=token)
    assert (answer.status_code, answer.json()) == (403, {"error": "registration is closed"})
    ada = public.login("ada")
    body = {"username": "carol", "password": PASSWORD}
    assert ada.post("/api/v1/auth/register", json=body).status_code == 201


@pytest.mark.parametrize("registration", ["open", "first-user"])
def test_configured_registration_of_public_server_needs_token_once(make_server, registration):
    server = make_server(
        {"server": {"host": "0.0.0.0"}, "plugins": {"auth": {"registration": registration}}}
    )
    assert register(server).status_code == 403
    assert register(server, setupToken=token_of(server)).status_code == 201
    assert register(server, "bob").status_code == (201 if registration == "open" else 403)


def test_closed_registration_prints_no_token(make_server):
    server = make_server(
        {"server": {"host": "0.0.0.0"}, "plugins": {"auth": {"registration": "closed"}}}
    )
    assert setup_notices(server) == []
    assert register(server).json() == {"error": "registration is closed"}


def test_public_server_does_not_show_that_it_has_no_account(public):
    assert mode(public)["setupRequired"] is False
    register(public, setupToken=token_of(public))
    assert mode(public)["setupRequired"] is False


def test_loopback_server_needs_no_token(make_server):
    server = make_server({"plugins": {"auth": {"registration": None}}})
    assert setup_notices(server) == []
    assert mode(server)["setupRequired"] is True
    assert register(server).status_code == 201
    assert register(server, "bob").status_code == 201


def test_address_that_is_printed_leads_to_the_console(unclaimed):
    [notice] = setup_notices(unclaimed)
    port, token = unclaimed.kernel.config.server.port, token_of(unclaimed)
    assert notice.startswith("Create the first account: http://")
    assert notice.endswith(f":{port}/console/#setup={token}")
    assert len(token) == 32


@pytest.mark.slow
def test_several_servers_agree_on_the_token_and_accept_it_once(make_server, tmp_path):
    """Also two requests at the same moment, one at each server."""
    first = make_server(PUBLIC, data_dir=tmp_path)
    second = make_server(PUBLIC, data_dir=tmp_path, dsn=first.dsn)
    token = token_of(first)
    assert token == token_of(second) != ""
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(
            lambda n: register([first, second][n % 2], f"user{n}", setupToken=token).status_code,
            range(8),
        )
        assert sorted(answers) == [201] + [403] * 7
    third = make_server(PUBLIC, data_dir=tmp_path, dsn=first.dsn)
    assert setup_notices(third) == []


def test_used_token_is_invalid_when_all_accounts_are_gone(make_server, tmp_path):
    server = make_server(PUBLIC, data_dir=tmp_path)
    token = token_of(server)
    assert register(server, setupToken=token).status_code == 201
    server.sql("delete from caudex_auth.users")
    assert register(server, setupToken=token).status_code == 403
    again = make_server(PUBLIC, data_dir=tmp_path, dsn=server.dsn)
    assert token_of(again) not in ("", token)
    assert register(again, setupToken=token_of(again)).status_code == 201


def test_database_holds_nothing_that_passes_for_the_token(unclaimed):
    [(nonce,)] = unclaimed.sql("select nonce::text from caudex_auth.setup")
    assert nonce != token_of(unclaimed)
    assert register(unclaimed, setupToken=nonce).status_code == 403


def test_browser_may_send_the_token_from_an_allowed_origin(make_server):
    server = make_server({"server": {"cors_origins": ["https://tools.example.org"]}})
    answer = server.http.options(
        "/api/v1/auth/register",
        headers={
            "origin": "https://tools.example.org",
            "access-control-request-method": "POST",
            "access-control-request-headers": "x-setup-token",
        },
    )
    allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
    assert "x-setup-token" in allowed
