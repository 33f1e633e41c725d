"""The running server against its own documents, with what no one would think of.

Schemathesis makes requests that fit a document and requests that do not. Whatever comes, the server
answers what the document says: no 5xx, no status that is not there, no reply of another type or
shape. `--hypothesis-profile=soak` looks for longer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from kernel.testing import Client, Server, running_server
from tests.contrib.identity_header.support import NOTES, SECRET, behind_proxy, client_of

from .support import SERVER, oidc_provider

pytestmark = pytest.mark.slow

MANIFEST = Path(__file__).parents[3] / "examples/crm/manifest.json"
CRONS = [{"name": "nightly", "schedule": "0 3 * * *", "method": "sync"}]
CRM = json.loads(MANIFEST.read_text("utf-8")) | {"appId": "sales", "crons": CRONS}
"""Not by the name that the examples of the document use, which are sent as well."""
API = "/api/v1"
APP = f"{API}/apps/sales"
PAGE, CHALLENGE = "https://app.example.org", "x" * 43
EXCLUDED = {
    f"GET {API}/apps/{{app_id}}/logs": "a stream of events has no end; tests/plugins/logs read it",
    f"GET {APP}/logs": "the same stream",
    f"GET {API}/apps/{{app_id}}/collections/{{entity}}/feed": "as endless; see tests/plugins/feed",
    f"POST {API}/apps/{{app_id}}/feed": "as endless; see tests/plugins/feed",
    f"POST {APP}/feed": "the same stream",
    **{
        f"GET {APP}/collections/{entity['entityName']}/feed": "the same stream"
        for entity in CRM["dataContract"]
    },
    f"DELETE {APP}": "it would remove the app that is asked; another app is removed above",
}
AWAY = {
    f"POST {API}/apps/{{app_id}}/rpc": "no worker runs, which is a 503",
    f"POST {APP}/rpc": "no worker runs, which is a 503",
}
"""Operations that may answer 503 here, and why; no other may answer any 5xx."""
CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = settings().max_examples // 12
"""Requests to one operation: 8, always the same, and 166 others where one looks for longer."""
PARTS = 12
"""Tests that share the operations of a document, so that none takes long where others work too."""
Known = Mapping[str, list[str]]


@schemathesis.serializer("text/csv", "application/x-ndjson")
def files(_: Any, value: Any) -> bytes:
    """A file is sent as it is."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


@pytest.fixture(scope="module")
def server(postgres):
    """A server with the CRM, and with every plugin of contrib that has routes and goes along."""
    with oidc_provider() as issuer:
        oidc = {"issuer": issuer, "client_id": "x", "client_secret": "x", "frontends": [PAGE]}
        plugins: dict[str, Any] = {"openapi": {}, "cron": {}, "metrics": {}, "shares": {}}
        plugins |= {"webhooks": {}, "oidc": oidc | {"public_url": issuer}}
        with running_server(postgres, {"plugins": plugins}) as running:
            assert running.admin.post(f"{API}/apps", json=CRM).status_code == 200
            yield running


@pytest.fixture(scope="module")
def attempt(server: Server) -> tuple[str, str]:
    """A sign-in that was begun on a page: its state, and the cookie that goes with it."""
    asked = {"return_to": PAGE, "challenge": CHALLENGE}
    answer = server.http.get(f"{API}/auth/oidc/login", params=asked)
    cookie = answer.headers["set-cookie"].partition(";")[0]
    return answer.headers["location"].partition("state=")[2].partition("&")[0], cookie


@pytest.fixture(scope="module")
def known(server: Server, attempt: tuple[str, str]) -> Known:
    """Existing ids, so that requests pass the first look-up. None of them is needed by the tests:
    an admin that is deleted could send no further request."""
    admin, spare = server.admin, server.user("spare")
    session = server.login("admin").get(f"{API}/auth/sessions").json()
    ids = [each["id"] for each in session if each["current"]] + [spare.id]
    for number in range(8):
        body = {"first_name": f"A{number}", "last_name": "B"}
        ids.append(admin.post(f"{APP}/collections/contacts", json=body).json()["id"])
    jobs = [
        admin.post(f"{APP}/jobs", json={"payload": number}).json()["job_id"] for number in range(4)
    ]
    role = {"name": "spare", "permissions": ["contacts.read"]}
    assert admin.post(f"{APP}/roles", json=role).status_code == 200
    assert admin.post(f"{API}/apps", json={"appId": "junk", "name": "Junk"}).status_code == 200
    return {
        "app_id": ["sales", "core", "junk"],
        "entity": ["contacts", "companies", "deals", "activities", "contact_emails"],
        "id": ids,
        "job_id": jobs,
        "role": ["spare", "admin"],
        "user_id": [spare.id],
        "userId": [spare.id],
        "key": ["TOKEN"],
        "file": ["page.js", "swagger-ui.css"],
        "after": ids,
        "cron": ["nightly"],
        "state": [attempt[0]],
        "return_to": [PAGE],
        "challenge": [CHALLENGE],
        "company_id": ids,
        "contact_id": ids,
    }


