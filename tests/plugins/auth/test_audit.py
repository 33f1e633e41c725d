"""What happens to accounts and sessions is reported, and secrets never are."""

import json

import pytest

PASSWORD = "Str0ngPass!x"

RECORDER = """
from kernel.public import Plugin, hookimpl, for_subjects

class Recorder(Plugin):
    name = "recorder"

    def __init__(self, config, context):
        super().__init__(config, context)
        self.events = []

    @hookimpl
    @for_subjects("core.users", "core.sessions")
    async def event_recorded(self, tx, event):
        self.events.append(event)
"""


@pytest.fixture
def reported(make_server, tmp_path):
    (tmp_path / "recorder.py").write_text(RECORDER)
    server = make_server({"server": {"plugins_dir": str(tmp_path)}})
    assert server.admin
    [plugin] = [p for p in server.kernel.instances if p.name == "recorder"]
    plugin.events.clear()
    return server, plugin.events


def operations(events):
    return [(event.entity, event.operation) for event in events]


def test_the_life_of_an_account_is_reported(reported):
    server, events = reported
    user = server.user("hilda")
    assert operations(events) == [("users", "REGISTER"), ("sessions", "LOGIN")]
    assert {event.actor.user_id for event in events} == {user.id}
    assert events[0].record_id == user.id
    assert json.loads(events[0].new)["username"] == "hilda"
    events.clear()

    path = f"/api/v1/users/{user.id}"
    server.http.post("/api/v1/auth/login", json={"username": "hilda", "password": "Wr0ng"})
    user.post("/api/v1/auth/password", json={"current": PASSWORD, "new": "N3wPassword!"})
    server.http.post("/api/v1/auth/logout", json={"refreshToken": user.tokens["refreshToken"]})
    server.admin.patch(path, json={"display_name": "Hilda"})
    server.admin.patch(path, json={"disabled": True})
    server.admin.patch(path, json={"disabled": False})
    server.admin.delete(path)
    assert operations(events) == [
        ("users", "LOGIN_FAILED"),
        ("users", "PASSWORD_CHANGED"),
        ("sessions", "LOGOUT"),
        ("users", "USER_UPDATED"),
        ("users", "USER_DISABLED"),
        ("users", "USER_ENABLED"),
        ("users", "USER_DELETED"),
    ]
    assert events[0].record_id == user.id
    assert events[-1].actor.user_id == server.admin.id
    assert json.loads(events[3].old)["display_name"] is None
    assert json.loads(events[3].new)["display_name"] == "Hilda"


def test_a_stolen_refresh_token_is_reported(reported):
    server, events = reported
    first = server.user().tokens["refreshToken"]
    token = first
    for _ in range(3):
        answer = server.http.post("/api/v1/auth/refresh", json={"refreshToken": token})
        token = answer.json()["refreshToken"]
    events.clear()
    server.http.post("/api/v1/auth/refresh", json={"refreshToken": first})
    assert operations(events) == [("sessions", "SESSION_REVOKED")]
    assert "again" in json.loads(events[0].new)["reason"]


def test_no_event_holds_a_secret_or_what_was_typed_as_a_name(reported):
    server, events = reported
    user = server.user()
    typed = "MyPassw0rdInTheWrongField"
    for name in (typed, user.username):
        server.http.post("/api/v1/auth/login", json={"username": name, "password": "Wr0ngPass!x"})
    user.post("/api/v1/auth/password", json={"current": PASSWORD, "new": "N3wPassword!"})
    reported_text = "".join(f"{event}" for event in events)
    assert "LOGIN_FAILED" in reported_text
    for secret in (typed, PASSWORD, "Wr0ngPass!x", "N3wPassword!", "argon2", "eyJ"):
        assert secret not in reported_text
