"""Which headers are trusted, which account they mean, and which roles follow from groups."""

import time
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from structlog.testing import capture_logs

from contrib.identity_header.config import IdentityHeaderConfig
from contrib.identity_header.service import HeaderIdentity
from contrib.identity_header.trust import Trust
from kernel.config.settings import load_config
from kernel.contracts import hookspecs
from kernel.loading.loader import load
from kernel.public import IDENTITY, BootError, new_delegation
from kernel.testing import FakeIdentity, make_config, running_server
from tests.contrib.identity_header.support import (
    NOTES,
    OVERRIDES,
    SECRET,
    behind_proxy,
    client_of,
    headers_of,
)
from tests.kernel.processes import caudex
from tests.waiting import eventually

ME = "/api/v1/auth/me"


@pytest.fixture(scope="module")
def server(postgres):
    groups = {"platform": ["core:admin"], "sales": ["shop:admin", "nowhere:admin"]}
    with running_server(postgres, behind_proxy(secret=SECRET, groups=groups)) as running:
        client_of(running, "root")
        yield running


@pytest.fixture(scope="module")
def root(server):
    return client_of(server, "root")


def refused(answer):
    assert answer.status_code == 401, answer.text
    assert list(answer.json()) == ["error"]
    assert SECRET not in answer.text
    return answer.json()["error"]


def ask(server, headers):
    return server.http.get(ME, headers=headers)


def scope(peer, *secrets, own="10.0.0.1"):
    return {
        "client": None if peer is None else (peer, 5000),
        "server": None if own is None else (own, 9100),
        "headers": [(b"x-proxy-secret", secret.encode()) for secret in secrets],
    }


def trust(**config):
    return Trust(IdentityHeaderConfig(**config))


# Trust


@pytest.mark.parametrize("secrets", [(), ("",), ("wrong",), (SECRET + "x",), (SECRET, SECRET)])
def test_a_header_without_the_secret_is_refused_and_asked_to_the_log(server, secrets):
    headers = [("x-forwarded-user", "root"), *(("x-proxy-secret", each) for each in secrets)]
    with capture_logs() as logs:
        assert "trusted proxy" in refused(ask(server, headers))
    [reported] = [line for line in logs if line["event"] == "a sign-in header is not believed"]
    assert (reported["peer"], reported["why"]) == ("127.0.0.1", "the secret is not the proxy's")
    assert SECRET not in str(logs)


def test_a_token_does_not_make_a_spoofed_header_good(server, root):
    issue = server.services.get(IDENTITY).issue_delegated_token
    token = server.run(issue, root.id, new_delegation("app", 60))
    headers = {"authorization": f"Bearer {token}"}
    assert ask(server, headers).json()["id"] == root.id
    refused(ask(server, {**headers, "x-forwarded-user": "root"}))


def test_a_token_of_an_app_is_none_of_a_later_app_of_the_name(server, root):
    issue = server.services.get(IDENTITY).issue_delegated_token
    manifest, proxy = {"appId": "again", "name": "x"}, {"x-forwarded-user": "root"}

    def asked(method, path, **more):
        headers = {**proxy, "x-proxy-secret": SECRET}
        answer = server.http.request(method, path, headers=headers, **more)
        assert answer.is_success, answer.text

    asked("POST", "/api/v1/apps", json=manifest)
    token = {"authorization": f"Bearer {server.run(issue, root.id, new_delegation('again', 60))}"}
    assert ask(server, token).json()["id"] == root.id
    asked("DELETE", "/api/v1/apps/again")
    eventually(lambda: ask(server, token).status_code == 401)
    asked("POST", "/api/v1/apps", json=manifest)
    assert ask(server, token).status_code == 401


@pytest.mark.slow
@pytest.mark.parametrize(
    "spoof",
    [
        {"x-forwarded-for": "10.9.9.9"},
        {"forwarded": "for=10.9.9.9"},
        {"x-real-ip": "10.9.9.9"},
        {"x-proxy-secret": SECRET},
        {"x-proxy-secret": SECRET, "x-forwarded-for": "10.9.9.9"},
    ],
)
def test_a_peer_that_is_not_the_proxy_is_refused_whatever_it_says(make_server, spoof):
    config = behind_proxy(trusted=["10.9.9.0/24"], secret=SECRET)
    config["server"] = {"trusted_proxies": ["127.0.0.0/8"]}
    server = make_server(config)
    refused(ask(server, {"x-forwarded-user": "root", **spoof}))
    assert server.run(server.services.get(IDENTITY).users) == []


