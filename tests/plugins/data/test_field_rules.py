"""Fields with permissions of their own: no door shows them to callers without these."""

from __future__ import annotations

from typing import Any

import pytest

from kernel.testing import Client, Postgres, Server, running_server
from tests.plugins.data.conftest import overrides
from tests.plugins.data.support import refused

BASE = "/api/v1/apps/staff/collections"
PEOPLE, TEAMS = f"{BASE}/people", f"{BASE}/teams"
MANIFEST: dict[str, Any] = {
    "appId": "staff",
    "name": "Staff",
    "dataContract": [
        {"entityName": "teams", "fields": [{"name": "name", "type": "text"}]},
        {
            "entityName": "people",
            "fields": [
                {"name": "name", "type": "text"},
                {"name": "salary", "type": "number", "access": {"read": "hr", "write": "hr"}},
                {"name": "grade", "type": "text", "access": {"write": ["hr", "lead"]}},
                {"name": "badge", "type": "text", "access": {"read": []}},
                {"name": "label", "type": "text", "generated": {"$concat": ["name", "badge"]}},
                {
                    "name": "team_id",
                    "type": "entity_link",
                    "references": {"entity": "teams"},
                    "access": {"read": "hr"},
                },
            ],
            "indexes": [{"columns": ["name", "badge"], "unique": True}],
            "search": {"fields": ["name", "badge"]},
        },
    ],
}
ALL = ("people.create", "people.read", "people.update", "people.delete", "teams.read")


@pytest.fixture(scope="module", params=["one statement", "transaction"])
def staff(request: pytest.FixtureRequest, postgres: Postgres) -> Any:
    plugins = ["StaffWitnessPlugin"] if request.param == "transaction" else []
    with running_server(postgres, overrides(*plugins)) as running:
        running.install(MANIFEST)
        yield running


@pytest.fixture
def admin(staff: Server) -> Client:
    staff.sql("truncate staff.people, staff.teams")
    return staff.admin


@pytest.fixture(scope="module")
def clerk(staff: Server) -> Client:
    return member(staff, "clerk", *ALL)


@pytest.fixture(scope="module")
def hr(staff: Server) -> Client:
    return member(staff, "hr", *ALL)


def member(server: Server, role: str, *permissions: str) -> Client:
    user = server.user()
    body: dict[str, Any] = {"name": role, "permissions": list(permissions)}
    answer = server.admin.post("/api/v1/apps/staff/roles", json=body)
    assert answer.status_code == 200, answer.text
    body = {"userId": user.id, "role": role}
    assert server.admin.post("/api/v1/apps/staff/roles/assign", json=body).status_code == 200
    return user


@pytest.fixture
def ada(admin: Client) -> dict[str, Any]:
    team = admin.post(TEAMS, json={"name": "red"}).json()
    values = {"name": "Ada", "salary": 5, "grade": "x", "badge": "b7", "team_id": team["id"]}
    return admin.post(PEOPLE, json=values).json()


