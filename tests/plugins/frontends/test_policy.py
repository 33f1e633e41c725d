"""The content security policy, and what may widen it."""

from typing import Any

import pytest

from kernel.testing import MakeServer
from plugins.frontends.config import FrontendsConfig
from plugins.frontends.policy import Policy
from tests.plugins.frontends.support import SITE, Host, deploy, install

API = "https://api.example.com"


def policy(allowed: dict[str, Any], wishes: dict[str, list[str]]) -> tuple[dict[str, str], int]:
    """The directives of an app with these wishes, and how many of them were ignored."""
    made = Policy(FrontendsConfig(csp_allow=allowed))
    header = made.make_header({"csp": wishes}).decode()
    directives = dict(part.strip().split(" ", 1) for part in header.split(";"))
    return directives, len(made.list_ignored({"csp": wishes}))


def test_what_the_operator_allows_is_added() -> None:
    directives, ignored = policy({"connect-src": [API]}, {"connect-src": [API, "'self'"]})
    assert (directives["connect-src"], ignored) == (f"'self' {API}", 0)
    directives, ignored = policy({"font-src": [API]}, {"font-src": [API]})
    assert (directives["font-src"], ignored) == (f"'self' {API}", 0)


def test_nothing_is_added_by_default() -> None:
    directives, ignored = policy({}, {"connect-src": [API], "img-src": ["https://x.example"]})
    assert (directives["connect-src"], directives["img-src"]) == ("'self'", "'self' data: blob:")
    assert ignored == 2


def test_a_star_allows_hosts_and_no_more() -> None:
    wishes = [API, "wss://live.example.com", "data:", "*", "https:", "'unsafe-eval'"]
    directives, ignored = policy({"connect-src": ["*"]}, {"connect-src": wishes})
    assert directives["connect-src"] == f"'self' {API} wss://live.example.com"
    assert ignored == 4


@pytest.mark.parametrize("name", ["frame-ancestors", "base-uri", "object-src", "form-action"])
def test_some_directives_are_never_widened(name: str) -> None:
    before, _ = policy({}, {})
    directives, ignored = policy({}, {name: [API]})
    assert (directives, ignored) == (before, 1)


@pytest.mark.parametrize(
    "source", ["'unsafe-inline'", "'unsafe-eval'", "data:", "blob:", "*", "'wasm-unsafe-eval'"]
)
def test_unsafe_scripts_are_never_allowed(source: str) -> None:
    directives, ignored = policy({"script-src": ["*", "data:", "blob:"]}, {"script-src": [source]})
    assert "script-src" not in directives
    assert ignored == 1


@pytest.mark.parametrize(
    "source",
    [f"{API}; script-src *", f"{API} https://x", f"{API}\r\nx: y", f"{API}, *", "https://", "//x"],
)
def test_a_source_cannot_add_more_than_itself(source: str) -> None:
    before, _ = policy({}, {})
    directives, ignored = policy({"connect-src": ["*"]}, {"connect-src": [source]})
    assert (directives, ignored) == (before, 1)


def test_a_manifest_widens_its_own_policy(make_server: MakeServer) -> None:
    server = make_server({"plugins": {"frontends": {"csp_allow": {"connect-src": [API]}}}})
    section = {"csp": {"connect-src": [API], "img-src": ["https://x.example"]}}
    install(server, "crm", frontend=section)
    install(server, "other")
    answer = deploy(server.admin, "crm", SITE).json()
    assert answer["ignored"] == [
        "frontend.csp: img-src https://x.example is not in [plugins.frontends] csp_allow"
    ]
    deploy(server.admin, "other", SITE)
    widened = Host(server, "crm").get().headers["content-security-policy"]
    assert f"connect-src 'self' {API};" in widened
    assert API not in Host(server, "other").get().headers["content-security-policy"]
    install(server, "crm", version="2")
    narrow = Host(server, "crm").get().headers["content-security-policy"]
    assert API not in narrow, "an update of the manifest counts at once"


def test_a_section_that_cannot_be_read_is_refused(make_server: MakeServer) -> None:
    server = make_server()
    for section in ({"csp": []}, {"public": 1}, {"other": 1}, {"csp": {"img-src": "x"}}, []):
        manifest = {"appId": "crm", "name": "crm", "frontend": section}
        assert server.admin.post("/api/v1/apps", json=manifest).status_code == 400, section
