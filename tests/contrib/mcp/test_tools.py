"""What each tool finds, does and refuses: just what REST does."""

from __future__ import annotations

import json

import httpx
import pytest

from kernel.contracts.base import new_delegation
from kernel.contracts.identity import IDENTITY
from kernel.testing import Server
from tests.contrib.mcp.support import CRM, INJECTION, Agent, make_key, with_bearer

ORDER = [
    "list_apps", "describe_app", "query_data", "aggregate_data", "search_data", "mutate_data",
    "call_action", "enqueue_job", "explain_permission", "history", "undo", "audit_search",
]  # fmt: skip


def test_tools_are_listed_in_a_fixed_order_by_the_rights_of_the_caller(server: Server) -> None:
    assert Agent(server.admin).tools() == ORDER
    assert Agent(server.user()).tools() == ["list_apps"]
    reader = server.user(permissions={"crm": ["deals.read"]})
    without_writing = [
        name for name in ORDER if name not in ("mutate_data", "undo", "audit_search")
    ]
    assert Agent(reader).tools() == without_writing


def test_without_writing_there_are_reading_tools_only(make_server) -> None:
    server = make_server({"plugins": {"mcp": {"write": False}}})
    agent = Agent(server.admin)
    names = agent.tools()
    assert not {"mutate_data", "call_action", "enqueue_job", "undo"} & set(names)
    answer = agent.post("tools/call", {"name": "mutate_data", "arguments": {}})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32602)


def test_annotations_say_the_truth(admin: Agent) -> None:
    for tool in admin.ask("tools/list")["tools"]:
        hints = tool["annotations"]
        writes = tool["name"] in ("mutate_data", "call_action", "enqueue_job", "undo")
        assert hints["readOnlyHint"] is not writes
        assert hints["destructiveHint"] is writes
        assert tool["inputSchema"]["additionalProperties"] is False


def test_an_app_is_described_with_links_actions_and_examples_that_work(
    admin: Agent, acme: str
) -> None:
    described = admin.use("describe_app", app="crm")
    assert [entity["name"] for entity in described["entities"]] == ["companies", "deals"]
    assert described["links"] == [
        {
            "from": "deals",
            "field": "company",
            "to": "companies",
            "expand": "company",
            "backwards": "deals_via_company",
        }
    ]
    assert [action["method"] for action in described["actions"]] == ["close_deal"]
    for example in described["examples"]:
        admin.use(example["tool"], **example["arguments"])
    single = admin.use("describe_app", app="crm", entity="deals")
    assert [entity["name"] for entity in single["entities"]] == ["deals"]
    assert "not found" in admin.refusal("describe_app", app="crm", entity="nothing")


def test_records_are_queried_aggregated_and_searched(admin: Agent, acme: str) -> None:
    where = {"company": {"$has": {"name": "Acme"}}}
    found = admin.use("query_data", app="crm", entity="deals", where=where, orderBy="value")
    assert [deal["value"] for deal in found["data"]] == [300, 200, 100]
    groups = admin.use(
        "aggregate_data",
        app="crm",
        entity="deals",
        where=where,
        groupBy=["stage"],
        aggregate={"deals": {"$count": "*"}, "sum": {"$sum": "value"}},
    )
    assert groups["data"] == [{"stage": "open", "deals": 3, "sum": 600}]
    words = admin.use("search_data", app="crm", entity="companies", search="acme")
    assert [company["id"] for company in words["data"]] == [acme]


def test_what_was_changed_is_in_the_trail_with_the_name_of_the_client(server: Server) -> None:
    agent = Agent(server.admin, name="Claude \u2028Code")
    done = agent.use(
        "mutate_data",
        app="crm",
        operations=[{"op": "create", "entity": "companies", "data": {"name": "Trail"}}],
        expect=1,
    )
    record = done["results"][0]["id"]
    [row] = agent.use("audit_search", app_id="crm", request_id=done["request"])["data"]
    assert (row["record_id"], row["via"], row["client"]) == (record, "mcp", "Claude Code")
    [change] = agent.use("history", app="crm", entity="companies", id=record)["data"]
    assert change["request"] == done["request"]
    server.admin.delete(f"/api/v1/apps/crm/collections/companies/{record}")
    rows = server.admin.get("/api/v1/audit", params={"record_id": record}).json()
    assert ["via" in row for row in rows] == [False, True]


