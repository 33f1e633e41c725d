"""Health and status over HTTP."""

import pytest

from kernel.public import POOL
from kernel.testing import Server

STATES = {"Online", "Offline", "Starting", "Stopping", "Error"}


def test_health_is_public(server: Server):
    answer = server.http.get("/health")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok"}


def test_ready_is_public(server: Server):
    answer = server.http.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ready"


def test_health_is_outside_of_the_api(server: Server):
    assert server.http.get("/api/v1/health").status_code == 404


def test_status_needs_a_token_and_no_role(server: Server):
    assert server.http.get("/api/v1/status").status_code == 401
    assert server.user().get("/api/v1/status").status_code == 200


def test_status_has_the_shape_of_the_contract(server: Server):
    status = server.admin.get("/api/v1/status").json()
    assert set(status["runtime"]) == {"version", "state"}
    assert status["runtime"]["version"].count(".") == 2
    assert status["runtime"]["state"] == "Online"
    assert status["postgres"] == {"state": "Online", "port": None}
    assert status["forge"] == {"state": "Offline", "port": None}
    assert {entry["state"] for entry in status.values()} <= STATES


@pytest.fixture
def without_database(server: Server):
    pool = server.services.get(POOL)
    _ = server.admin
    pool.online = False
    yield
    pool.online = True


@pytest.mark.usefixtures("without_database")
def test_without_its_database_the_server_lives_and_is_not_ready(server: Server):
    assert server.http.get("/health").status_code == 200
    answer = server.http.get("/health/ready")
    assert answer.status_code == 503
    assert "postgres" in answer.json()["error"]
    assert answer.headers["retry-after"].isdecimal()
