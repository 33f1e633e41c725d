"""What users do: a few callers, members with a role, and records with values of every kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .figures import Case, Contender
from .requests import BULK, COLLECTION, Http, Want, ids_of, raw, want_of
from .stage import Stage

MIXED = {
    "appId": "clinic",
    "name": "Clinic",
    "dataContract": [
        {
            "entityName": "visits",
            "fields": [
                {"name": "title", "type": "text", "required": True},
                {"name": "begins_at", "type": "timestamp"},
                {"name": "details", "type": "json"},
                {"name": "tags", "type": "[text]"},
            ],
        }
    ],
}
VISITS = "/api/v1/apps/clinic/collections/visits"
MEMBER = "member"
NAMES = ("GET by id", "list of 20", "create")
"""What is measured with few callers, and as a member."""
CALLERS = (1, 4)

Maker = Callable[[Stage], Contender]


def cases(stage: Stage, makers: Mapping[str, Maker]) -> list[Case]:
    """Return cases that only one server takes part in."""
    stage.sign_in()
    return [Case(name, [make(stage)], []) for name, make in makers.items()]


def few() -> Mapping[str, Maker]:
    """Return the everyday requests by one caller and by four."""
    cases = dict[str, Maker]()
    for callers in CALLERS:
        word = "one caller" if callers == 1 else f"{callers} callers"
        for name in NAMES:
            cases[f"{name}, {word}"] = _everyday(name, callers)
    return cases


def members() -> Mapping[str, Maker]:
    """Return the everyday requests by a member with a role, 32 at once."""
    return {f"{name}, a member": _of_member(name) for name in NAMES}


def mixed() -> Mapping[str, Maker]:
    """Return writes of records with a timestamp, JSON and an array."""
    return {"create, mixed values": _mixed(1), "bulk of 1000, mixed values": _mixed(BULK)}


def _everyday(name: str, callers: int) -> Maker:
    def make(stage: Stage) -> Contender:
        return _requests(stage, want_of(name), COLLECTION, callers, stage.sign_in_as_admin)

    return make


def _of_member(name: str) -> Maker:
    def make(stage: Stage) -> Contender:
        stage.register(MEMBER)
        permissions = ["deals.read", "deals.create"]
        role = {"name": MEMBER, "permissions": permissions}
        stage.call("POST", "/api/v1/apps/crm/roles", role, ok=(400,))
        assigned = {"userId": stage.user_id(MEMBER), "role": MEMBER}
        stage.call("POST", "/api/v1/apps/crm/roles/assign", assigned)
        return _requests(stage, want_of(name), COLLECTION, 32, lambda: stage.sign_in_as(MEMBER))

    return make


def _mixed(count: int) -> Maker:
    def make(stage: Stage) -> Contender:
        stage.call("POST", "/api/v1/apps", MIXED)
        records = [_visit(number) for number in range(count)]
        path = "" if count == 1 else "/bulk"
        want = Want(
            name="create", method="POST", path=path, body=records[0] if count == 1 else records
        )
        callers = 32 if count == 1 else 4
        return _requests(stage, want, VISITS, callers, stage.sign_in_as_admin)

    return make


def _visit(number: int) -> dict[str, object]:
    return {
        "title": f"Visit {number}",
        "begins_at": f"2026-03-{number % 28 + 1:02}T08:{number % 60:02}:00.5+01:00",
        "details": {"room": number % 9, "notes": ["first", "second"], "urgent": number % 2 == 0},
        "tags": ["new", f"doctor-{number % 7}"],
    }


def _requests(
    stage: Stage, want: Want, collection: str, callers: int, sign_in: Callable[[], str]
) -> Http:
    ids = ids_of(stage) if "{id}" in want.path else []

    def requests() -> list[bytes]:
        return raw(stage.url, collection + want.path, want, ids, sign_in())

    return Http(
        stage.name, stage, stage.url, requests, database=stage.database_cpu, connections=callers
    )
