"""Sessions end when they are not used, and at the latest some days after the login."""

import time

import msgspec
import pytest

from plugins.auth.tokens import RefreshClaims
from tests.plugins.auth.test_tokens import _payload

DAY = 86_400


@pytest.fixture
def session(server):
    return server.login(server.user().username)


def refresh(server, token):
    return server.http.post("/api/v1/auth/refresh", json={"refreshToken": token})


def age(server, client, **columns):
    """Move times of a session into the past, by days."""
    for column, days in columns.items():
        server.sql(
            f"update caudex_auth.sessions set {column} = {column} - make_interval(days => %s)"
            " where user_id = %s",
            days,
            client.id,
        )


def days_left(token):
    claims = msgspec.json.decode(_payload(token), type=RefreshClaims)
    return (claims.exp - time.time()) / DAY


def test_refresh_token_expires_14_days_after_its_issue(server, session):
    assert days_left(session.tokens["refreshToken"]) == pytest.approx(14, abs=0.01)
    answer = refresh(server, session.tokens["refreshToken"]).json()
    assert days_left(answer["refreshToken"]) == pytest.approx(14, abs=0.01)


def test_refresh_token_expires_at_the_latest_30_days_after_the_login(server, session):
    age(server, session, created_at=20)
    answer = refresh(server, session.tokens["refreshToken"]).json()
    assert days_left(answer["refreshToken"]) == pytest.approx(10, abs=0.01)


def test_session_that_was_not_used_for_14_days_has_expired(server, session):
    age(server, session, created_at=13, last_used_at=13)
    assert refresh(server, session.tokens["refreshToken"]).status_code == 200
    age(server, session, last_used_at=14)
    answer = refresh(server, session.tokens["refreshToken"])
    assert (answer.status_code, "expired" in answer.json()["error"]) == (401, True)


def test_session_that_is_used_every_day_expires_after_30(server, session):
    token = session.tokens["refreshToken"]
    for _ in range(3):
        age(server, session, created_at=9)
        answer = refresh(server, token)
        assert answer.status_code == 200
        token = answer.json()["refreshToken"]
    age(server, session, created_at=4)
    answer = refresh(server, token)
    assert (answer.status_code, "expired" in answer.json()["error"]) == (401, True)


def test_access_token_does_not_outlive_the_session(server, session):
    server.sql(
        "update caudex_auth.sessions set created_at = now() - interval '30 days' + interval '60 s'"
        " where user_id = %s",
        session.id,
    )
    assert 50 < refresh(server, session.tokens["refreshToken"]).json()["expiresIn"] <= 60


@pytest.mark.slow
def test_limits_are_configurable_and_hold_for_sessions_that_began_before(make_server, tmp_path):
    before = make_server(data_dir=tmp_path)
    client = before.login(before.user().username)
    config = {"plugins": {"auth": {"session_idle": 3 * DAY, "session_max": 5 * DAY}}}
    server = make_server(config, data_dir=tmp_path, dsn=before.dsn)
    token = client.tokens["refreshToken"]
    assert days_left(refresh(server, token).json()["refreshToken"]) == pytest.approx(3, abs=0.01)
    age(before, client, last_used_at=4)
    assert refresh(server, token).status_code == 401
    assert refresh(before, token).status_code == 200


@pytest.mark.slow
def test_short_limits_end_a_login_without_a_refresh(make_server):
    server = make_server({"plugins": {"auth": {"session_idle": 2}}})
    client = server.login(server.user().username)
    assert client.tokens["expiresIn"] == 2
    time.sleep(2.2)
    assert client.get("/api/v1/auth/me").status_code == 401
    assert refresh(server, client.tokens["refreshToken"]).status_code == 401


@pytest.mark.parametrize("name", ["session_idle", "session_max"])
def test_limits_are_positive(make_server, name):
    from kernel.errors import BootError

    with pytest.raises(BootError, match=name):
        make_server({"plugins": {"auth": {name: 0}}})