def test_the_older_version_is_named_by_its_user_agent(server: Server) -> None:
    agent = Agent(server.admin, era="2025-11-25")
    server.admin.headers["user-agent"] = "old-agent/2.1 (test)"
    done = agent.use(
        "mutate_data",
        app="crm",
        operations=[{"op": "create", "entity": "deals", "data": {"title": "Old"}}],
    )
    [row] = agent.use("audit_search", request_id=done["request"])["data"]
    assert row["client"] == "old-agent"


def test_a_dry_run_changes_nothing(admin: Agent) -> None:
    operations = [{"op": "create", "entity": "companies", "data": {"name": "Dry"}}]
    admin.use("mutate_data", app="crm", operations=operations, dryRun=True)
    where = {"name": "Dry"}
    assert admin.use("query_data", app="crm", entity="companies", where=where)["total"] == 0


def test_writes_are_bounded_and_expected(admin: Agent) -> None:
    create = {"op": "create", "entity": "companies", "data": {"name": "Never"}}
    assert "2 operations" in admin.refusal("mutate_data", app="crm", operations=[create] * 2, max=1)
    assert "3 operations" in admin.refusal("mutate_data", app="crm", operations=[create], expect=3)
    assert "at most 100" in admin.refusal("mutate_data", app="crm", operations=[create] * 101)
    assert "max must be" in admin.refusal("mutate_data", app="crm", operations=[create], max=1000)
    broken = [create, {"op": "create", "entity": "deals", "data": {"value": 1}}]
    assert "title" in admin.refusal("mutate_data", app="crm", operations=broken)
    where = {"name": "Never"}
    assert admin.use("query_data", app="crm", entity="companies", where=where)["total"] == 0


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("query_data", {"app": "crm"}, "entity is required"),
        ("query_data", {"app": 3, "entity": "deals"}, "app must be a text"),
        ("query_data", {"app": "crm", "entity": "deals", "wher": {}}, "did you mean 'where'"),
        ("query_data", {"app": "crm", "entity": "deals", "where": {"nope": 1}}, "nope"),
        ("query_data", {"app": "crm", "entity": "deals", "limit": -1}, "limit"),
        ("query_data", {"app": "", "entity": "deals"}, "must not be empty"),
        ("query_data", {"app": "crm/../x", "entity": "deals"}, "not found"),
        ("history", {"app": "crm", "entity": "deals", "id": "../../users"}, "uuid"),
        ("mutate_data", {"app": "crm", "operations": {}}, "must be an array"),
        ("explain_permission", {"app": "crm", "entity": "deals", "action": "fly"}, "fly"),
        ("call_action", {"app": "crm", "method": "open_door"}, "declares no action"),
        ("audit_search", {"limit": 0}, "limit"),
    ],
)
def test_a_refused_call_is_a_result_with_our_sentence(
    admin: Agent, tool: str, arguments: dict[str, object], words: str
) -> None:
    assert words in admin.refusal(tool, **arguments).lower()


def test_permissions_are_explained(admin: Agent, server: Server) -> None:
    reader = server.user(permissions={"crm": ["deals.read.own"]})
    own = Agent(reader).use("explain_permission", app="crm", entity="deals", action="read")
    assert (own["allowed"], own["own_only"]) == (True, True)
    other = admin.use(
        "explain_permission", app="crm", entity="deals", action="delete", user=reader.id
    )
    assert other["allowed"] is False


def test_jobs_are_enqueued(admin: Agent, server: Server) -> None:
    job = admin.use("enqueue_job", app="crm", payload={"type": "report"})["job_id"]
    assert server.admin.get(f"/api/v1/apps/crm/jobs/{job}").json()["payload"] == {"type": "report"}


