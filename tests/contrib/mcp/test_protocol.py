"""Messages of both versions, and each way in which one can be wrong."""

from __future__ import annotations

import json

import pytest

from kernel.testing import Server
from tests.contrib.mcp.support import LEGACY, MODERN, PATH, Agent, message


def test_the_newer_version_needs_no_handshake(admin: Agent) -> None:
    found = admin.ask("server/discover")
    assert found["supportedVersions"] == [MODERN, LEGACY]
    assert found["resultType"] == "complete"
    assert found["capabilities"] == {"tools": {}, "resources": {}}
    assert found["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "caudex"
    listed = admin.ask("tools/list")
    assert listed["cacheScope"] == "private"
    assert listed["ttlMs"] > 0


def test_the_older_version_begins_with_a_handshake(server: Server) -> None:
    agent = Agent(server.admin, era=LEGACY)
    client = {"name": "old", "version": "1"}
    begun = agent.ask(
        "initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
    )
    assert begun["protocolVersion"] == LEGACY
    assert begun["serverInfo"]["name"] == "caudex"
    notification = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    taken = server.admin.post(PATH, json=notification)
    assert (taken.status_code, taken.content) == (202, b"")
    assert "mcp-session-id" not in taken.headers
    assert agent.ask("ping") == {}
    assert "resultType" not in agent.ask("tools/list")


def test_an_unknown_method_is_said_in_each_version(server: Server) -> None:
    for era, status in ((MODERN, 404), (LEGACY, 200)):
        answer = Agent(server.admin, era=era).post("prompts/list")
        assert answer.status_code == status
        assert answer.json()["error"]["code"] == -32601
    answer = Agent(server.admin).post("ping")
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b'"\xff"', -32700),
        (b'{"a": "\\u0000"}', -32700),
        (b"[" * 100 + b"]" * 100, -32700),
        (b"[]", -32600),
        (b"3", -32600),
        (b"{}", -32600),
        (b'{"jsonrpc": "2.0", "id": 1}', -32600),
        (b'{"jsonrpc": "1.0", "id": 1, "method": "ping"}', -32600),
        (b'{"jsonrpc": "2.0", "id": null, "method": "ping"}', -32600),
        (b'{"jsonrpc": "2.0", "id": true, "method": "ping"}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": []}', -32602),
        (b'{"jsonrpc": "2.0", "id": 1, "result": {}}', -32600),
    ],
)
def test_what_is_no_message_is_an_error_of_json_rpc(server: Server, body: bytes, code: int) -> None:
    answer = server.admin.post(PATH, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == code


def test_headers_must_say_what_the_message_says(admin: Agent) -> None:
    for headers in (
        {"mcp-protocol-version": LEGACY},
        {"mcp-method": "tools/call"},
        {"mcp-name": "other"},
        {"mcp-name": "=?base64?%%%?="},
    ):
        params = {"name": "list_apps"} if "mcp-name" in headers else None
        method = "tools/call" if "mcp-name" in headers else "tools/list"
        answer = admin.post(method, params, **headers)
        assert answer.status_code == 400, headers
        assert answer.json()["error"]["code"] == -32020
    in_base64 = {"mcp-name": "=?base64?bGlzdF9hcHBz?="}
    encoded = admin.post("tools/call", {"name": "list_apps"}, **in_base64)
    assert encoded.status_code == 200


def test_an_unsupported_version_names_the_supported_ones(server: Server) -> None:
    headers = {"mcp-protocol-version": "2024-11-05"}
    answer = server.admin.post(PATH, json=message("tools/list"), headers=headers)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["data"]["supported"]) == (-32022, [MODERN, LEGACY])
    answer = server.admin.post(
        PATH,
        json=message(
            "tools/list",
            {
                "_meta": {
                    "io.modelcontextprotocol/protocolVersion": "2099-01-01",
                    "io.modelcontextprotocol/clientCapabilities": {},
                }
            },
        ),
        headers={"mcp-protocol-version": "2099-01-01", "mcp-method": "tools/list"},
    )
    assert answer.json()["error"]["code"] == -32022


def test_the_newer_version_says_itself_in_each_request(server: Server) -> None:
    headers = {"mcp-protocol-version": MODERN, "mcp-method": "tools/list"}
    without_capabilities = {"io.modelcontextprotocol/protocolVersion": MODERN}
    for params in ({}, {"_meta": 1}, {"_meta": without_capabilities}):
        answer = server.admin.post(PATH, json=message("tools/list", params), headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32602)


def test_outside_of_messages_errors_have_the_envelope(server: Server) -> None:
    refused = server.http.post(PATH, json=message("ping"))
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert set(refused.json()) == {"error"}
    for method in ("GET", "DELETE"):
        answer = server.admin.request(method, PATH)
        assert (answer.status_code, set(answer.json())) == (405, {"error"})
    text = server.admin.post(PATH, content=b"{}", headers={"content-type": "text/plain"})
    assert (text.status_code, set(text.json())) == (400, {"error"})
    large = server.admin.post(PATH, json=message("ping", {"x": "y" * 3_000_000}))
    assert (large.status_code, set(large.json())) == (413, {"error"})


def test_only_own_and_listed_pages_may_send(make_server) -> None:
    listed = "https://agent.example.com"
    overrides = {"plugins": {"mcp": {}}, "server": {"cors_origins": [listed]}}
    server = make_server(overrides)
    own = server.url
    for origin in (listed, own):
        answer = server.admin.post(PATH, json=message("ping"), headers={"origin": origin})
        assert answer.status_code == 200, origin
    app = own.replace("127.0.0.1", "crm.localhost")
    for origin in ("null", "https://evil.example", f"{listed}.evil.example", app, listed.upper()):
        answer = server.admin.post(PATH, json=message("ping"), headers={"origin": origin})
        assert (answer.status_code, set(answer.json())) == (403, {"error"}), origin


def test_the_origin_of_an_app_is_refused_even_if_it_is_listed(make_server) -> None:
    app = "http://crm.localhost:9100"
    server = make_server({"plugins": {"mcp": {}}, "server": {"cors_origins": [app]}})
    answer = server.admin.post(PATH, json=message("ping"), headers={"origin": app})
    assert answer.status_code == 403


def test_a_key_that_asks_too_often_waits(make_server) -> None:
    server = make_server({"plugins": {"mcp": {"rate": 5}}})
    answers = [server.admin.post(PATH, json=message("ping")) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert server.user().post(PATH, json=message("ping")).status_code == 200


def test_metadata_is_there_where_a_provider_signs_users_in(make_server, server: Server) -> None:
    path = "/.well-known/oauth-protected-resource/api/v1/mcp"
    assert server.http.get(path).status_code == 404
    oidc = {
        "issuer": "https://id.example.com",
        "client_id": "caudex",
        "client_secret": "a secret of the client",
        "public_url": "https://crm.example.com/",
    }
    other = make_server({"plugins": {"mcp": {}, "oidc": oidc}})
    found = other.http.get(path).json()
    assert found["resource"] == "https://crm.example.com/api/v1/mcp"
    assert found["authorization_servers"] == ["https://id.example.com"]


def test_the_plugin_is_off_by_default(make_server) -> None:
    assert make_server().admin.post(PATH, json=message("ping")).status_code == 404


def test_an_answer_of_a_tool_is_json_text_and_structured(admin: Agent) -> None:
    result = admin.call("list_apps")
    value = json.loads(result["content"][0]["text"])
    assert result["structuredContent"] == value
    assert [app["id"] for app in value["apps"]] == ["crm"]
