"""A day of an app over HTTP: the requests that the REST reference shows, and how they are recorded.

`python -m docs.story URL` plays it on a fresh server and writes down what was sent and answered;
a test plays it again and compares. Values that differ each time (ids, times, tokens) become one
fixed value of its kind.
"""

from __future__ import annotations

import io
import json
import re
import sys
import tarfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import httpx
from pyotp.totp import TOTP

RECORDED = Path(__file__).parents[1] / "contrib/openapi/examples.json"
API = "/api/v1"
APP = f"{API}/apps/{{app_id}}"
ENTITY = f"{APP}/collections/{{entity}}"
PASSWORD = "Str0ngPass!x"
MANIFEST = {
    "appId": "crm",
    "name": "My CRM",
    "version": "1.0.0",
    "dataContract": [
        {
            "entityName": "contacts",
            "fields": [
                {"name": "first_name", "type": "text", "required": True},
                {"name": "last_name", "type": "text"},
                {"name": "email", "type": "text"},
                {"name": "tags", "type": "[text]"},
            ],
        }
    ],
}
WORKER = """
from caudex_worker import Worker

worker = Worker()


@worker.rpc
def sendWelcomeEmail(params, ctx):
    worker.log.info("welcomed " + params["contactId"])
    return {"sent": True}


@worker.job("send_report")
def send_report(payload, ctx):
    return {"sent": True}


worker.run()
"""
PAGE = "<!doctype html><title>CRM</title><h1>Contacts</h1>"


def _first_row(lines: str) -> str:
    """Return the first row of an export, with fixed numbers."""
    row: dict[str, Any] = json.loads(lines.partition("\n")[0])
    return json.dumps(row | {"id": 1001, "seal": None}) + "\n"


CUT: Mapping[str, Callable[[Any], Any]] = {
    f"GET {API}/status": lambda reply: _some(reply, "runtime", "postgres", "forge"),
    f"GET {APP}/worker/status": lambda reply: _some(reply, "app_id", "status", "replicas"),
    f"GET {APP}/frontend/versions": lambda reply: [
        _some(each, "version", "created_at", "by", "current") for each in reply
    ],
    f"GET {APP}/worker/versions": lambda reply: [
        _some(each, "version", "by", "at", "in_service") for each in reply
    ],
    f"GET {API}/audit/evidence": lambda reply: _some(reply, "ok", "problem"),
    f"GET {API}/audit/export": _first_row,
    f"POST {API}/plugins/plan": lambda reply: reply | {"lines": reply["lines"][:2]},
    f"GET {API}/console/features": lambda reply: {"plugins": reply["plugins"][-3:]},
    f"GET {API}/console/manuals/{{plugin}}": lambda reply: {"text": reply["text"].split("\n")[0]},
    f"GET {API}/traffic": lambda reply: {
        "processes": 1,
        "total": {"requests": 1042, "refusals": 17, "errors": 0, "p50_ms": 2.756, "p95_ms": 15.588},
        "minutes": [],
        "routes": [],
        "failed": reply["failed"],
    },
    f"GET {API}/backups": lambda reply: (
        reply
        | {"folder": "/srv/caudex/backups", "files": [reply["files"][0] | {"size": 4_200_960}]}
    ),
    f"GET {API}/backups/{{name}}": lambda reply: "(the file)",
    f"POST {API}/auth/totp": lambda reply: reply | {"qr": ["11111110...", "10000010..."]},
    f"POST {API}/auth/totp/recovery-codes": lambda reply: {
        "recoveryCodes": reply["recoveryCodes"][:1]
    },
    f"POST {API}/auth/totp/confirm": lambda reply: {"recoveryCodes": reply["recoveryCodes"][:1]},
    f"GET {API}/manifest.schema.json": lambda reply: _some(reply, "$schema", "type", "required"),
    f"GET {API}/plugins": lambda reply: {
        "plugins": [
            _some(each, "name", "version", "state", "provides", "requires", "routes")
            for each in reply["plugins"]
            if each["name"] == "logs"
        ]
    },
    **dict.fromkeys(
        (f"GET {API}/openapi.json", f"GET {APP}/openapi.json"),
        lambda reply: _some(reply, "openapi", "servers") | {"tags": reply["tags"][:1]},
    ),
    f"GET {API}/docs": lambda reply: reply.partition("\n<head>")[0],
    "GET /share/{token}": lambda reply: reply.partition("\n<head>")[0],
    f"GET {API}/docs/{{file}}": lambda reply: reply.partition("\n")[0],
    f"POST {APP}/webhooks/{{id}}/test": lambda reply: reply | {"ms": 41},
    "GET /metrics": lambda reply: "\n".join(
        line
        for line in reply.splitlines()
        if re.search(r"http_requests_total( |\{.*trigger)", line)
    ),
}
"""Replies of which a part is shown: the rest depends on the machine, or is long."""
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SETTLED = (
    (re.compile(r"\b\d{4}-\d\d-\d\dT[\d:.]{8,}(Z|\+00:00)"), r"2031-01-15T10:30:00\1"),
    (re.compile(r"\bcdx_[0-9A-Za-z]{49}\b"), "cdx_7Tq2hVbE..."),
    (re.compile(r"\bcdx_[0-9A-Za-z]{8}\b"), "cdx_7Tq2hVbE"),
    (re.compile(r"\bshr_[\w-]{43}"), "shr_9KbTzq4WnVd0..."),
    (re.compile(r"^shr_[\w-]{8}$"), "shr_9KbTzq4W"),
    (re.compile(r"\beyJ[\w-]+(?:\.[\w-]+)*"), "eyJ..."),
    (re.compile(r"\bwhsec_[\w+/=-]+"), "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"),
    (re.compile(r"\bmsg_[a-z2-7]{32}\b"), "msg_k5xw2zdmfzgk3tupf2ha46nbsw43mzxw"),
    (re.compile(r"\binvite=[\w-]{43}"), "invite=uM0x0mVb..."),
    (re.compile(r"\bcaudex-\d{8}T\d{6}Z\b"), "caudex-20310115T103000Z"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "4b3403665fea6a1f0c5e7f0f2b8f9f01"),
    (re.compile(r"^id: \d+$", re.MULTILINE), "id: 17"),
    (re.compile(r"^id: [\w.-]{20,}$", re.MULTILINE), "id: AQEBtmyxbQQ3zN8_4wE"),
    (re.compile(r'"position":"[\w.-]{20,}"'), '"position":"AQEBtmyxbQQ3zN8_4wE"'),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:9100"),
    (re.compile(r"\.localhost:\d+"), ".localhost:9100"),
    (re.compile(r"\bcode=[\w-]{43}"), "code=4b3403665fea6a1f"),
    (re.compile(r"python-httpx/[\d.]+"), "curl/8.5.0"),
    (re.compile(r'process="[^"]+"'), 'process="4711-1042"'),
    (re.compile(r"\b[A-Z2-7]{32}\b"), "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"),
    (re.compile(r"^[a-z2-7]{7}(-[a-z2-7]{7}){3}$"), "k5xw2zd-mfzgk3t-upf2ha4-6nbsw43"),
    (re.compile(r"^\d{6}$"), "492039"),
    (re.compile(r'^"[0-9a-f]{24}"$'), '"000004120003782dace9d900"'),
)