def test_the_proxy_at_its_address_with_its_secret_is_believed(make_server):
    server = make_server(behind_proxy(trusted=["127.0.0.1"], secret=SECRET))
    assert ask(server, headers_of("root")).json()["username"] == "root"
    refused(ask(server, {"x-forwarded-user": "root"}))


def test_an_address_alone_is_believed_but_not_from_this_machine():
    proxy = trust(trusted=["10.0.0.0/24", "2001:db8::7"])
    assert proxy.refusal(scope("10.0.0.7")) is None
    assert proxy.refusal(scope("::ffff:10.0.0.7")) is None
    assert proxy.refusal(scope("2001:db8::7", own="2001:db8::1")) is None
    for peer in ("10.0.1.7", "127.0.0.1", "::1", "2001:db8::8", "", "nonsense", None):
        assert proxy.refusal(scope(peer)) == "its peer is no trusted proxy"
    assert "this machine itself" in proxy.refusal(scope("10.0.0.1"))
    assert "this machine itself" in proxy.refusal(scope("::ffff:10.0.0.1"))


@pytest.mark.parametrize("peer", ["127.0.0.2", "::ffff:127.0.0.3", "::1"])
def test_no_address_of_this_machine_is_believed_alone(peer):
    """`own` is where the request arrived: code that runs here connects from another one."""
    if peer == "::1" and not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    proxy = trust(trusted=["126.0.0.0/7", "::/1"])
    assert proxy.refusal(scope("126.0.0.9")) is None
    assert "this machine itself" in proxy.refusal(scope(peer))


def test_code_on_this_machine_passes_for_no_proxy_by_its_source_address(make_server):
    server = make_server(behind_proxy(trusted=["126.0.0.0/7"]))
    transport = httpx.HTTPTransport(local_address="127.0.0.2")
    with httpx.Client(transport=transport, trust_env=False) as code:
        answer = code.get(f"{server.url}{ME}", headers={"x-forwarded-user": "root"})
    refused(answer)
    assert server.run(server.services.get(IDENTITY).users) == []


def test_a_local_socket_has_no_address_and_needs_the_secret_alone():
    assert trust(secret=SECRET).refusal(scope(None, SECRET, own=None)) is None
    assert trust(secret=SECRET).refusal(scope(None, own=None)) is not None
    assert trust(secret=SECRET, trusted=["10.0.0.7"]).refusal(scope(None, SECRET)) is not None


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({}, "no proxy is trusted"),
        ({"secret": "short"}, "fewer than 16 bytes"),
        ({"trusted": ["127.0.0.1"]}, "where the code of apps runs"),
        ({"trusted": ["::1/128"]}, "where the code of apps runs"),
        ({"trusted": ["0.0.0.0/0"]}, "is every address"),
        ({"trusted": ["10.0.0.1/24"]}, "has host bits set"),
        ({"trusted": ["proxy.example"]}, "does not appear to be"),
    ],
)
def test_a_configuration_that_believes_others_is_refused_at_load(tmp_path, config, problem):
    with pytest.raises(BootError, match=problem):
        load(make_config(behind_proxy(**config), "postgresql://nowhere", tmp_path))


@pytest.mark.slow
def test_before_a_start_no_account_is_trusted(tmp_path):
    """A file without `trusted` and `secret`: the operator followed half of the README."""
    path = tmp_path / "caudex.toml"
    path.write_text(
        '[services]\nidentity = "identity_header"\n'
        "[plugins.auth]\nenabled = false\n[plugins.identity_header]\n"
    )
    for words in (["config", "check"], ["plugins", "plan", "--disable", "logs"]):
        ended = caudex(*words, "--config", str(path), cwd=tmp_path)
        assert ended.status == 78, ended.out
        assert "no proxy is trusted" in ended.out + ended.err


@pytest.mark.parametrize(
    "config",
    [
        {"user_header": "X User"}, {"user_header": ""}, {"groups": {"a": ["admin"]}},
        {"groups": {"a": "core:admin"}}, {"unknown": 1},
    ],
)  # fmt: skip
def test_a_configuration_that_is_none_stops_the_start(config):
    table = {"secret": SECRET, **config}
    with pytest.raises(BootError, match="identity_header"):
        load(load_config(environ={}, overrides={"plugins.identity_header": table}))