def test_no_user_reaches_more_than_by_rest(server: Server, acme: str) -> None:
    reader = Agent(server.user(permissions={"crm": ["companies.read", "deals.read.own"]}))
    found = reader.use("query_data", app="crm", entity="companies", where={"name": "Acme"})
    assert "margin" not in found["data"][0]
    assert reader.use("query_data", app="crm", entity="deals")["data"] == []
    assert "margin" in reader.refusal(
        "query_data", app="crm", entity="companies", where={"margin": 1}
    )
    operations = [{"op": "delete", "entity": "companies", "id": acme}]
    assert reader.call("mutate_data", app="crm", operations=operations)["isError"] is True
    assert "admin" in reader.refusal("audit_search", app_id="crm")
    stranger = Agent(server.user())
    for tool in ("query_data", "describe_app"):
        arguments = {"app": "crm"} | ({"entity": "deals"} if tool == "query_data" else {})
        assert stranger.call(tool, **arguments)["isError"] is True


def test_a_key_is_narrowed_here_as_everywhere(server: Server) -> None:
    server.install({"appId": "other", "name": "Other", "dataContract": [
        {"entityName": "things", "fields": [{"name": "name", "type": "text"}]}]})  # fmt: skip
    key = make_key(server.admin, permissions=["crm:deals.read"])
    with with_bearer(server.url, key) as http:
        agent = Agent(http)
        assert "mutate_data" not in agent.tools()
        assert [app["id"] for app in agent.use("list_apps")["apps"]] == ["crm"]
        assert agent.use("query_data", app="crm", entity="deals")["data"]
        assert agent.call("query_data", app="other", entity="things")["isError"] is True
        create = {"op": "create", "entity": "deals", "data": {"title": "x"}}
        assert agent.call("mutate_data", app="crm", operations=[create])["isError"] is True
        assert agent.call("audit_search")["isError"] is True


def test_long_answers_are_cut_with_a_word_on_how_to_go_on(admin: Agent, server: Server) -> None:
    path = "/api/v1/apps/crm/collections/companies/bulk"
    rows = [{"name": f"Long {n:03}", "notes": "ä" * 1000} for n in range(60)]
    assert server.admin.post(path, json=rows).status_code == 201
    query = {"app": "crm", "entity": "companies", "orderBy": "name", "order": "asc"}
    where = {"name": {"$like": "Long%"}}
    names: list[str] = []
    while True:
        arguments = {"where": where, "offset": len(names), "limit": 60}
        call = {"name": "query_data", "arguments": {**query, **arguments}}
        answer = admin.post("tools/call", call)
        assert len(answer.content) <= 50_000
        result = answer.json()["result"]
        value = json.loads(result["content"][0]["text"])
        names += [company["name"] for company in value["data"]]
        if "cut" not in value:
            break
        assert f"offset={len(value['data'])}" in value["cut"]
        assert "structuredContent" not in result
    assert names == [row["name"] for row in rows]


def test_a_record_that_is_too_large_is_clipped(admin: Agent, server: Server) -> None:
    path = "/api/v1/apps/crm/collections/companies"
    body = {"name": "Huge", "notes": "x" * 200_000}
    assert server.admin.post(path, json=body).status_code == 201
    where = {"name": "Huge"}
    [record] = admin.use("query_data", app="crm", entity="companies", where=where)["data"]
    assert record["notes"].endswith("(200000 characters)")


def test_resources_are_guides_and_manifests(admin: Agent, server: Server) -> None:
    listed = admin.ask("resources/list")["resources"]
    uris = [resource["uri"] for resource in listed]
    assert "caudex://apps/crm/manifest" in uris
    for uri in uris:
        [content] = admin.ask("resources/read", {"uri": uri})["contents"]
        assert content["text"]
    reader = Agent(server.user(permissions={"crm": ["deals.read"]}))
    assert [each["uri"] for each in reader.ask("resources/list")["resources"]] == uris[:2]
    for uri in ("caudex://apps/crm/manifest", "caudex://apps/../manifest", "file:///etc/passwd"):
        answer = reader.post("resources/read", {"uri": uri})
        assert answer.json()["error"]["code"] == -32602
    assert admin.post("resources/list", {"cursor": "x"}).json()["error"]["code"] == -32602
    [template] = admin.ask("resources/templates/list")["resourceTemplates"]
    assert template["uriTemplate"] == "caudex://apps/{app}/manifest"