def query(client: Client, **body: Any) -> Any:
    answer = client.post(f"{PEOPLE}/query", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_field_does_not_exist_for_callers_that_may_not_read_it(
    clerk: Client, ada: dict[str, Any]
):
    shown = {name: ada[name] for name in ("id", "name", "grade", "created_at", "updated_at")}
    path = f"{PEOPLE}/{ada['id']}"
    assert clerk.get(path).json() == shown
    assert clerk.get(PEOPLE).json() == [shown]
    assert clerk.get(PEOPLE, params={"limit": 1}).json() == [shown]
    assert query(clerk)["data"] == [shown]
    changed = clerk.patch(path, json={"name": "Ada"}).json()
    assert changed == {**shown, "updated_at": changed["updated_at"]}
    made = clerk.post(PEOPLE, json={"name": "Bob"})
    assert made.json().keys() == shown.keys()
    assert clerk.post(f"{PEOPLE}/bulk", json=[{"name": "c"}]).json()[0].keys() == shown.keys()


@pytest.mark.parametrize("name", ["salary", "badge", "label", "team_id"])
def test_no_route_reveals_a_hidden_field(clerk: Client, ada: dict[str, Any], name: str):
    """A filter on an unreadable field as an oracle is the pitfall."""
    path = f"{PEOPLE}/{ada['id']}"

    def asked(field: str) -> list[str]:
        one, bodies = f"{PEOPLE}/query", [
            {"where": {field: None}}, {"where": {"$not": {field: {"$gt": 1}}}},
            {"orderBy": field}, {"fields": [field]}, {"expand": [field]},
            {"groupBy": [field]}, {"groupBy": [{"$year": field}]},
            {"aggregate": {"n": {"$max": field}}}, {"where": {field: {"$has": {}}}},
            {"aggregate": {"n": {"$count": field}}}, {"aggregate": {"n": {"$count": "*"}},
                                                      "having": {field: 1}},
        ]  # fmt: skip
        answers = [clerk.post(one, json=body) for body in bodies]
        answers += [
            clerk.get(PEOPLE, params={field: "1"}), clerk.get(PEOPLE, params={"sort": field}),
            clerk.get(PEOPLE, params={"fields": field}), clerk.get(path, params={"expand": field}),
            clerk.post(PEOPLE, json={field: "1"}), clerk.patch(path, json={field: "1"}),
            clerk.post(f"{PEOPLE}/bulk", json=[{field: "1"}]),
            clerk.post(f"{PEOPLE}/bulk", json=[{"name": "x"}], params={"on": f"name,{field}"}),
            clerk.post(f"{PEOPLE}/update-where", json={"where": {field: 1}, "set": {}, "max": 1}),
            clerk.post(f"{PEOPLE}/update-where", json={"where": {}, "set": {field: 1}, "max": 1}),
            clerk.post(f"{PEOPLE}/delete-where", json={"where": {field: 1}, "max": 1}),
            clerk.post("/api/v1/apps/staff/batch", json={"operations": [
                {"op": "create", "entity": "people", "data": {field: 1}}]}),
            clerk.post(f"{TEAMS}/query", json={"where": {f"people_via_{field}": {"$some": {}}}}),
            clerk.post(f"{TEAMS}/query", json={"expand": [f"people_via_{field}"]}),
        ]  # fmt: skip
        return [refused(answer).replace(field, "?") for answer in answers]

    said = [each.partition(";")[0] for each in asked(name)]
    assert said == [each.partition(";")[0] for each in asked("x" * len(name))]
    assert not any(f"'{name}'" in each for each in asked("y" * len(name)))


def test_words_of_a_hidden_field_never_match(clerk: Client, hr: Client, ada: dict[str, Any]):
    assert query(clerk, search="b7")["total"] == 0
    assert query(hr, search="b7")["total"] == 0  # no one holds it but by hand, or by *
    assert query(clerk, search="ada")["total"] == 1


def test_expand_hides_fields_of_linked_records(clerk: Client, hr: Client, ada: dict[str, Any]):
    teams = hr.post(f"{TEAMS}/query", json={"expand": ["people_via_team_id"]}).json()["data"]
    [person] = teams[0]["expand"]["people_via_team_id"]
    assert (person["salary"], "badge" in person) == (5, False)
    assert "no link" in refused(
        clerk.post(f"{TEAMS}/query", json={"expand": ["people_via_team_id"]})
    )


@pytest.mark.usefixtures("clerk")  # whose role is inherited
def test_a_role_holds_the_permissions_by_its_name(
    staff: Server, admin: Client, hr: Client, ada: dict[str, Any]
):
    path = f"{PEOPLE}/{ada['id']}"
    assert hr.get(path).json()["salary"] == 5
    assert hr.patch(path, json={"salary": 6}).json()["salary"] == 6
    permissions = hr.get("/api/v1/apps/staff/permissions").json()["permissions"]
    assert {"people.salary.read", "people.salary.write", "people.grade.write"} <= {*permissions}
    assert "people.badge.read" not in permissions
    available = admin.get("/api/v1/apps/staff/permissions/available").json()
    assert "people.badge.read" in [each["key"] for each in available]
    keeper = member(staff, "keeper", "people.read", "people.badge.read")
    assert keeper.get(path).json().keys() == {
        "id", "name", "grade", "badge", "label", "created_at", "updated_at",
    }  # fmt: skip
    assert query(keeper, search="b7")["total"] == 1
    chief = member(staff, "chief", "people.*")
    assert chief.get(path).json() == admin.get(path).json()
    lead = staff.user()
    body = {"name": "lead", "inherits": ["clerk"], "permissions": []}
    admin.post("/api/v1/apps/staff/roles", json=body)
    admin.post("/api/v1/apps/staff/roles/assign", json={"userId": lead.id, "role": "lead"})
    assert lead.patch(path, json={"grade": "y"}).json()["grade"] == "y"


def test_a_field_that_is_read_only_for_a_caller_is_403(clerk: Client, ada: dict[str, Any]):
    path, said = f"{PEOPLE}/{ada['id']}", "the permission 'people.grade.write' is needed"
    assert refused(clerk.patch(path, json={"grade": "y"}), 403) == said
    assert refused(clerk.post(PEOPLE, json={"grade": "y"}), 403) == said
    assert refused(clerk.post(f"{PEOPLE}/bulk", json=[{}, {"grade": 1}][1:]), 403) == f"[0] {said}"
    operations = [{"op": "update", "entity": "people", "id": ada["id"], "data": {"grade": "z"}}]
    answer = clerk.post("/api/v1/apps/staff/batch", json={"operations": operations})
    assert refused(answer, 403) == f"[0] {said}"
    body = {"where": {}, "set": {"grade": "z"}, "expect": 1}
    assert refused(clerk.post(f"{PEOPLE}/update-where", json=body), 403) == said


def test_an_error_of_a_constraint_names_no_hidden_field(clerk: Client, admin: Client):
    staff_path = PEOPLE
    admin.post(staff_path, json={"name": "Eve", "badge": None})
    one = admin.post(staff_path, json={"name": "Kim", "badge": "k"}).json()
    admin.post(staff_path, json={"name": "Lee", "badge": "k"})
    said = refused(clerk.patch(f"{PEOPLE}/{one['id']}", json={"name": "Lee"}))
    assert "badge" not in said


def test_a_refused_delete_names_no_entity_and_no_field_that_the_caller_may_not_read(
    staff: Server, admin: Client, hr: Client, ada: dict[str, Any]
):
    """The clerk may not read the link to teams, and the cleaner no people at all."""
    team = ada["team_id"]
    members = {
        "people.team_id": hr,
        "another record": member(staff, f"clerk {team[:8]}", "people.read", "teams.read"),
        "another record ": member(staff, f"cleaner {team[:8]}", "teams.read"),
    }
    link = "alter table staff.people drop constraint {0}, add constraint {0}"
    link += " foreign key (team_id) references staff.teams on delete restrict"
    query = "select conname from pg_constraint where conrelid = 'staff.people'::regclass"
    [[name]] = staff.sql(f"{query} and contype = 'f'")
    staff.sql(link.format(name))
    for words, client in members.items():
        staff.grant(client, "staff", "teams.delete")
        said = f"teams record '{team}' is still referred to by {words.strip()}"
        assert refused(client.delete(f"{TEAMS}/{team}")) == said
        operations = [{"op": "delete", "entity": "teams", "id": team}]
        answer = client.post("/api/v1/apps/staff/batch", json={"operations": operations})
        assert refused(answer) == f"[0] {said}"


def test_events_have_every_field(staff: Server, clerk: Client, admin: Client):
    witness: Any = next((p for p in staff.kernel.instances if p.name == "staffwitness"), None)
    if witness is None:
        return
    witness.recorded.clear()
    made = clerk.post(PEOPLE, json={"name": "Whole"}).json()
    assert "salary" not in made
    assert b'"salary":null' in witness.recorded[0].new