def test_two_of_one_header_are_none(server):
    doubled = [*headers_of("root").items(), ("X-Forwarded-User", "other")]
    refused(ask(server, doubled))
    refused(ask(server, [*headers_of("root").items(), ("x-forwarded-email", "a@b.example"),
                         ("x-forwarded-email", "c@d.example")]))  # fmt: skip


@pytest.mark.parametrize(
    "name", [b"\xff\xfe", b"a\tb", "\u202eroot".encode(), b"x" * 65, "\u200b".encode()]
)
def test_what_is_no_name_is_no_user(server, name):
    sent = [(b"x-forwarded-user", name), (b"x-proxy-secret", SECRET.encode())]
    refused(ask(server, sent))


def test_an_empty_header_says_nothing(server):
    assert "bearer token" in refused(ask(server, headers_of("")))


def test_names_in_other_scripts_are_names(server):
    sent = {**headers_of("x"), "x-forwarded-user": "Åsa Öberg".encode()}
    assert ask(server, sent).json()["username"] == "Åsa Öberg"


def test_the_headers_are_called_as_the_operator_says(make_server):
    server = make_server(behind_proxy(secret=SECRET, user_header="Remote-User"))
    refused(ask(server, headers_of("root")))
    assert ask(server, {**headers_of(""), "remote-user": "root"}).status_code == 200


def test_what_is_not_configured_is_not_read(make_server):
    server = make_server(behind_proxy(secret=SECRET, email_header="", name_header=""))
    client_of(server, "root")
    reported = {"email": "root@example.com", "name": "Root", "groups": "platform"}
    user = client_of(server, "other", **reported).get(ME).json()
    assert (user["email"], user["display_name"]) == (None, None)


@pytest.mark.parametrize("config", [{"secret": SECRET}, {}])
def test_an_engine_that_is_not_chosen_reads_no_header_and_trusts_no_caller(make_server, config):
    plugins = behind_proxy(**config)["plugins"]
    server = make_server({"plugins": plugins}, services={IDENTITY: FakeIdentity()})
    refused(ask(server, headers_of("root")))


# Accounts


def test_an_account_is_the_same_for_every_spelling_of_its_name(server):
    first = client_of(server, "Carla")
    assert client_of(server, "CARLA").id == first.id
    assert client_of(server, "carla").username == "Carla"


def test_what_the_proxy_says_is_kept_up_to_date(server):
    client_of(server, "dora", email="dora@example.com", name="Dora")
    assert (
        client_of(server, "dora", email="d@example.com").get(ME).json()["email"] == "d@example.com"
    )
    assert client_of(server, "dora").get(ME).json()["email"] is None


def test_what_an_admin_wrote_stays_where_the_proxy_says_nothing_of_it(make_server):
    server = make_server(behind_proxy(secret=SECRET, email_header="", name_header=""))
    root = client_of(server, "root")
    ida = {"username": "ida", "email": "ida@example.com", "display_name": "Ida"}
    assert root.post("/api/v1/users", json=ida).status_code == 201
    user = client_of(server, "ida").get(ME).json()
    assert (user["email"], user["display_name"]) == ("ida@example.com", "Ida")


@pytest.mark.slow
def test_a_stream_does_not_repeat_what_the_proxy_said_when_it_began(server, root, monkeypatch):
    root.post("/api/v1/apps", json={"appId": "stream", "name": "Stream"}).raise_for_status()
    asked, sign_in = [], HeaderIdentity.identify_by_claim

    async def identify_by_claim(self, claim, caller):
        asked.append(claim)
        return await sign_in(self, claim, caller)

    monkeypatch.setattr(HeaderIdentity, "identify_by_claim", identify_by_claim)
    with root.stream("GET", "/api/v1/apps/stream/logs") as answer:
        assert answer.status_code == 200
        time.sleep(1.3)
    assert len(asked) == 1


def test_an_email_of_another_is_left_out(server):
    client_of(server, "erna", email="erna@example.com")
    other = client_of(server, "fred", email="ERNA@example.com")
    assert other.get(ME).json()["email"] is None
    assert (
        server.run(server.services.get(IDENTITY).find_email, "erna@example.com").username == "erna"
    )


@pytest.mark.slow
def test_a_person_costs_no_statement_from_one_request_to_the_next(server, monkeypatch):
    client = client_of(server, "gerd")
    time.sleep(1)  # the news of the account itself
    assert client.get(ME).status_code == 200

    async def admit(*_):
        raise AssertionError("looked up again")

    monkeypatch.setattr(HeaderIdentity, "_admit", admit)
    assert client.get("/api/v1/users").status_code == 200