class Story:
    """Sends requests and keeps the first of each route as its example."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        # The server closes what is idle for five seconds, and httpx would use it for as long.
        limits = httpx.Limits(keepalive_expiry=2.5)
        self.http = httpx.Client(base_url=url, timeout=60, headers=headers, limits=limits)
        self.examples: dict[str, dict[str, Any]] = {}
        self._ids: dict[str, str] = {}

    def ask(
        self,
        route: str,
        body: Any = None,
        *,
        query: str = "",
        token: str = "",
        status: int = 200,
        shows: str = "",
        given: Mapping[str, str] | None = None,
        **path: str,
    ) -> Any:
        """Send a request to a route, and return what it replies.

        With `shows`, a few words, it is one more example of the route. `given` are headers.
        """
        method, _, template = route.partition(" ")
        place = template.format(**path) + query
        headers = {"authorization": f"Bearer {token}"} if token else {}
        headers |= given or {}
        sent: dict[str, Any] = {} if body is None else {"json": body}
        if isinstance(body, str):
            headers["content-type"], sent = "text/csv", {"content": body.encode()}
        answer = self.http.request(method, place, headers=headers, **sent)
        assert answer.status_code == status, f"{route}: {answer.status_code} {answer.text}"
        is_json = answer.headers.get("content-type") == "application/json"
        reply = answer.json() if is_json else answer.text
        if shows:
            more = {"shows": shows, "path": place, "headers": dict(given or {}), "body": body}
            found = self.examples[route].setdefault("more", [])
            found.append(self._settled({**more, "status": status, "reply": reply}))
        else:
            self.keep(route, place, body, status, reply)
        return reply

    def keep(self, route: str, place: str, body: Any, status: int, reply: Any) -> None:
        """Keep an exchange as an example, if it is the first of its route."""
        shown = CUT[route](reply) if route in CUT else reply
        example = {"path": place, "body": body, "status": status, "reply": shown}
        self.examples.setdefault(route, self._settled(example))

    def _settled(self, value: Any) -> Any:
        """Put a fixed value in the place of each that differs from run to run."""
        if isinstance(value, dict):
            members = cast("dict[str, Any]", value)
            return {name: self._member(name, item) for name, item in members.items()}
        if isinstance(value, list):
            return [self._settled(item) for item in cast("list[Any]", value)]
        if not isinstance(value, str):
            return value
        for pattern, word in SETTLED:
            value = pattern.sub(word, value)
        return UUID.sub(lambda found: self._id(found[0]), value)

    def _member(self, name: str, value: Any) -> Any:
        if name == "postgres" and isinstance(value, dict):  # no port where it is not embedded
            return {**cast("dict[str, Any]", value), "port": 5480}
        if name == "token" and isinstance(value, str) and len(value) == 43:
            return "uM0x0mVb..."
        return 1001 if name == "id" and isinstance(value, int) else self._settled(value)

    def _id(self, found: str) -> str:
        number = len(self._ids) + 1
        return self._ids.setdefault(found, f"3fa85f64-5717-4562-b3fc-2c963f66{number:04x}")


def _some(reply: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: reply[name] for name in names}


def play(url: str) -> dict[str, dict[str, Any]]:
    """Play the whole day on a fresh server and return an example for each route."""
    story = Story(url)
    with story.http:
        token, ids = _accounts(story)
        _apps(story, token)
        _records(story, token)
        _files(story, token)
        _exports(story, token)
        _roles(story, token, ids["bob"])
        _secrets(story, token)
        _work(story, token)
        _system(story, token)
        _console(story, token)
        _second_factors(story, token, ids["bob"])
        _people(story, token, ids["bob"])
        _shop(story, token)
        _keys(story, token)
        _grants(story, token)
        _feeds(story, token)
        _end(story, token, ids["bob"])
    return story.examples


def _accounts(story: Story) -> tuple[str, dict[str, str]]:
    auth = f"{API}/auth"
    story.ask(f"GET {auth}/mode")
    alice = {"username": "alice", "password": PASSWORD, "email": "alice@example.com"}
    story.ask(f"POST {auth}/register", alice | {"display_name": "Alice Martin"}, status=201)
    bob = story.ask(f"POST {auth}/register", {"username": "bob", "password": PASSWORD}, status=201)
    login = {"username": "alice", "password": PASSWORD}
    token = story.ask(f"POST {auth}/login", login)["accessToken"]
    story.ask(f"GET {auth}/me", token=token)
    story.ask(f"GET {API}/users", token=token)
    other = story.ask(f"POST {auth}/login", login)
    refreshed = story.ask(f"POST {auth}/refresh", {"refreshToken": other["refreshToken"]})
    story.ask(f"POST {auth}/logout", {"refreshToken": refreshed["refreshToken"]})
    story.ask(f"POST {auth}/login", login)
    sessions = story.ask(f"GET {auth}/sessions", token=token)
    [spare] = [each["id"] for each in sessions if not each["current"]]
    story.ask(f"DELETE {auth}/sessions/{{id}}", token=token, id=spare)
    change = {"current": PASSWORD, "new": "Str0ngerPass!x"}
    story.ask(f"POST {auth}/password", change, token=token)
    return token, {"bob": bob["user"]["id"]}


def _apps(story: Story, token: str) -> None:
    story.ask(f"GET {API}/manifest.schema.json", token=token)
    story.ask(f"POST {API}/apps/schema/verify", MANIFEST, token=token)
    rows = [{"customer": "Ada", "sent_on": "2031-01-15"}, {"customer": "Bob", "sent_on": None}]
    sample = {"name": "Shop", "tables": {"orders": rows}}
    story.ask(f"POST {API}/apps/from-data", sample, token=token)
    story.ask(f"POST {API}/apps", MANIFEST, token=token)
    story.ask(f"GET {API}/apps", token=token)
    story.ask(f"GET {APP}", token=token, app_id="crm")
    story.ask(f"GET {APP}/manifest", token=token, app_id="crm")
    [install] = story.ask(f"GET {APP}/manifests", token=token, app_id="crm")
    former = f"{APP}/manifests/{{stamp}}"
    story.ask(f"GET {former}", token=token, app_id="crm", stamp=str(install["stamp"]))
    more: dict[str, Any] = {"token": token, "app_id": "crm", "given": {"if-match": "*"}}
    rename = {"op": "rename_field", "entity": "contacts", "field": "email", "name": "mail"}
    story.ask(f"POST {APP}/manifest/edit", {"operations": [rename]}, **more)
    story.ask(f"GET {APP}/manifest/history", token=token, app_id="crm")
    story.ask(f"POST {APP}/manifest/undo", {"dryRun": False}, **more)
    source = {"managedBy": None}
    story.ask(f"PUT {APP}/manifest/source", source, token=token, app_id="crm")


def _records(story: Story, token: str) -> None:
    more: dict[str, Any] = {"token": token, "app_id": "crm", "entity": "contacts"}
    alice = {"first_name": "Alice", "last_name": "Martin", "email": "alice@acme.com"}
    made = story.ask(f"POST {ENTITY}", alice | {"tags": ["vip"]}, status=201, **more)
    bulk: list[dict[str, Any]] = [
        {"first_name": "Bo", "tags": []}, {"first_name": "Cleo", "email": "cleo@acme.com"}
    ]  # fmt: skip
    story.ask(f"POST {ENTITY}/bulk", bulk, status=201, **more)
    story.ask(f"GET {ENTITY}", query="?limit=1&sort=first_name&order=asc", **more)
    where = {"$or": [{"email": {"$like": "cleo@%"}}, {"tags": {"$contains": ["vip"]}}]}
    story.ask(f"POST {ENTITY}/query", {"where": where, "orderBy": "first_name", "limit": 1}, **more)
    one = f"{ENTITY}/{{id}}"
    story.ask(f"GET {one}", id=made["id"], **more)
    story.ask(f"PUT {one}", alice | {"tags": ["vip"]}, id=made["id"], **more)
    story.ask(f"PATCH {one}", {"email": "alice@example.com"}, id=made["id"], **more)
    story.ask(f"GET {one}/history", query="?limit=1", id=made["id"], **more)
    asked = "?app_id=crm&entity=contacts&operation=UPDATE&limit=1"
    rows = story.ask(f"GET {API}/audit", query=asked, token=token)
    assert [row["operation"] for row in rows] == ["UPDATE"]
    story.ask(f"GET {API}/audit/evidence", token=token)
    story.ask(f"GET {API}/audit/export", query="?app_id=crm", token=token)
    request = {"x-request-id": "delete-alice"}
    story.ask(f"DELETE {one}", given=request, id=made["id"], **more)
    undo = {"request": "delete-alice", "dryRun": True}
    story.ask(f"POST {APP}/undo", undo, token=token, app_id="crm")
    story.ask(f"GET {API}/requests/{{id}}", id="delete-alice", token=token)
    _many_records(story, more)


def _feeds(story: Story, token: str) -> None:
    """Follow contacts until one is created, by both routes."""
    place = ENTITY.format(app_id="crm", entity="contacts") + "/feed?fields=first_name"
    _feed(story, token, f"GET {ENTITY}/feed", place, None)
    subscription = {"entity": "contacts", "where": {"tags": {"$contains": "vip"}}}
    body = {"subscribe": {"vips": {**subscription, "fields": ["first_name"]}}}
    _feed(story, token, f"POST {APP}/feed", APP.format(app_id="crm") + "/feed", body)


def _feed(story: Story, token: str, route: str, place: str, body: Any) -> None:
    headers = {"authorization": f"Bearer {token}"}
    contacts = ENTITY.format(app_id="crm", entity="contacts")
    method = route.partition(" ")[0]
    with story.http.stream(method, place, headers=headers, json=body) as answer:
        assert answer.status_code == 200, answer.read()
        shown: list[str] = []
        for line in answer.iter_lines():
            shown.append(line)
            if line.startswith("event: ready"):
                contact = {"first_name": "Flo", "tags": ["vip"]}
                story.http.post(contacts, json=contact, headers=headers).raise_for_status()
            if not line and "event: enter" in shown:
                break
    story.keep(route, place, body, 200, "\n".join(shown))


def _many_records(story: Story, more: dict[str, Any]) -> None:
    app: dict[str, Any] = {"token": more["token"], "app_id": more["app_id"]}
    contact = {"first_name": "Dora", "email": "dora@acme.com"}
    operations = [
        {"op": "create", "entity": "contacts", "as": "dora", "data": contact},
        {"op": "create", "entity": "contacts", "data": {"first_name": "Dan", "tags": ["vip"]}},
    ]
    story.ask(f"POST {APP}/batch", {"operations": operations}, **app)
    rows = "first_name,email\nEve,eve@acme.com\n,nobody@acme.com\n"
    story.ask(f"POST {ENTITY}/import", rows, query="?dryRun=true", **more)
    where = {"email": "dora@acme.com"}
    body = {"where": where, "set": {"last_name": "Diaz"}, "expect": 1}
    story.ask(f"POST {ENTITY}/update-where", body, **more)
    story.ask(f"POST {ENTITY}/delete-where", {"where": where, "max": 1}, **more)
    _beyond_crud(story, more["token"])


SALES = {
    "appId": "sales",
    "name": "Sales",
    "dataContract": [
        {
            "entityName": "companies",
            "fields": [
                {"name": "name", "type": "text", "required": True},
                {"name": "industry", "type": "text"},
            ],
            "indexes": [{"columns": ["name"], "unique": True}],
            "search": {"fields": [{"name": "name", "weight": "A"}, "industry"]},
        },
        {
            "entityName": "deals",
            "fields": [
                {"name": "title", "type": "text", "required": True},
                {"name": "value", "type": "number"},
                {"name": "stage", "type": "text"},
                {"name": "closed_on", "type": "date"},
                {
                    "name": "label",
                    "type": "text",
                    "generated": {"$concat": ["title", " (", "stage", ")"]},
                },
                {
                    "name": "company_id",
                    "type": "entity_link",
                    "references": {"entity": "companies"},
                },
            ],
        },
    ],
}


def _beyond_crud(story: Story, token: str) -> None:
    """Show more of some routes, with an app of its own that is removed again."""
    headers = {"authorization": f"Bearer {token}"}
    story.http.post(f"{API}/apps", json=SALES, headers=headers).raise_for_status()
    app: dict[str, Any] = {"token": token, "app_id": "sales"}
    deals, companies = {**app, "entity": "deals"}, {**app, "entity": "companies"}
    acme = {"name": "Acme", "industry": "Technology"}
    deal = {"title": "Robots", "value": 4000, "stage": "Won", "closed_on": "2026-01-05"}
    operations = [
        {"op": "create", "entity": "companies", "as": "acme", "data": acme},
        {"op": "create", "entity": "deals", "data": deal | {"company_id": {"$ref": "acme.id"}}},
    ]
    batch = f"POST {APP}/batch"
    story.ask(batch, {"operations": operations, "dryRun": True}, shows="A link, and a trial", **app)
    story.http.post(
        batch.partition(" ")[2].format(**app), json={"operations": operations}, headers=headers
    ).raise_for_status()
    wrong = {"op": "create", "entity": "companies", "data": acme}
    shown: dict[str, Any] = {"shows": "What fails is named", "status": 400}
    story.ask(batch, {"operations": [wrong]}, **shown, **app)
    _queries(story, deals, companies)
    _changes(story, deals, companies)
    story.http.delete(APP.format(app_id="sales"), headers=headers).raise_for_status()


def _queries(story: Story, deals: dict[str, Any], companies: dict[str, Any]) -> None:
    query = f"POST {ENTITY}/query"
    body: dict[str, Any] = {"fields": ["label", "value"], "expand": ["company_id"]}
    story.ask(query, body, shows="Some fields, and a linked record", **deals)
    where = {"deals_via_company_id": {"$some": {"value": {"$gt": 1000}}}}
    body = {"where": where, "fields": ["name"]}
    story.ask(query, body, shows="A filter by linked records", **companies)
    body = {
        "groupBy": ["stage", {"$month": "closed_on"}],
        "aggregate": {"n": {"$count": "*"}, "sum": {"$sum": "value"}},
    }
    story.ask(query, body, shows="Groups", **deals)
    body = {"search": "technology ac", "fields": ["name"], "total": False}
    story.ask(query, body, shows="A search", **companies)
    given = {"accept": "text/csv"}
    place: dict[str, Any] = {"query": "?fields=label,value", "given": given}
    story.ask(f"GET {ENTITY}", shows="A file", **place, **deals)


def _changes(story: Story, deals: dict[str, Any], companies: dict[str, Any]) -> None:
    made = story.ask(
        f"POST {ENTITY}", {"title": "Lamps", "stage": "Lead"}, status=201, shows="Once",
        given={"idempotency-key": "order-17"}, **deals,
    )  # fmt: skip
    one = f"{ENTITY}/{{id}}"
    [found] = story.http.get(
        ENTITY.format(**deals), params={"etag": "true", "title": "Lamps"},
        headers={"authorization": f"Bearer {deals['token']}"},
    ).json()  # fmt: skip
    tag, record = found["_etag"], {"id": made["id"], **deals}
    given = {"if-none-match": tag}
    story.ask(f"GET {one}", status=304, shows="Unchanged", given=given, **record)
    given = {"if-match": '"1-1"'}
    body = {"stage": "Won"}
    story.ask(f"PATCH {one}", body, status=412, shows="A conflict", given=given, **record)
    rows = [{"name": "Acme", "industry": "Robotics"}, {"name": "Bolt"}]
    story.ask(f"POST {ENTITY}/bulk", rows, query="?on=name", shows="An upsert", **companies)
    body = {"where": {"stage": "Lead"}, "set": {"stage": "Lost"}}
    where = f"POST {ENTITY}/update-where"
    story.ask(where, body, status=400, shows="Without a number", **deals)
    rows = "name,industry\nAcme,Machines\n,Toys\n"
    place = {"query": "?on=name&mode=valid", "shows": "Rows that meet records"}
    story.ask(f"POST {ENTITY}/import", rows, **place, **companies)


DESK = {
    "appId": "desk",
    "name": "Desk",
    "dataContract": [
        {
            "entityName": "tickets",
            "fields": [{"name": "contract", "type": "file", "maxSize": "20MB"}],
        }
    ],
}


def _files(story: Story, token: str) -> None:
    """Send and read files, with an app of its own that is removed again."""
    headers = {"authorization": f"Bearer {token}"}
    story.http.post(f"{API}/apps", json=DESK, headers=headers).raise_for_status()
    app: dict[str, Any] = {"token": token, "app_id": "desk"}
    text = "We agree.\n"
    named = {"query": "?name=contract.txt", "status": 201}
    file = story.ask(f"POST {APP}/files", text, **named, **app)
    one = f"{APP}/files/{{id}}"
    story.ask(f"GET {one}", id=file["id"], **app)
    link = story.ask(f"POST {one}/link", {"seconds": 600}, id=file["id"], **app)
    signature = "?" + link["url"].partition("?")[2]
    story.ask(f"GET {one}/link", query=signature, id=file["id"], app_id="desk")
    stored = story.ask(f"POST {APP}/storage/upload", text, **named, **app)
    story.ask(f"GET {APP}/storage/{{id}}", id=stored["file_id"], **app)
    story.ask(f"DELETE {APP}/storage/{{id}}", id=stored["file_id"], **app)
    story.http.delete(APP.format(app_id="desk"), headers=headers).raise_for_status()


def _exports(story: Story, token: str) -> None:
    """Make a link to an export, open it and revoke it."""
    app: dict[str, Any] = {"token": token, "app_id": "crm"}
    place = f"{APP}/exports"
    body = {"entity": "contacts", "query": {"fields": ["first_name"]}, "format": "csv"}
    link = story.ask(f"POST {place}", body, status=201, **app)
    story.ask(f"GET {place}", **app)
    signature = "?" + link["url"].partition("?")[2]
    story.ask(f"GET {place}/{{id}}/file", query=signature, id=link["id"], app_id="crm")
    story.ask(f"DELETE {place}/{{id}}", id=link["id"], **app)


def _roles(story: Story, token: str, bob: str) -> None:
    roles = f"{APP}/roles"
    more: dict[str, Any] = {"token": token, "app_id": "crm"}
    sales = {"name": "sales", "permissions": ["contacts.read", "contacts.update.own"]}
    story.ask(f"POST {roles}", sales, **more)
    story.ask(f"PATCH {roles}/{{role}}", {"description": "Who sells"}, role="sales", **more)
    story.ask(f"GET {roles}", **more)
    story.ask(f"POST {roles}/assign", {"userId": bob, "role": "sales"}, **more)
    story.ask(f"GET {roles}/assignments", **more)
    story.ask(f"GET {APP}/permissions", **more)
    story.ask(f"GET {APP}/permissions/available", **more)
    story.ask(f"GET {APP}/permissions/{{user_id}}", user_id=bob, **more)
    why = {"user": bob, "app": "crm", "action": "contacts.update"}
    asked = "&".join(f"{name}={value}" for name, value in why.items())
    story.ask(f"GET {API}/permissions/explain", query=f"?{asked}", token=token)
    assume = {"assume": {"permissions": ["contacts.delete"]}}
    what_if = {**why, "action": "contacts.delete", **assume}
    story.ask(f"POST {API}/permissions/explain", what_if, token=token)
    story.ask(f"POST {roles}/revoke", {"userId": bob, "role": "sales"}, **more)
    story.ask(f"DELETE {roles}/{{role}}", role="sales", **more)


def _secrets(story: Story, token: str) -> None:
    of_app, of_platform = f"{APP}/secrets", f"{API}/platform/secrets"
    rows: list[tuple[str, str, dict[str, Any]]] = [
        (of_app, "OPENAI_API_KEY", {"app_id": "crm"}),
        (of_platform, "SMTP_PASSWORD", {}),
    ]
    for path, key, more in rows:
        story.ask(f"POST {path}", {"key": key, "value": "sk-0123456789"}, token=token, **more)
        story.ask(f"GET {path}", token=token, **more)
        story.ask(f"GET {path}/usage", token=token, **more)
        story.ask(f"DELETE {path}/{{key}}", token=token, key=key, **more)


def _work(story: Story, token: str) -> None:
    more: dict[str, Any] = {"token": token, "app_id": "crm"}
    deploy(story, token)
    _publish(story, token)
    story.ask(f"POST {APP}/worker/stop", **more)
    story.ask(f"POST {APP}/worker/start", **more)
    story.ask(f"GET {APP}/worker/status", **more)
    story.ask(f"GET {APP}/worker/handlers", **more)
    story.ask(f"GET {APP}/worker/replicas", **more)
    story.ask(f"GET {APP}/worker/versions", **more)
    story.ask(f"POST {APP}/worker/rollback", {"version": 1}, **more)
    story.ask(f"GET {APP}/worker/ports", **more)
    story.ask(f"POST {APP}/worker/ports", {"ports": []}, **more)
    call = {"method": "sendWelcomeEmail", "params": {"contactId": "f47ac10b"}}
    story.ask(f"POST {APP}/rpc", call, **more)
    _log(story, token)
    jobs = f"{APP}/jobs"
    payload = {"type": "send_report", "userId": "f47ac10b"}
    job_id = story.ask(f"POST {jobs}", {"payload": payload}, status=201, **more)["job_id"]
    _until(lambda: _state(story, token, job_id) == "completed")
    story.ask(f"GET {jobs}/{{job_id}}", job_id=job_id, **more)
    story.ask(f"GET {jobs}", query="?status=completed&limit=1", **more)
    later = {"payload": payload, "run_at": f"{time.gmtime().tm_year + 1}-12-31T00:00:00Z"}
    late = story.ask(f"POST {jobs}", later, status=201, **more)["job_id"]
    story.ask(f"POST {jobs}/{{job_id}}/cancel", job_id=late, **more)
    story.ask(f"GET {jobs}/{{job_id}}/attempts", job_id=job_id, **more)
    story.ask(f"GET {jobs}/counts", **more)
    story.ask(f"POST {jobs}", later, status=201, **more)
    story.ask(f"POST {jobs}/cancel", {"status": "pending"}, **more)
    story.ask(f"POST {jobs}/retry", {"status": "cancelled"}, **more)
    story.ask(f"GET {API}/plugins/{{plugin}}/jobs", query="?status=failed", plugin="jobs", **more)


def deploy(story: Story, token: str) -> None:
    """Deploy the worker."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        entry = tarfile.TarInfo("worker.py")
        entry.size = len(WORKER.encode())
        archive.addfile(entry, io.BytesIO(WORKER.encode()))
    files = {"archive": ("crm.tar.gz", packed.getvalue(), "application/gzip")}
    headers, place = {"authorization": f"Bearer {token}"}, APP.format(app_id="crm") + "/deploy"
    answer = story.http.post(place, files=files, headers=headers)
    assert answer.status_code == 200, answer.text
    story.keep(f"POST {APP}/deploy", place, "(the file crm.tar.gz)", 200, answer.json())


