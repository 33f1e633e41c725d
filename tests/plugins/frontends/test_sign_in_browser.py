"""A user signs in on the server's page, and is back at the app."""

from __future__ import annotations

import pytest

from kernel.testing import PASSWORD, Server
from tests.plugins.console.browser import Pages, chromium, needs_browser
from tests.plugins.frontends.support import deployed

pytestmark = [needs_browser, pytest.mark.slow]

SITE = {"index.html": "<!doctype html><title>app</title><p>a page of an app"}


def test_a_password_is_entered_at_the_server_once_for_all_apps(server: Server) -> None:
    first = deployed(server, SITE, frontend={"public": False})
    second = deployed(server, SITE)
    user = server.user(permissions={first.app_id: ["*"]})
    with chromium() as browser:
        page = Pages(browser).new()
        page.goto(f"http://{first.name}/boards/7?a=b")
        page.wait_for_url(f"{server.url}/console/**")
        page.fill("[name=username]", user.username)
        page.fill("[name=password]", PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url(f"http://{first.name}/boards/7?a=b")
        page.wait_for_selector("text=a page of an app")
        me = """async () => {
            const { accessToken } = await (await fetch('/_auth/session')).json();
            const headers = { authorization: `Bearer ${accessToken}` };
            return (await (await fetch('/api/v1/auth/me', { headers })).json()).username;
        }"""
        assert page.evaluate(me) == user.username

        page.goto(f"http://{second.name}/_auth/sign-in?return_to=/other")
        page.wait_for_url(f"http://{second.name}/other")
        assert page.evaluate(me) == user.username

        signed_out = page.evaluate(
            "fetch('/_auth/sign-out', {method: 'POST'}).then((answer) => answer.status)"
        )
        assert signed_out == 200
        assert page.evaluate("fetch('/_auth/session').then((answer) => answer.status)") == 401
        page.goto(f"http://{first.name}/")
        assert page.evaluate(me) == user.username
        page.context.close()


def test_what_the_console_must_ask_first_is_asked_there(server: Server) -> None:
    """A password that an admin has set must be changed before the app is opened."""
    host = deployed(server, SITE)
    user = server.user()
    temporary = "T3mporary-Passw0rd"
    changed = server.admin.patch(f"/api/v1/users/{user.id}", json={"password": temporary})
    assert changed.status_code == 200
    with chromium() as browser:
        page = Pages(browser).new()
        page.goto(f"http://{host.name}/_auth/sign-in")
        page.fill("[name=username]", user.username)
        page.fill("[name=password]", temporary)
        page.keyboard.press("Enter")
        page.wait_for_selector("text=Open the console")
        assert "password change required" in page.inner_text("[role=alert]")
        page.context.close()