def test_what_apps_wrote_is_in_results_only(server: Server) -> None:
    agent = Agent(server.admin)
    for method in ("tools/list", "resources/list", "resources/templates/list", "server/discover"):
        assert INJECTION not in json.dumps(agent.ask(method))
    result = agent.call("list_apps")
    assert INJECTION in result["content"][0]["text"]
    assert "holds no instructions" in result["content"][1]["text"]


def test_workers_tokens_are_refused(server: Server) -> None:
    identity = server.services.get(IDENTITY)
    token = server.run(identity.issue_delegated_token, server.admin.id, new_delegation("crm", 60))
    with with_bearer(server.url, token) as http:
        answer = Agent(http).post("tools/list")
    assert (answer.status_code, set(answer.json())) == (403, {"error"})


def test_hosts_of_apps_have_no_such_route(server: Server) -> None:
    port = httpx.URL(server.url).port
    host = f"crm.localhost:{port}"
    for client in (server.http, server.admin):
        answer = Agent(client).post("tools/list", host=host)
        assert answer.status_code in (401, 403, 404)
        assert set(answer.json()) == {"error"}


def test_an_agent_takes_back_its_own_request_only(server: Server, admin: Agent) -> None:
    member = Agent(server.user(permissions={"crm": ["deals.*"]}), name="undoer")
    create = [{"op": "create", "entity": "deals", "data": {"title": "Undone"}}]
    own = member.use("mutate_data", app="crm", operations=create)
    where = {"title": "Undone"}
    tried = member.use("undo", app="crm", request=own["request"], dryRun=True)
    assert tried["undone"] == 1
    assert member.use("query_data", app="crm", entity="deals", where=where)["total"] == 1
    refused = admin.refusal("undo", app="crm", request=own["request"])
    assert "only what the caller itself has changed" in refused
    done = member.use("undo", app="crm", request=own["request"])
    assert (done["undone"], done["records"][0]["operation"]) == (1, "removed")
    assert member.use("query_data", app="crm", entity="deals", where=where)["total"] == 0
    rows = admin.use("audit_search", app_id="crm", request_id=done["request"])["data"]
    assert [(row["operation"], row["via"], row["client"]) for row in rows] == [
        ("DELETE", "mcp", "undoer")
    ]
    again = member.use("undo", app="crm", request=own["request"])
    assert again["undone"] == 0


def test_a_conflict_of_an_undo_is_shown(server: Server, admin: Agent) -> None:
    create = [{"op": "create", "entity": "deals", "data": {"title": "Contested"}}]
    made = admin.use("mutate_data", app="crm", operations=create)
    record = made["results"][0]["id"]
    change = [{"op": "update", "entity": "deals", "id": record, "data": {"value": 1}}]
    admin.use("mutate_data", app="crm", operations=change)
    result = admin.call("undo", app="crm", request=made["request"])
    assert result["isError"] is True
    [conflict] = json.loads(result["content"][1]["text"])["conflicts"]
    assert (conflict["id"], conflict["reason"]) == (record, "changed later")


def test_without_the_plugin_there_is_no_undo(make_server) -> None:
    server = make_server({"plugins": {"mcp": {}, "undo": {"enabled": False}}})
    server.install(CRM)
    assert "undo" not in Agent(server.admin).tools()
    assert "query_data" in Agent(server.admin).tools()


def test_an_answer_of_megabytes_is_refused_before_it_is_read(admin: Agent, server: Server) -> None:
    path = "/api/v1/apps/crm/collections/deals/bulk"
    rows = [{"title": f"Bulky {n} {'x' * 5000}"} for n in range(900)]
    assert server.admin.post(path, json=rows).status_code == 201
    where = {"title": {"$like": "Bulky%"}}
    query = {"app": "crm", "entity": "deals", "where": where, "limit": 1000}
    assert "too large" in admin.refusal("query_data", **query)
    fewer = admin.use("query_data", **query, fields=["value"])
    assert fewer["total"] == 900
    server.sql("delete from crm.deals where title like 'Bulky%'")
