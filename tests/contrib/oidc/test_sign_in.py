"""Sign-in with a real provider, over real HTTP."""

import re
from urllib.parse import quote, urlsplit

import httpx
import pytest

from docs.story import Story, read
from docs.story_contrib import EXAMPLES
from kernel.loading.loader import load
from kernel.public import BootError
from kernel.testing import make_config
from tests.contrib.oidc.conftest import CHALLENGE, PAGE, PUBLIC, VERIFIER, error_of, join, query

CRM = {
    "appId": "crm", "name": "CRM", "version": "1.0.0",
    "permissions": [{"key": "contacts.read", "description": "read"}],
    "dataContract": [{"entityName": "contacts", "fields": [{"name": "name", "type": "text"}]}],
}  # fmt: skip


def test_the_way_there_is_a_code_flow_with_pkce_state_and_nonce(browser, provider):
    address = browser.begin()
    asked = query(address)
    assert address.startswith(provider.url + "oauth/authorize")
    assert asked["response_type"] == "code"
    assert asked["client_id"] == "caudex"
    assert asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == "http://127.0.0.1:1/api/v1/auth/oidc/callback"
    assert min(len(asked[name]) for name in ("state", "nonce", "code_challenge")) >= 43
    other = query(browser.begin())
    assert not {asked[n] for n in ("state", "nonce", "code_challenge")} & set(other.values())


def test_clients_learn_of_the_provider(server, provider):
    found = server.http.get("/api/v1/auth/mode").json()
    name = urlsplit(provider.url).hostname
    entry = {"id": "oidc", "displayName": name, "url": "/api/v1/auth/oidc/login"}
    assert (found["providers"], found["passwordLoginEnabled"]) == ([entry], True)


def test_the_cookie_reveals_nothing_and_is_sent_to_one_route_only(browser):
    answer = browser.get("/api/v1/auth/oidc/login")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/api/v1/auth/oidc" in cookie
    assert query(answer.headers["location"])["state"] not in cookie


def test_a_newcomer_gets_an_account_and_a_session(server, browser, person):
    reported = browser.tokens(person("ada"))
    assert reported["user"]["username"] == "ada"
    assert reported["user"]["email"] == "ada@example.org"
    headers = {"authorization": f"Bearer {reported['accessToken']}"}
    assert server.http.get("/api/v1/auth/me", headers=headers).json()["username"] == "ada"
    more = server.http.post("/api/v1/auth/refresh", json={"refreshToken": reported["refreshToken"]})
    assert more.status_code == 200


def test_the_second_sign_in_opens_the_same_account(browser, person):
    user = person("bea")
    assert browser.tokens(user)["user"]["id"] == browser.tokens(user)["user"]["id"]


def test_without_a_page_the_callback_answers_as_a_login(browser, person):
    answer = browser.sign_in(person("cleo"), return_to="")
    assert answer.status_code == 200
    assert answer.json().keys() == {"accessToken", "refreshToken", "expiresIn", "user"}


def test_a_document_shows_the_targets_of_both_redirects(make_server, configured, browse, person):
    config = configured()
    config["plugins"]["openapi"] = {}
    server = make_server(config)
    paths = server.admin.get("/api/v1/openapi.json").json()["paths"]
    login, callback = (
        paths[f"/api/v1/auth/oidc/{name}"]["get"]["responses"] for name in ("login", "callback")
    )
    assert login.keys() == {"302", "400", "503"}
    assert callback.keys() == {"200", "302", "400", "401", "403", "503"}
    browser, user = browse(server), person("cora")
    answers = [
        (login, browser.get("/api/v1/auth/oidc/login")),
        (callback, browser.sign_in(user)),
        (callback, browser.sign_in(user, return_to="")),
    ]
    assert [answer.status_code for _, answer in answers] == [302, 302, 200]
    for responses, answer in answers:
        reported = responses[str(answer.status_code)]
        assert ("content" in reported) == ("content-type" in answer.headers)
        assert ("Location" in reported["headers"]) == ("location" in answer.headers)


