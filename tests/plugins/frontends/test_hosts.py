"""Which host belongs to which app, on servers with names."""

from typing import Any

import httpx
import pytest

from kernel.errors import BadRequest, BootErrors
from kernel.testing import MakeServer
from plugins.frontends.config import FrontendsConfig
from plugins.frontends.diagnosis import diagnose
from plugins.frontends.hosts import Hosts, to_label
from tests.plugins.frontends.support import SITE, deploy, install


def hosts(**config: Any) -> Hosts:
    return Hosts(FrontendsConfig(**config), 9100)


@pytest.mark.parametrize(
    ("app_id", "label"),
    [
        ("crm", "crm"), ("task_manager", "task-manager"), ("a", "a"), ("a1", "a1"),
        ("odd_", None), ("xn__app", None), ("ab__c", None), ("a__b", "a--b"), ("a" * 63, "a" * 63),
    ],
)  # fmt: skip
def test_labels(app_id: str, label: str | None) -> None:
    assert to_label(app_id) == label


def test_apps_of_hosts() -> None:
    found = hosts(domain="apps.example.com:8443", hosts={"crm.example.org": "old_crm"})
    cases = {
        "crm.apps.example.com": "crm",
        "task-manager.apps.example.com": "task_manager",
        "crm.localhost": "crm",
        "crm.example.org": "old_crm",
        "apps.example.com": None,
        "localhost": None,
        "example.com": None,
        "evilapps.example.com": None,
        "crm.apps.example.com.evil.example": None,
    }
    for host, app_id in cases.items():
        assert found.find_app(host) == app_id, host
    for host in ("a.b.apps.example.com", "task_manager.localhost", "-a.localhost", ".localhost"):
        with pytest.raises(BadRequest):
            found.find_app(host)


def test_addresses_come_from_the_configuration() -> None:
    named = hosts(domain="apps.example.com:8443", hosts={"crm.example.org": "crm"})
    assert named.locate("crm") == "https://crm.example.org/"
    assert named.locate("task_manager") == "https://task-manager.apps.example.com:8443/"
    assert named.locate("odd_") is None
    assert hosts(scheme="http", domain="apps.lan").locate("crm") == "http://crm.apps.lan/"
    assert hosts().locate("crm") == "http://crm.localhost:9100/"


@pytest.mark.parametrize(
    ("names", "config", "wrong"),
    [
        ({"apps.example.com"}, {"domain": "apps.example.com"}, True),
        ({"caudex.apps.example.com"}, {"domain": "apps.example.com"}, True),
        ({"crm.example.org"}, {"hosts": {"crm.example.org": "crm"}}, True),
        ({"example.com", "myapps.example.com"}, {"domain": "apps.example.com"}, False),
        ({"apps.example.com"}, {"domain": "apps.example.com", "mode": "path"}, False),
    ],
)
def test_the_servers_own_names_are_no_hosts_of_apps(
    names: set[str], config: dict[str, Any], wrong: bool
) -> None:
    assert bool(list(hosts(**config).check_server_names(names))) == wrong


@pytest.mark.parametrize(
    ("name", "domain", "shared"),
    [
        ("caudex.example.com", "apps.example.com", "example.com"),
        ("caudex.example.com", "apps.example.net", None),
        ("caudex.example.co.uk", "apps.other.co.uk", None),
        ("caudex.example.co.uk", "apps.example.co.uk", "example.co.uk"),
        ("10.0.0.1", "apps.example.com", None),
    ],
)
def test_a_domain_that_both_share(name: str, domain: str, shared: str | None) -> None:
    assert hosts(domain=domain).find_shared_domain({name}) == shared


def test_a_server_whose_name_is_under_the_domain_does_not_start(make_server: MakeServer) -> None:
    config = {
        "server": {"allowed_hosts": ["caudex.example.com"]},
        "plugins": {"frontends": {"domain": "example.com"}},
    }
    with pytest.raises(BootErrors, match=r"caudex\.example\.com is not to be example\.com"):
        make_server(config)


