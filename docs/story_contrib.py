"""The same for the plugins of contrib/: what one is sent and answers, by plugin.

`python -m docs.story_contrib contrib URL` plays it on a fresh server of `docs/contrib.toml`, `proxy
URL` on one of `docs/proxy.toml`. A sign-in needs a provider: what oidc answers is compared by its
own tests.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

import httpx

from docs.story import API, APP, MANIFEST, PASSWORD, RECORDED, Story, deploy, read, write

EXAMPLES = RECORDED.with_name("examples_contrib.json")
"""By plugin, then by route: one that takes another's place has the same routes."""
WEBHOOKS = f"{APP}/webhooks"
SHARES = f"{APP}/public-shares"
SHARED = f"{API}/public/share"
CRON = {"name": "report", "schedule": "0 6 * * MON", "method": "send_report"}
SENT_BY_PROXY = {"x-proxy-secret": "put a secret of the proxy's here", "x-forwarded-user": "alice"}
PUBLIC = {"rpcs": [{"name": "sendWelcomeEmail", "scope": ["contactId"]}]}
Examples = dict[str, dict[str, Any]]


def play_contrib(url: str) -> Examples:
    """Ask cron, mcp, metrics, openapi, shares and webhooks."""
    plugins = ("cron", "mcp", "metrics", "openapi", "shares", "webhooks")
    stories = {plugin: Story(url) for plugin in plugins}
    token = _prepared(Story(url))
    _crons(stories["cron"], {"token": token, "app_id": "crm", "cron": CRON["name"]})
    stories["metrics"].ask("GET /metrics", token=token)
    _agent(stories["mcp"], token)
    _documents(stories["openapi"], token)
    _shares(stories["shares"], token)
    _webhooks(stories["webhooks"], token)
    return _written(stories)


def play_proxy(url: str) -> Examples:
    """Send requests to identity_header, as the proxy of a new user."""
    story, users = Story(url, SENT_BY_PROXY), f"{API}/users"
    story.ask(f"GET {API}/auth/mode")
    story.ask(f"GET {API}/auth/me")
    bob = story.ask(f"POST {users}", {"username": "bob", "email": "bob@example.com"}, status=201)
    story.ask(f"GET {users}")
    story.ask(f"PATCH {users}/{{id}}", {"disabled": True}, id=bob["id"])
    story.ask(f"DELETE {users}/{{id}}", id=bob["id"])
    return _written({"identity_header": story})


STORIES = {"contrib": play_contrib, "proxy": play_proxy}


def _prepared(story: Story) -> str:
    """Install an app with a cron and return the admin's token."""
    alice = {"username": "alice", "password": PASSWORD}
    with story.http:
        story.ask(f"POST {API}/auth/register", alice, status=201)
        token = story.ask(f"POST {API}/auth/login", alice)["accessToken"]
        manifest = MANIFEST | {"crons": [CRON], "public": PUBLIC}
        story.ask(f"POST {API}/apps", manifest, token=token)
        deploy(story, token)
    return token


def _crons(story: Story, more: Mapping[str, Any]) -> None:
    crons = f"{APP}/crons"
    story.ask(f"GET {crons}", **more)
    story.ask(f"POST {crons}/{{cron}}/trigger", status=201, **more)
    story.ask(f"GET {crons}/{{cron}}/upcoming", **more)
    story.ask(f"GET {crons}/{{cron}}/runs", query="?limit=1", **more)
    story.ask(f"PATCH {crons}/{{cron}}", {"enabled": False}, **more)


def _agent(story: Story, token: str) -> None:
    """Begin as an agent does, and find out who issues tokens."""
    client = {"name": "example", "version": "1.0"}
    greeting = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": greeting}
    story.ask(f"POST {API}/mcp", message, token=token)
    story.ask(f"GET /.well-known/oauth-protected-resource{API}/mcp")