def test_the_list_of_users_has_pages(make_server):
    server = make_server(behind_proxy(secret=SECRET))
    root = client_of(server, "root")
    for name in ("zoe", "Ann", "bob"):
        root.post("/api/v1/users", json={"username": name}).raise_for_status()
    names, following = [], "/api/v1/users?limit=2"
    while following:
        answer = root.get(following)
        names.append([user["username"] for user in answer.json()])
        following = answer.links.get("next", {}).get("url")
    assert names == [["Ann", "bob"], ["root", "zoe"], []]
    assert [user["username"] for user in root.get("/api/v1/users").json()] == [
        name for page in names for name in page
    ]
    for bad in ("limit=0", "after=x", f"after={uuid4()}"):
        assert root.get(f"/api/v1/users?{bad}").status_code == 400


def test_the_directory_can_be_narrowed(postgres):
    overrides = behind_proxy(secret=SECRET, directory="members")
    with running_server(postgres, overrides) as server:
        root = client_of(server, "root", email="root@example.com")
        root.post("/api/v1/apps", json=NOTES).raise_for_status()
        role = {"name": "readers", "permissions": ["notes.read"]}
        root.post("/api/v1/apps/notes/roles", json=role).raise_for_status()
        ann, ben, cay = (
            client_of(server, n, email=f"{n}@example.com") for n in ("ann", "ben", "cay")
        )
        for user in (ann, ben):
            body = {"userId": user.id, "role": "readers"}
            root.post("/api/v1/apps/notes/roles/assign", json=body).raise_for_status()

        def seen_by(client, query=""):
            answer = client.get(f"/api/v1/users{query}")
            return {user["username"]: user["email"] for user in answer.json()}

        everyone = ("ann", "ben", "cay", "root")
        assert seen_by(root) == {name: f"{name}@example.com" for name in everyone}
        assert seen_by(ann) == {"ann": "ann@example.com", "ben": None, "root": None}
        assert seen_by(cay) == {"cay": "cay@example.com"}
        assert list(seen_by(ann, f"?after={ann.id}&limit=1")) == ["ben"]
        assert ann.get(f"/api/v1/users?after={cay.id}").status_code == 400


def test_without_create_only_those_get_in_who_were_added(make_server):
    server = make_server(behind_proxy(secret=SECRET, auto_create_users=False))
    root = client_of(server, "root")
    assert "an admin has to add it" in refused(ask(server, headers_of("hugo")))
    answer = root.post("/api/v1/users", json={"username": "Hugo", "email": "h@example.com"})
    assert answer.status_code == 201
    assert client_of(server, "hugo", email="h@example.com").id == answer.json()["id"]
    assert root.post("/api/v1/users", json={"username": "HUGO"}).status_code == 400
    assert root.post("/api/v1/users", json={"username": "a\nb"}).status_code == 400
    assert root.post("/api/v1/users", json={}).status_code == 400
    stranger = client_of(server, "hugo", email="h@example.com")
    assert stranger.post("/api/v1/users", json={"username": "x"}).status_code == 403


def test_before_the_first_account_there_is_nothing_but_setup(make_server):
    server = make_server(OVERRIDES)
    mode = {
        "authRequired": True, "setupRequired": True, "passwordLoginEnabled": False,
        "magicLinkEnabled": False, "providers": [],
    }  # fmt: skip
    assert server.http.get("/api/v1/auth/mode").json() == mode
    client_of(server, "root")
    assert server.http.get("/api/v1/auth/mode").json() == {**mode, "setupRequired": False}
    for path in ("register", "login", "refresh", "logout"):
        assert server.http.post(f"/api/v1/auth/{path}", json={}).status_code == 404


@pytest.mark.slow
def test_routes_show_accounts_that_stay_and_those_that_were_deleted(server, root):
    reported = {f"{route.method} {route.path}": route.errors for _, route in server.kernel.routes}
    root.post("/api/v1/apps", json=NOTES).raise_for_status()
    lena = client_of(server, "lena")
    note = root.post("/api/v1/apps/notes/collections/notes", json={"owner": lena.id})
    assert note.status_code == 201, note.text
    answer = root.delete(f"/api/v1/users/{lena.id}")
    assert (answer.status_code, list(answer.json())) == (400, ["error"])
    assert 400 in reported["DELETE /api/v1/users/{id}"]
    mona = client_of(server, "mona")
    time.sleep(1)  # the news of the account itself
    assert mona.get(ME).status_code == 200
    server.sql("delete from caudex_identity_header.users where id = %s", mona.id)
    assert mona.get(ME).status_code == 404
    assert 404 in reported["GET /api/v1/auth/me"]


