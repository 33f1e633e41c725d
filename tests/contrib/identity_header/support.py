"""Servers behind a proxy, and clients as the proxy lets them through."""

from kernel.testing import Client

SECRET = "the proxy's own secret"
REPORTED = {"email_header": "X-Forwarded-Email", "name_header": "X-Forwarded-Name"}
OWNER = {
    "name": "owner", "type": "entity_link", "on_delete": "restrict",
    "references": {"entity": "core:users", "field": "id"},
}  # fmt: skip
NOTES = {
    "appId": "notes",
    "name": "Notes",
    "dataContract": [{"entityName": "notes", "fields": [OWNER]}],
}
"""An app whose records keep their owner from being deleted."""
CHOSEN = {"identity": "identity_header"}


def behind_proxy(**config):
    """A configuration; `config` is the plugin's."""
    return {
        "services": CHOSEN,
        "plugins": {"auth": {"enabled": False}, "identity_header": {**REPORTED, **config}},
    }


OVERRIDES = behind_proxy(secret=SECRET)


def headers_of(user, /, **more):
    """What the proxy sends: `groups="a,b"` becomes `X-Forwarded-Groups`."""
    reported = {f"x-forwarded-{key}": value for key, value in more.items()}
    return {"x-forwarded-user": user, "x-proxy-secret": SECRET, **reported}


def client_of(server, user, /, **more):
    """A client that the proxy signs in."""
    client = Client(base_url=server.url, timeout=60, headers=headers_of(user, **more))
    server._clients.append(client)
    answer = client.get("/api/v1/auth/me")
    assert answer.status_code == 200, answer.text
    client.id, client.username = answer.json()["id"], answer.json()["username"]
    return client