def test_a_server_with_a_domain(make_server: MakeServer) -> None:
    server = make_server(
        {
            "server": {"allowed_hosts": ["caudex.example.org"]},
            "plugins": {
                "frontends": {"domain": "apps.example.com", "hosts": {"odd.example.net": "odd_"}}
            },
        }
    )
    install(server, "crm")
    install(server, "odd_")
    url = deploy(server.admin, "crm", SITE).json()["url"]
    assert url == "https://crm.apps.example.com/"
    assert deploy(server.admin, "odd_", SITE).json()["url"] == "https://odd.example.net/"

    def ask(host: str, path: str = "/") -> httpx.Response:
        server.http.cookies.clear()
        return server.http.get(path, headers={"host": host}, follow_redirects=False)

    page = ask("CRM.apps.example.com.:443")
    assert page.text == SITE["index.html"]
    cookie = page.headers["set-cookie"]
    assert cookie.startswith("__Host-caudex_app=")
    assert cookie.endswith("; Path=/; Max-Age=34560000; HttpOnly; SameSite=Lax; Secure")
    assert ask("odd.example.net").status_code == 200
    assert ask("crm.localhost").status_code == 200
    assert ask("other.apps.example.com").status_code == 404
    assert ask("a.b.apps.example.com").status_code == 400
    assert ask("apps.example.com").status_code == 400
    assert ask("evil.example").status_code == 400
    assert ask("caudex.example.org", "/health").status_code == 200
    for name in ("caudex.example.org", "127.0.0.1:1"):
        led = ask(name, "/apps/crm/deals?x=1")
        location = "https://crm.apps.example.com/deals?x=1"
        assert (led.status_code, led.headers["location"]) == (307, location)
    [shown] = [app for app in server.admin.get("/api/v1/apps").json() if app["id"] == "crm"]
    assert shown["url"] == url


def test_paths_of_one_host(make_server: MakeServer) -> None:
    server = make_server({"plugins": {"frontends": {"mode": "path"}}})
    install(server, "crm")
    admin = server.user(roles={"crm": ["admin"]})
    assert deploy(admin, "crm", SITE).status_code == 403, "only core admins deploy"
    answer = deploy(server.admin, "crm", SITE)
    assert (answer.status_code, answer.json()["url"]) == (200, "/apps/crm/")
    body = {"version": 1}
    rollback = "/api/v1/apps/crm/frontend/rollback"
    assert admin.post(rollback, json=body).status_code == 403
    assert server.admin.post(rollback, json=body).status_code == 200
    led = server.http.get("/apps/crm?x=1", follow_redirects=False)
    assert (led.status_code, led.headers["location"]) == (307, "/apps/crm/?x=1")
    for path in ("/apps/crm/", "/apps/crm/deals/1"):
        page = server.http.get(path)
        assert page.text == SITE["index.html"]
        assert "set-cookie" not in page.headers
        assert "frame-ancestors 'self'" in page.headers["content-security-policy"]
    script = server.http.get("/apps/crm/assets/index-DiwrgTda.js")
    assert script.text == SITE["assets/index-DiwrgTda.js"]
    assert server.http.get("/apps/crm/missing.js").status_code == 404
    assert server.http.get("/apps/other/").status_code == 404
    assert server.http.get("/", headers={"host": "crm.localhost"}).status_code == 400
    install(server, "crm", frontend={"public": False})
    assert server.http.get("/apps/crm/").status_code == 403, "a path cannot ask who reads"


def findings(names: set[str], **config: Any) -> list[tuple[str, str]]:
    found = diagnose(FrontendsConfig(**config), hosts(**config), names)
    return [(finding.state, finding.text) for finding in found]


def test_the_doctor_names_what_pages_share() -> None:
    [(state, text)] = findings({"localhost"})
    assert (state, "localhost" in text) == ("ok", True)
    [(state, text)] = findings({"caudex.example.com"}, domain="apps.example.com")
    assert (state, "share example.com" in text) == ("warn", True)
    [(state, text)] = findings({"caudex.example.com"}, domain="apps.example.net")
    assert (state, "apps.example.net" in text) == ("ok", True)
    [(state, text)] = findings({"x.apps.example.com"}, domain="apps.example.com")
    assert state == "fail"
    [(state, text)] = findings({"caudex.example.com"}, mode="path")
    assert (state, "only core admins" in text) == ("warn", True)