def _shares(story: Story, token: str) -> None:
    """Share a contact, open the share as a stranger does, and revoke it."""
    more: dict[str, Any] = {"token": token, "app_id": "crm"}
    contact = _send(story, token, "POST", "collections/contacts", {"first_name": "Ada"}).json()
    record = {"entity": "contacts", "id": contact["id"]}
    context = {"contactId": contact["id"]}
    new = {"record": record, "fields": ["first_name"], "name": "Our contact", "context": context}
    share = story.ask(f"POST {SHARES}", new, status=201, **more)
    page = f"/share/{share['token']}"
    shown = story.http.get(page, headers={"accept": "text/html"})
    story.keep("GET /share/{token}", page, None, shown.status_code, shown.text)
    story.ask(f"GET {SHARED}", token=share["token"])
    story.ask(f"GET {SHARED}/info", token=share["token"])
    call = {"method": "sendWelcomeEmail", "params": context}
    story.ask(f"POST {SHARED}/rpc", call, token=share["token"])
    story.ask(f"GET {SHARES}", **more)
    story.ask(f"DELETE {SHARES}/{{id}}", id=share["id"], **more)


def _webhooks(story: Story, token: str) -> None:
    """Ask for all that can be done with a webhook; its receiver is away."""
    more: dict[str, Any] = {"token": token, "app_id": "crm"}
    url = {"key": "CRM_HOOK", "value": "http://127.0.0.1:1/hooks"}
    assert _send(story, token, "POST", "secrets", url).is_success
    new = {"name": "vips", "url": "$secret:CRM_HOOK", "entity": "contacts"}
    new |= {"where": {"tags": {"$contains": "vip"}}, "fields": ["first_name", "email"]}
    hook = story.ask(f"POST {WEBHOOKS}", new, status=201, **more)
    more["id"] = hook["id"]
    one = f"{WEBHOOKS}/{{id}}"
    story.ask(f"GET {WEBHOOKS}", **more)
    story.ask(f"GET {one}", **more)
    story.ask(f"POST {one}/test", **more)
    story.ask(f"POST {one}/rotate", **more)
    vip = {"first_name": "Alice", "tags": ["vip"]}
    assert _send(story, token, "POST", "collections/contacts", vip).is_success
    delivery = _wait_for_attempt(story, token, hook["id"])
    story.ask(f"GET {one}/deliveries", query="?limit=10", **more)
    story.ask(f"POST {one}/deliveries/{{delivery}}/retry", delivery=delivery, **more)
    since = {"since": hook["created_at"]}
    story.ask(f"POST {one}/replay", since, status=202, **more)
    story.ask(f"PATCH {one}", {"on": ["enter", "leave"], "enabled": False}, **more)
    story.ask(f"DELETE {one}", **more)


def _wait_for_attempt(story: Story, token: str, hook_id: str) -> str:
    """Return the id of the delivery, once its first attempt has failed."""
    for _ in range(600):
        rows = _send(story, token, "GET", f"webhooks/{hook_id}/deliveries").json()
        if rows and rows[0]["attempts"]:
            return rows[0]["id"]
        time.sleep(0.05)
    raise TimeoutError("nothing was sent")


def _send(story: Story, token: str, method: str, path: str, body: Any = None) -> httpx.Response:
    """Send a request that is no example."""
    headers = {"authorization": f"Bearer {token}"}
    return story.http.request(method, f"{API}/apps/crm/{path}", headers=headers, json=body)


def _documents(story: Story, token: str) -> None:
    story.ask(f"GET {API}/openapi.json", token=token)
    story.ask(f"GET {APP}/openapi.json", token=token, app_id="crm")
    story.ask(f"GET {API}/docs")
    story.ask(f"GET {API}/docs/{{file}}", file="page.js")


def _written(stories: Mapping[str, Story]) -> Examples:
    for story in stories.values():
        story.http.close()
    return {plugin: story.examples for plugin, story in stories.items()}


def main() -> int:
    """Play a story on the server of a command line's address, a fresh one, and write it down."""
    if len(sys.argv) != 3 or sys.argv[1] not in STORIES:
        print("usage: python -m docs.story_contrib contrib|proxy http://127.0.0.1:9100")
        return 2
    write({**read(EXAMPLES), **STORIES[sys.argv[1]](sys.argv[2])}, EXAMPLES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
