"""The same for the plugins of contrib/: what one is sent and answers, by plugin.

`python -m docs.story_contrib contrib URL` plays it on a fresh server of `docs/contrib.toml`, `proxy
URL` on one of `docs/proxy.toml`. A sign-in needs a provider: what oidc answers is compared by its
own tests.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from docs.story import API, APP, MANIFEST, PASSWORD, RECORDED, Story, read, write

EXAMPLES = RECORDED.with_name("examples_contrib.json")
"""By plugin, then by route: one that takes another's place has the same routes."""
CRON = {"name": "report", "schedule": "0 6 * * MON", "method": "send_report"}
SENT_BY_PROXY = {"x-proxy-secret": "put a secret of the proxy's here", "x-forwarded-user": "alice"}
Examples = dict[str, dict[str, Any]]


def play_contrib(url: str) -> Examples:
    """Ask cron, metrics and openapi."""
    stories = {plugin: Story(url) for plugin in ("cron", "metrics", "openapi")}
    token = _prepared(Story(url))
    _crons(stories["cron"], {"token": token, "app_id": "crm", "cron": CRON["name"]})
    stories["metrics"].ask("GET /metrics", token=token)
    _documents(stories["openapi"], token)
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
        story.ask(f"POST {API}/apps", MANIFEST | {"crons": [CRON]}, token=token)
    return token


def _crons(story: Story, more: Mapping[str, Any]) -> None:
    crons = f"{APP}/crons"
    story.ask(f"GET {crons}", **more)
    story.ask(f"POST {crons}/{{cron}}/trigger", status=201, **more)
    story.ask(f"GET {crons}/{{cron}}/upcoming", **more)
    story.ask(f"GET {crons}/{{cron}}/runs", query="?limit=1", **more)
    story.ask(f"PATCH {crons}/{{cron}}", {"enabled": False}, **more)


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