def test_the_examples_of_the_reference_are_true(provider, browser, person):
    """After a change that is wanted they are corrected by hand: no story has a provider."""
    story, path = Story(str(browser.base_url)), "/api/v1/auth/oidc"
    places = {provider.url.rstrip("/"): "https://id.example.com", PUBLIC: "https://crm.example.com"}

    def settled(text):
        for own, shown in places.items():
            text = text.replace(own, shown).replace(quote(own, safe=""), quote(shown, safe=""))
        return re.sub(r"\b(state|nonce|code|code_challenge)=[\w.~%-]{20,}", r"\1=...", text)

    def keep(name, place, body, answer):
        reply = answer.json() if body else f"location: {settled(answer.headers['location'])}"
        story.keep(name, settled(place), body, answer.status_code, reply)

    with story.http as http:
        asked = f"{path}/login?return_to={quote(PAGE, safe='')}&challenge={CHALLENGE}"
        there = http.get(asked)
        keep(f"GET {path}/login", asked, None, there)
        back = browser.at_provider(there.headers["location"], person("rosa"))
        answer = http.get(back)
        keep(f"GET {path}/callback", back, None, answer)
        code = answer.headers["location"].partition("#code=")[2]
        body = {"code": "...", "verifier": VERIFIER}
        keep(f"POST {path}/exchange", f"{path}/exchange", body, browser.exchange(code))
    assert story.examples == read(EXAMPLES)["oidc"]


def test_a_code_is_good_once(browser, person):
    code = browser.sign_in(person("dora")).headers["location"].partition("#code=")[2]
    assert browser.exchange(code).status_code == 200
    for wrong in (code, "x", "", "x" * 3000):
        answer = browser.exchange(wrong)
        assert answer.status_code == 401, answer.text


def test_a_code_is_good_for_the_page_that_began_the_sign_in(browser, person):
    code = browser.sign_in(person("mallory")).headers["location"].partition("#code=")[2]
    for verifier in ("", "of-another-page", CHALLENGE, "\u00e9"):
        assert browser.exchange(code, verifier).status_code == 401
    assert browser.exchange(code).status_code == 200


@pytest.mark.parametrize("challenge", ["", "short", CHALLENGE + "=", CHALLENGE[:-1] + "+"])
def test_a_page_must_bring_a_challenge(browser, challenge):
    asked = {"return_to": PAGE, "challenge": challenge}
    answer = browser.get("/api/v1/auth/oidc/login", params=asked)
    assert answer.status_code == 400
    assert "challenge" in answer.json()["error"]


def test_a_code_is_good_for_a_minute(server, browser, person):
    code = browser.sign_in(person("dido")).headers["location"].partition("#code=")[2]
    server.sql("update caudex_oidc.handovers set expires_at = now() - interval '1 second'")
    assert browser.exchange(code).status_code == 401
    browser.sign_in(person("dana"))  # the next one sweeps
    assert server.sql("select count(*) from caudex_oidc.handovers where expires_at < now()") == [
        (0,)
    ]


def test_a_callback_of_another_browser_fits_nowhere(browser, browse, server, person):
    back = browser.at_provider(browser.begin(), person("eve"))
    victim = browse(server)
    assert victim.get(back).status_code == 400
    victim.begin()  # with an attempt of its own, which has another state
    assert victim.get(back).status_code == 400
    assert browser.get(back).status_code == 302


def test_an_attempt_that_took_too_long_is_over(browser, person, monkeypatch):
    monkeypatch.setattr("contrib.oidc.attempts.ATTEMPT_SECONDS", -1)
    back = browser.at_provider(browser.begin(), person("fay"))
    answer = browser.get(back)
    assert answer.status_code == 400
    assert "too long" in answer.json()["error"]