def _publish(story: Story, token: str) -> None:
    """Deploy a frontend twice, go back to the first, and delete it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        entry = tarfile.TarInfo("index.html")
        entry.size = len(PAGE.encode())
        archive.addfile(entry, io.BytesIO(PAGE.encode()))
    headers = {"authorization": f"Bearer {token}"}
    place = APP.format(app_id="crm") + "/frontend"
    for _ in range(2):
        files = {"archive": ("site.tar.gz", packed.getvalue(), "application/gzip")}
        answer = story.http.post(place, files=files, headers=headers)
        assert answer.status_code == 200, answer.text
        story.keep(f"POST {APP}/frontend", place, "(the file site.tar.gz)", 200, answer.json())
    more: dict[str, Any] = {"app_id": "crm", "token": token}
    story.ask(f"GET {APP}/frontend/versions", **more)
    sign_in = {"app": "crm", "challenge": "x" * 43, "state": "y" * 32}
    story.ask(f"POST {API}/frontends/sign-in", sign_in, token=token)
    story.ask(f"POST {APP}/frontend/rollback", {"version": 1}, **more)
    story.ask(f"DELETE {APP}/frontend", **more)


def _log(story: Story, token: str) -> None:
    """Read the log until the line of the call is there; lines are written a moment later."""
    place = APP.format(app_id="crm") + "/logs?tail=1000"
    headers = {"authorization": f"Bearer {token}"}
    with story.http.stream("GET", place, headers=headers) as answer:
        lines = answer.iter_lines()
        before = ""
        while "welcomed" not in (line := next(lines)):
            before = line
    story.keep(f"GET {APP}/logs", place, None, 200, f"{before}\n{line}")


def _state(story: Story, token: str, job_id: str) -> str:
    headers = {"authorization": f"Bearer {token}"}
    place = f"{APP}/jobs/{job_id}".format(app_id="crm")
    return story.http.get(place, headers=headers).json()["status"]


def _until(done: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def _system(story: Story, token: str) -> None:
    story.ask("GET /health")
    story.ask("GET /health/ready")
    story.ask(f"GET {API}/status", token=token)
    story.ask(f"GET {API}/plugins", token=token)
    story.ask(f"POST {API}/plugins/plan", {"disable": ["logs"]}, token=token)


def _console(story: Story, token: str) -> None:
    console = f"{API}/console"
    story.ask(f"PATCH {console}/settings", {"theme": "dark"}, token=token)
    story.ask(f"GET {console}/settings", token=token)
    view = {"app": "crm", "entity": "contacts", "name": "By name", "state": {"sort": "last_name"}}
    made = story.ask(f"POST {console}/views", view, status=201, token=token)
    story.ask(f"GET {console}/views", query="?app=crm&entity=contacts", token=token)
    at = {"id": made["id"], "token": token}
    story.ask(f"GET {console}/views/{{id}}", **at)
    changed = {"name": "By last name", "state": {"sort": "last_name"}}
    story.ask(f"PUT {console}/views/{{id}}", changed, given={"if-match": '"1"'}, **at)
    story.ask(f"DELETE {console}/views/{{id}}", **at)
    story.ask(f"GET {console}/pages", token=token)
    story.ask(f"GET {console}/features", token=token)
    story.ask(f"GET {console}/manuals/{{plugin}}", plugin="console", token=token)
    login = {"username": "alice", "password": "Str0ngerPass!x"}
    refresh = story.ask(f"POST {API}/auth/login", login)["refreshToken"]
    story.http.headers["sec-fetch-site"] = "same-origin"  # as a browser says of its own pages
    key = story.ask(f"POST {console}/session", {"refreshToken": refresh})["key"]
    story.ask(f"DELETE {console}/session", {"key": key})
    del story.http.headers["sec-fetch-site"]


def _second_factors(story: Story, token: str, bob: str) -> None:
    auth, login = f"{API}/auth", {"username": "bob", "password": PASSWORD}
    secret = story.ask(f"POST {auth}/totp", token=token)["secret"]
    code = {"code": TOTP(secret).now()}
    codes = story.ask(f"POST {auth}/totp/confirm", code, token=token)["recoveryCodes"]
    story.ask(f"GET {auth}/totp", token=token)
    story.ask(f"POST {auth}/totp/recovery-codes", {"code": codes[0]}, token=token)
    story.ask(f"DELETE {auth}/totp", {"password": "Str0ngerPass!x"}, token=token)
    of_bob = story.ask(f"POST {auth}/login", login)["accessToken"]
    story.ask(f"POST {auth}/totp", token=of_bob)
    story.ask(f"DELETE {API}/users/{{id}}/totp", token=token, id=bob)


def _people(story: Story, token: str, bob: str) -> None:
    profile = {"email": "alice@example.com", "password": "Str0ngerPass!x"}
    story.ask(f"PATCH {API}/auth/profile", profile, token=token)
    story.ask(f"GET {API}/users/accounts", query="?limit=1", token=token)
    story.ask(f"DELETE {API}/users/{{id}}/sessions", token=token, id=bob)
    invites, guest = f"{API}/users/invites", f"{API}/auth/invites"
    form = {"app": "crm", "role": "admin", "email": "carol@example.com"}
    made = story.ask(f"POST {invites}", form, token=token, status=201)
    story.ask(f"GET {invites}", token=token)
    story.ask(f"POST {guest}/show", {"token": made["token"]})
    account = {"token": made["token"], "username": "carol", "password": PASSWORD}
    story.ask(f"POST {guest}/accept", account, status=201)
    spare = story.ask(f"POST {invites}", {}, token=token, status=201)
    story.ask(f"DELETE {invites}/{{id}}", token=token, id=spare["id"])
    story.ask(f"GET {API}/permissions/assignments", token=token)


def _shop(story: Story, token: str) -> None:
    """What who runs the server looks at, and a backup."""
    story.ask(f"GET {API}/traffic", token=token)
    story.ask(f"GET {API}/updates", token=token)
    backups = f"{API}/backups"
    story.ask(f"POST {backups}", token=token, status=202)
    [file] = _await_run(story, token)["files"]
    story.ask(f"GET {backups}", token=token)
    story.ask(f"GET {backups}/{{name}}", token=token, name=file["name"])
    story.ask(f"POST {backups}/{{name}}/verify", token=token, status=202, name=file["name"])
    _await_run(story, token)


def _await_run(story: Story, token: str) -> dict[str, Any]:
    """Return the backups once the last run has ended."""
    headers = {"authorization": f"Bearer {token}"}
    for _ in range(300):
        backups = story.http.get(f"{API}/backups", headers=headers).json()
        if backups["runs"][0]["state"] != "running":
            return backups
        time.sleep(0.3)
    raise AssertionError("the backup takes too long")


def _keys(story: Story, token: str) -> None:
    keys = f"{API}/auth/keys"
    form = {"name": "spreadsheet", "apps": ["crm"], "permissions": ["crm:contacts.read"]}
    made = story.ask(f"POST {keys}", form, token=token, status=201)
    story.ask(f"GET {keys}", token=token)
    story.ask(
        f"POST {keys}/{{id}}/rotate", {"overlap": 3600}, token=token, status=201, id=made["id"]
    )
    story.ask(f"DELETE {keys}/{{id}}", token=token, id=made["id"])
    robot = {"username": "importer", "display_name": "Nightly import"}
    story.ask(f"POST {API}/users/service", robot, token=token, status=201)


def _grants(story: Story, token: str) -> None:
    more: dict[str, Any] = {"token": token, "app_id": "billing"}
    story.ask(f"POST {API}/apps", {"appId": "billing", "name": "Billing"}, token=token)
    grant = {"app": "crm", "permissions": ["contacts.read"]}
    story.ask(f"POST {APP}/grants", grant, **more)
    story.ask(f"GET {APP}/grants", **more)
    story.ask(f"DELETE {APP}/grants/{{app}}", app="crm", **more)


def _end(story: Story, token: str, bob: str) -> None:
    less: Mapping[str, Any] = MANIFEST | {"dataContract": []}
    story.ask(f"POST {API}/apps", less, token=token)
    prune = {"entity": "contacts", "dryRun": True}
    story.ask(f"POST {APP}/schema/prune", prune, token=token, app_id="crm")
    story.ask(f"DELETE {APP}", token=token, app_id="crm")
    story.ask(f"PATCH {API}/users/{{id}}", {"display_name": "Bob"}, token=token, id=bob)
    story.ask(f"DELETE {API}/users/{{id}}", token=token, id=bob)


def write(examples: Mapping[str, Any], path: Path = RECORDED) -> None:
    """Write the examples down by route."""
    text = json.dumps(dict(sorted(examples.items())), indent=2, ensure_ascii=False)
    path.write_text(text + "\n", "utf-8")


def read(path: Path = RECORDED) -> dict[str, dict[str, Any]]:
    """The examples that are written down."""
    return json.loads(path.read_text("utf-8"))


def main() -> int:
    """Play the story on the server of a command line's address, a fresh one, and write it down."""
    if len(sys.argv) != 2:
        print("usage: python -m docs.story http://127.0.0.1:9100   (a new server)")
        return 2
    write(play(sys.argv[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