# Groups


def roles_of(client, app_id):
    answer = client.get(f"/api/v1/apps/{app_id}/permissions")
    assert answer.status_code == 200, answer.text
    return answer.json()["roles"]


def test_roles_follow_groups(server, root):
    root.post("/api/v1/apps", json={"appId": "shop", "name": "Shop"}).raise_for_status()
    ida = client_of(server, "ida")
    assert roles_of(ida, "shop") == []
    inside = client_of(server, "ida", groups="people, sales")
    eventually(lambda: roles_of(inside, "shop") == ["admin"])
    assert roles_of(inside, "core") == []
    outside = client_of(server, "ida", groups="people")
    eventually(lambda: roles_of(outside, "shop") == [])


def test_a_group_makes_admins_of_everything_and_takes_it_again(server):
    jana = client_of(server, "jana", groups="platform")
    eventually(lambda: roles_of(jana, "core") == ["admin"])
    jana = client_of(server, "jana", groups="sales")
    eventually(lambda: roles_of(jana, "core") == [])


def test_a_role_of_groups_is_not_held_without_them(server, root):
    kurt = client_of(server, "kurt")
    body = {"userId": kurt.id, "role": "admin"}
    root.post("/api/v1/apps/core/roles/assign", json=body).raise_for_status()
    kurt = client_of(server, "kurt", name="Kurt")
    eventually(lambda: roles_of(kurt, "core") == [])


def test_the_last_admin_stays_without_the_group(make_server):
    groups = {"platform": ["core:admin"]}
    server = make_server(behind_proxy(secret=SECRET, groups=groups))
    root = client_of(server, "root")
    assert roles_of(root, "core") == ["admin"]


# The plugin


def test_it_is_off_until_it_is_named_and_does_not_go_with_passwords(make_server):
    kernel = load(load_config(environ={}))
    assert {info.name: info.state for info in kernel.plugins}["identity_header"] == "off"
    with pytest.raises(BootError) as error:
        make_server({"plugins": {"identity_header": {"secret": SECRET}},
                     "services": {"identity": "identity_header"}})  # fmt: skip
    assert "GET /api/v1/auth/me is already plugin" in str(error.value)


@pytest.mark.parametrize(
    ("config", "said"), [({"secret": SECRET}, 0), ({"trusted": ["10.0.0.7"]}, 1)]
)
def test_doctor_warns_of_addresses_alone(config, said):

    tree = {f"plugins.{name}": table for name, table in behind_proxy(**config)["plugins"].items()}
    kernel = load(load_config(environ={}, overrides=tree))
    reported = [
        remark
        for plugin, remarks in kernel.bus.collect(hookspecs.diagnose, query=lambda *_: None)
        if plugin == "identity_header"
        for remark in remarks
    ]
    assert len(reported) == said


EVIL = "https://evil.example"


@pytest.fixture(scope="module")
def behind_a_page(postgres):
    config = behind_proxy(secret=SECRET, origins=["https://page.example"])
    with running_server(postgres, config) as running:
        yield running


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": EVIL, "sec-fetch-site": "cross-site"}, 403),
        ({"origin": EVIL}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://["}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"origin": "https://sub.example.org", "sec-fetch-site": "same-site"}, 403),
        ({"origin": EVIL, "sec-fetch-site": "same-origin"}, 400),
        ({"origin": "https://page.example"}, 400),
        ({"origin": "http://OWN"}, 400),
        ({}, 400),
    ],
)
def test_a_page_of_another_writes_nothing_with_the_users_cookie(behind_a_page, headers, status):
    root = client_of(behind_a_page, "root")
    own = behind_a_page.url.removeprefix("http://")
    headers = {name: value.replace("OWN", own) for name, value in headers.items()}
    # A body that a form can post, to a route that takes any: bad content is met after the guard.
    root.post("/api/v1/apps", json={"appId": "demo", "name": "Demo"})
    answer = root.post("/api/v1/apps/demo/deploy", content=b"x", headers=headers)
    assert answer.status_code == status, answer.text
    assert root.get("/api/v1/auth/me", headers=headers).status_code == 200