@pytest.mark.parametrize("cookie", ["", "00", "zz", "ab" * 3000, "caudex"])
def test_a_cookie_that_is_none_of_ours_is_refused(browser, cookie):
    headers = {"cookie": f"caudex_oidc={cookie}"}
    answer = browser.get("/api/v1/auth/oidc/callback?state=x&code=y", headers=headers)
    assert answer.status_code == 400
    assert "begin again" in answer.json()["error"]


OTHERS = {
    "none": "{}",
    "others": "a=1; {};b=2",
    "no cookies at all": ";=; =;{}; caudex_oidc2=00; x",
    "quotes": '"; {}; "',
    "escapes in quotes": '"' + "\\" * 50_000 + '"; {}; b="' + '\\"' * 2000,
    "names that are none": "a[1]=2; {}; a b=3",
    "another of that name, of the whole site": "{}; caudex_oidc=00",
}


@pytest.mark.parametrize("others", OTHERS.values(), ids=OTHERS)
def test_a_cookie_is_found_between_others_that_no_one_parses(server, others, monkeypatch):
    def parse(*_):
        raise AssertionError("http.cookies takes a time that grows with the square of a header")

    with httpx.Client(base_url=server.url, timeout=30) as http:
        began = http.get("/api/v1/auth/oidc/login", params={"return_to": ""})
        sealed = began.headers["set-cookie"].partition(";")[0]
        http.cookies.clear()
        monkeypatch.setattr("http.cookies.SimpleCookie.load", parse)
        answer = http.get(
            "/api/v1/auth/oidc/callback",
            params={"state": query(began.headers["location"])["state"], "error": "denied"},
            headers={"cookie": others.replace("{}", sealed)},
        )
    assert answer.status_code == 401, answer.text
    assert "denied" in answer.json()["error"]


@pytest.mark.parametrize(
    "page",
    [
        "https://evil.example.org/", "https://app.example.org.evil.org/", "//app.example.org/",
        "https://app.example.org@evil.org/", "javascript:alert(1)", "http://app.example.org/",
        "https://app.example.org:8443/", "https://[::", "\\\\app.example.org",
    ],
)  # fmt: skip
def test_a_sign_in_returns_to_frontends_only(browser, page):
    answer = browser.get(
        "/api/v1/auth/oidc/login", params={"return_to": page, "challenge": CHALLENGE}
    )
    assert answer.status_code == 400, answer.headers.get("location")


def test_a_refusal_of_the_provider_is_asked_to_the_page(browser):
    state = query(browser.begin())["state"]
    answer = browser.get(
        "/api/v1/auth/oidc/callback", params={"state": state, "error": "access_denied"}
    )
    assert answer.headers["location"].startswith(PAGE)
    assert "access_denied" in error_of(answer)


def test_a_code_that_the_provider_never_gave_signs_no_user_in(browser, provider):
    asked = query(browser.begin())
    answer = browser.get(
        "/api/v1/auth/oidc/callback",
        params={"state": asked["state"], "code": "guess", "iss": provider.url.rstrip("/")},
    )
    assert "did not accept" in error_of(answer)


def test_an_answer_of_another_issuer_is_refused(browser, person):
    back = httpx.URL(browser.at_provider(browser.begin(), person("gil")))
    mixed = back.copy_set_param("iss", "https://other.example.org")
    assert "another provider" in error_of(browser.get(str(mixed)))


def test_a_disabled_account_is_refused(server, browser, person):
    user = person("hal")
    reported = browser.tokens(user)
    path = f"/api/v1/users/{reported['user']['id']}"
    assert server.admin.patch(path, json={"disabled": True}).is_success
    assert "disabled" in error_of(browser.sign_in(user))


def test_a_deleted_user_begins_again(server, browser, person):
    user = person("ike")
    first = browser.tokens(user)["user"]["id"]
    assert server.admin.delete(f"/api/v1/users/{first}").is_success
    assert server.sql("select 1 from caudex_oidc.links where user_id = %s", first) == []
    assert browser.tokens(user)["user"]["id"] != first