def reader_of(server: Server) -> Client:
    """A user who may read contacts, and create and change deals of their own."""
    user, role = server.user(), "weak"
    held = ["contacts.read", "deals.create", "deals.read.own", "deals.update.own"]
    body = {"name": role, "permissions": held}
    assert server.admin.post(f"{APP}/roles", json=body).status_code == 200
    body = {"userId": user.id, "role": role}
    assert server.admin.post(f"{APP}/roles/assign", json=body).status_code == 200
    return user


def operations_of(client: Client, path: str) -> list[Any]:
    """Return the operations of a document that are asked."""
    document = client.get(path).json()
    results = schemathesis.openapi.from_dict(document).get_all_operations()
    operations = [result.ok() for result in results]
    return [operation for operation in operations if operation.label not in EXCLUDED]


def fuzz(client: Client, operations: Sequence[Any], known: Known, **more: str) -> None:
    """Ask operations, each as often. `more` are headers beside those of the client."""
    problems: list[str] = []
    with requests.Session() as session:
        session.headers.update({**client.headers, **more})
        for operation in operations:
            try:
                _asking(operation, str(client.base_url), session, _spared(operation.label, known))()
            except (AssertionError, BaseExceptionGroup) as found:
                problems.append(f"{operation.label}: {_said(found)}")
    assert not problems, "\n\n".join(problems)


def _spared(label: str, known: Known) -> Known:
    """An app that is removed is one that no one needs."""
    gone = {f"DELETE {API}/apps/{{app_id}}": {"app_id": ["junk"]}}
    return {**known, **gone.get(label, {})}


def _asking(
    operation: Any, url: str, session: requests.Session, known: Known
) -> Callable[[], None]:
    @given(case=cases(operation, known))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=EXAMPLES < 100,
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Any) -> None:
        answer = case.call(base_url=url, session=session, timeout=60, allow_redirects=False)
        away = answer.status_code == 503 and operation.label in AWAY
        assert answer.status_code < 500 or away, f"{answer.status_code} {answer.text}"
        case.validate_response(answer, checks=CHECKS)

    return ask


@st.composite
def cases(draw: st.DrawFn, operation: Any, known: Known) -> Any:
    """A request that fits or one that does not, mostly about what is there."""
    mode = draw(st.sampled_from([GenerationMode.POSITIVE, GenerationMode.NEGATIVE]))
    case = draw(operation.as_strategy(mode))
    for values in (case.path_parameters, case.query, case.body):
        if isinstance(values, dict):
            for name in values.keys() & known.keys():
                if draw(st.integers(0, 3)):
                    values[name] = draw(st.sampled_from(known[name]))
    return case


def _said(found: BaseException) -> str:
    parts = found.exceptions if isinstance(found, BaseExceptionGroup) else [found]
    return "; ".join(f"{type(each).__name__}: {each}" for each in parts)[:3000]


@pytest.mark.parametrize("part", range(PARTS))
def test_an_admin_meets_nothing_that_the_server_does_not_document(server, known, attempt, part):
    operations = operations_of(server.admin, SERVER)
    assert len(operations) >= 67
    fuzz(server.admin, operations[part::PARTS], known, cookie=attempt[1])
    assert server.admin.get(f"{API}/auth/me").status_code == 200


@pytest.mark.parametrize("part", range(PARTS))
def test_a_user_without_a_role_meets_nothing_that_the_server_does_not_document(server, known, part):
    user = server.user()
    operations = operations_of(user, SERVER)
    assert len(operations) >= 67
    fuzz(user, operations[part::PARTS], known)
    assert user.get(f"{API}/auth/me").status_code == 200


@pytest.mark.parametrize("part", range(PARTS))
def test_an_admin_meets_nothing_that_the_app_does_not_document(server, known, part):
    operations = operations_of(server.admin, f"{APP}/openapi.json")
    assert len(operations) >= 59
    fuzz(server.admin, operations[part::PARTS], known)


def test_a_weak_user_meets_nothing_that_the_app_does_not_document(server, known):
    weak = reader_of(server)
    operations = operations_of(weak, f"{APP}/openapi.json")
    assert len(operations) >= 12
    fuzz(weak, operations, known)


def test_an_admin_behind_a_proxy_meets_nothing_that_the_server_does_not_document(postgres):
    """A server of its own: accounts of a proxy are in place of those with passwords."""
    behind = behind_proxy(secret=SECRET)
    behind["plugins"]["openapi"] = {}
    with running_server(postgres, behind) as server:
        admin, other, spare = (client_of(server, name) for name in ("admin", "other", "spare"))
        assert admin.post(f"{API}/apps", json=NOTES).status_code == 200
        place, note = f"{API}/apps/notes/collections/notes", {"owner": other.id}
        assert admin.post(place, json=note).status_code == 201
        operations = [
            operation
            for operation in operations_of(admin, SERVER)
            if "identity_header" in operation.definition.raw["tags"]
        ]
        assert len(operations) == 6
        fuzz(admin, operations, {"id": [other.id, spare.id]})
        assert admin.get(f"{API}/auth/me").status_code == 200


def test_only_what_is_named_is_left_out(server):
    """A name that is no operation any more would hide that nothing is left out for it."""
    paths = {
        f"{method.upper()} {path}"
        for document in (SERVER, f"{APP}/openapi.json")
        for path, item in server.admin.get(document).json()["paths"].items()
        for method in item
    }
    assert EXCLUDED.keys() <= paths
    assert AWAY.keys() <= paths
