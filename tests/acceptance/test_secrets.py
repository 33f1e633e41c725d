"""Secrets over HTTP, as the contract defines them."""

import uuid

import pytest

from tests.waiting import eventually


@pytest.fixture
def app(server):
    app_id = f"sec{uuid.uuid4().hex[:8]}"
    server.admin.post("/api/v1/apps", json={"appId": app_id, "name": "x"}).raise_for_status()
    return app_id


@pytest.fixture(params=["app", "platform"])
def place(request, app):
    of_app = (f"/api/v1/apps/{app}/secrets", "secret")
    return of_app if request.param == "app" else ("/api/v1/platform/secrets", "platform secret")


def test_set_list_delete(server, place):
    path, kind = place
    for key in ("STRIPE_SECRET_KEY", "OPENAI_API_KEY", "OPENAI_API_KEY"):
        answer = server.admin.post(path, json={"key": key, "value": "sk-value"})
        assert (answer.status_code, answer.json()) == (200, {"message": f"{kind} '{key}' set"})
    names = server.admin.get(path).json()
    assert names == sorted(names)
    assert {"OPENAI_API_KEY", "STRIPE_SECRET_KEY"} <= set(names)
    answer = server.admin.delete(f"{path}/OPENAI_API_KEY")
    assert (answer.status_code, answer.json()) == (
        200,
        {"message": f"{kind} 'OPENAI_API_KEY' deleted"},
    )
    assert server.admin.delete(f"{path}/OPENAI_API_KEY").status_code == 404
    server.admin.delete(f"{path}/STRIPE_SECRET_KEY").raise_for_status()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"key": "A"},
        {"value": "x"},
        {"key": 1, "value": "x"},
        {"key": "A", "value": 1},
        {"key": "A", "value": None},
        {"key": "LD_PRELOAD", "value": "x"},
        {"key": "A B", "value": "x"},
        {"key": "A", "value": "\0"},
        {"key": "A", "value": "x" * (64 * 1024 + 1)},
        {"key": "A", "value": "x" * 1_000_000},
        [],
    ],
)
def test_bad_input_is_a_400(server, place, body):
    answer = server.admin.post(place[0], json=body)
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]


def test_the_longest_value_is_accepted(server, place):
    body = {"key": "LONG", "value": "x" * (64 * 1024)}
    assert server.admin.post(place[0], json=body).status_code == 200


def test_only_admins_reach_secrets(server, app):
    stranger, member = server.user(), server.user()
    role = {"name": "reader", "permissions": ["*"]}
    server.admin.post(f"/api/v1/apps/{app}/roles", json=role).raise_for_status()
    assign = {"userId": member.id, "role": "reader"}
    server.admin.post(f"/api/v1/apps/{app}/roles/assign", json=assign).raise_for_status()
    for client in (stranger, member):
        for path in (f"/api/v1/apps/{app}/secrets", "/api/v1/platform/secrets"):
            assert client.get(path).status_code == 403
            assert client.post(path, json={"key": "A", "value": "x"}).status_code == 403
            assert client.delete(f"{path}/A").status_code == 403
    assert server.http.get("/api/v1/platform/secrets").status_code == 401


def test_an_app_admin_reaches_the_own_app_only(server, app):
    owner = server.user()
    assign = {"userId": owner.id, "role": "admin"}
    server.admin.post(f"/api/v1/apps/{app}/roles/assign", json=assign).raise_for_status()
    assert owner.get(f"/api/v1/apps/{app}/secrets").json() == []
    assert owner.get("/api/v1/platform/secrets").status_code == 403


@pytest.mark.parametrize("app_id", ["nothere", "core", "_platform", "platform"])
def test_an_app_that_is_not_installed_is_a_404(server, app_id):
    assert server.admin.get(f"/api/v1/apps/{app_id}/secrets").status_code == 404
    body = {"key": "A", "value": "x"}
    assert server.admin.post(f"/api/v1/apps/{app_id}/secrets", json=body).status_code == 404


def test_writes_are_audited_by_name_only(server, app):
    path = f"/api/v1/apps/{app}/secrets"
    server.admin.post(path, json={"key": "SENT", "value": "hush-hush"}).raise_for_status()
    server.admin.delete(f"{path}/SENT").raise_for_status()
    rows = server.admin.get(
        "/api/v1/audit", params={"app_id": "core", "entity": "secrets", "record_id": f"{app}/SENT"}
    )
    assert [row["operation"] for row in rows.json()] == ["SECRET_DELETED", "SECRET_SET"]
    assert "hush" not in rows.text


def test_a_secret_set_at_one_server_is_there_at_the_other(make_server, tmp_path):
    one = make_server(data_dir=tmp_path)
    two = make_server(dsn=one.dsn, data_dir=tmp_path)
    one.admin.post("/api/v1/apps", json={"appId": "both", "name": "x"}).raise_for_status()
    path = "/api/v1/apps/both/secrets"
    one.admin.post(path, json={"key": "K", "value": "x"}).raise_for_status()
    admin = two.login("admin")
    # The other server learns of the app by a notification. Then it also has the secret.
    answer = eventually(lambda: (answer := admin.get(path)).status_code != 404 and answer)
    assert answer.json() == ["K"]