def test_an_email_that_someone_only_wrote_finds_no_account(server, browser, person):
    body = {"username": "lurker", "email": "jo@example.org", "password": "Str0ngPass!x"}
    assert server.http.post("/api/v1/auth/register", json=body).status_code == 201
    assert "not linked" in error_of(browser.sign_in(person("jo")))


def test_an_email_that_is_not_verified_is_no_email(server, browser, person):
    assert browser.tokens(person("unproven"))["user"]["email"] is None


def test_a_verified_email_finds_its_account_where_the_operator_says_so(
    make_server, configured, browse, person
):
    server = make_server(configured(match_email=True, auto_create_users=False))
    assert server.admin
    body = {"username": "kim", "email": "Kim@Example.org", "password": "Str0ngPass!x"}
    made = server.admin.post("/api/v1/auth/register", json=body).json()["user"]["id"]
    browser = browse(server)
    assert browser.tokens(person("kim"))["user"]["id"] == made
    body = {"username": "kit", "email": "unproven@example.org", "password": "Str0ngPass!x"}
    assert server.admin.post("/api/v1/auth/register", json=body).is_success
    assert "ask an admin" in error_of(browser.sign_in(person("unproven")))
    assert "ask an admin" in error_of(browser.sign_in(person("lea")))


def test_only_emails_of_a_domain_come_in_where_the_operator_names_some(
    make_server, configured, browse, person
):
    server = make_server(configured(domains=["example.com"]))
    assert server.admin
    browser = browse(server)
    assert "domain" in error_of(browser.sign_in(person("mia")))
    assert browser.tokens(person("max", emails=["max@example.com"]))["user"]["username"] == "max"


def test_a_name_that_is_taken_gets_a_number(server, browser, person):
    server.user("nora")
    assert browser.tokens(person("nora"))["user"]["username"] == "nora-2"


def test_the_first_account_is_never_made_by_a_sign_in(make_server, configured, browse, person):
    server = make_server(configured())
    assert "caudex users create" in error_of(browse(server).sign_in(person("otto")))
    assert server.sql("select count(*) from caudex_auth.users") == [(0,)]


@pytest.mark.slow
def test_roles_come_and_go_with_the_claim(make_server, configured, browse, person, provider):
    rules = {"writers": ["crm:writer", "gone:x"], "readers": ["crm:reader"]}
    server = make_server(configured(roles=rules))
    assert server.admin.post("/api/v1/apps", json=CRM).is_success
    for name in ("writer", "reader", "kept"):
        role = {"name": name, "permissions": ["contacts.read"]}
        assert server.admin.post("/api/v1/apps/crm/roles", json=role).is_success
    user, browser = person("pia", groups=["writers", "others"]), browse(server)
    reported = browser.tokens(user)["user"]["id"]

    def held():
        assignments = server.admin.get("/api/v1/apps/crm/roles/assignments").json()
        return {a["role"] for a in assignments if a["userId"] == reported}

    assert held() == {"writer"}
    given = {"userId": reported, "role": "kept"}
    assert server.admin.post("/api/v1/apps/crm/roles/assign", json=given).is_success
    group = join(provider, person("quinn"), "writers")
    group.members = [one for one in group.members if one.user_name != "pia"]
    provider.backend.save(group)
    join(provider, user, "readers")
    browser.tokens(user)
    assert held() == {"reader", "kept"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"issuer": "http://id.example.org"}, "https://"),
        ({"public_url": "ftp://x"}, "https://"),
        ({"roles": {"a": ["admin"]}}, "app:role"),
        ({"scopes": ["email"]}, "openid"),
        ({"client_secret": ""}, "must not be empty"),
        ({"client_id": None}, "client_id"),
    ],
)
def test_a_mistake_in_the_configuration_is_reported(configured, tmp_path, wrong, said):
    overrides = configured()
    overrides["plugins"]["oidc"] |= wrong
    overrides["plugins"]["oidc"] = {
        key: value for key, value in overrides["plugins"]["oidc"].items() if value is not None
    }
    with pytest.raises(BootError, match=said):
        load(make_config(overrides, "postgresql://nowhere", tmp_path))
