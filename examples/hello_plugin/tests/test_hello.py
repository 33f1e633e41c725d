"""The plugin against a real server and database: the fixtures come with Caudex."""

import subprocess
import sys
from collections.abc import Generator
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest

from caudex import BootError, hookspecs
from kernel.testing import MakeServer, Postgres, Server, running_server

PACKAGE = Path(__file__).parents[1]
HERE = {"module": "caudex_hello:HelloPlugin"}
"""Needed only as long as the package is not installed; else an empty `[plugins.hello]` will do."""
CRM: dict[str, Any] = {
    "appId": "crm",
    "name": "CRM",
    "dataContract": [
        {"entityName": "contacts", "fields": [{"name": "first_name", "type": "text"}]}
    ],
}


@pytest.fixture(scope="module", autouse=True)
def importable() -> Generator[None]:
    """Put the package on the path, as `pip install -e .` would."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(PACKAGE), *sys.path])
        yield


@pytest.fixture(scope="module")
def hello(importable: None, postgres: Postgres) -> Generator[Server]:
    """A server with the plugin."""
    with running_server(postgres, {"plugins": {"hello": HERE}}) as running:
        yield running


def test_someone_with_the_permission_greets(hello: Server) -> None:
    user = hello.user(permissions={"core": ["hello.greet", "hello.read"]})
    answer = user.post("/api/v1/hello", json={"name": "World"})
    assert (answer.status_code, answer.json()["text"]) == (201, "Hello, World!")
    assert user.get("/api/v1/hello?limit=1").json() == [answer.json()]


def test_one_permission_is_not_the_other(hello: Server) -> None:
    user = hello.user(permissions={"core": ["hello.read"]})
    assert user.get("/api/v1/hello").status_code == 200
    assert user.post("/api/v1/hello", json={"name": "World"}).status_code == 403


def test_without_a_token_no_user_is_greeted(hello: Server) -> None:
    assert hello.http.post("/api/v1/hello", json={"name": "World"}).status_code == 401


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": 1}, {"name": "x", "age": 3}, []])
def test_a_body_that_breaks_the_rules_is_refused(hello: Server, body: object) -> None:
    answer = hello.admin.post("/api/v1/hello", json=body)
    assert (answer.status_code, list(answer.json())) == (400, ["error"])


def test_a_new_contact_is_greeted(hello: Server) -> None:
    hello.install(CRM)
    recorder = hello.record_hooks(hookspecs.event_committed)
    contacts = "/api/v1/apps/crm/collections/contacts"
    assert hello.admin.post(contacts, json={"first_name": "Alice"}).status_code == 201
    recorder.wait(plugin="hello")
    assert hello.admin.get("/api/v1/hello?limit=1").json()[0]["text"] == "Hello, Alice!"


def test_the_word_is_configured(make_server: MakeServer) -> None:
    server = make_server({"plugins": {"hello": {**HERE, "word": "Ahoy", "greet_contacts": False}}})
    answer = server.admin.post("/api/v1/hello", json={"name": "World"})
    assert answer.json()["text"] == "Ahoy, World!"
    server.install(CRM)
    server.admin.post("/api/v1/apps/crm/collections/contacts", json={"first_name": "Alice"})
    assert len(server.admin.get("/api/v1/hello").json()) == 1


def test_an_unknown_key_stops_the_boot_and_names_the_nearest(make_server: MakeServer) -> None:
    with pytest.raises(BootError, match=r"\[plugins.hello\]: unknown key 'wort'.*'word'"):
        make_server({"plugins": {"hello": {**HERE, "wort": "Ahoy"}}})


def test_the_permissions_can_be_looked_up(hello: Server) -> None:
    available = hello.admin.get("/api/v1/apps/core/permissions/available").json()
    assert {"key": "hello.greet", "description": "Greet a user"} in available


def test_switched_off_it_leaves_no_route(make_server: MakeServer) -> None:
    server = make_server({"plugins": {"hello": {**HERE, "enabled": False}}})
    assert server.admin.get("/api/v1/hello").status_code == 404


@pytest.mark.slow
def test_the_package_can_be_installed_and_is_found_by_its_entry_point(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
            "--no-index", "--disable-pip-version-check", "--target", str(tmp_path), str(PACKAGE),
        ],
        check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    [found] = distributions(name="caudex-plugin-hello", path=[str(tmp_path)])
    [entry] = found.entry_points.select(group="caudex.plugins")
    assert (entry.name, entry.value) == ("hello", "caudex_hello:HelloPlugin")
    installed = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert "caudex_hello/migrations/0001_greetings.sql" in installed


def test_its_page_is_shown_to_those_who_may_read(hello: Server) -> None:
    path = "/api/v1/console/pages"
    [page] = hello.admin.get(path).json()
    assert (page["title"], page["table"]["path"]) == ("Greetings", "/api/v1/hello")
    assert page["actions"][0]["body"]["$ref"].endswith("Greeting")
    assert hello.user().get(path).json() == []
    reader = hello.user(permissions={"core": ["hello.read"]})
    assert [each["title"] for each in reader.get(path).json()] == ["Greetings"]
