"""Mistakes in hooks, and in what takes part in the writes of records."""

from __future__ import annotations

import httpx

from kernel.testing import Server
from tests.kernel.mistakes.mistake import APP, Mistake, write

SLOW = "a hook took too long"
OBSERVER = "an observer failed"


def as_odd(server: Server, name: str) -> httpx.Response:
    """Write in the request that the plugin is about."""
    path, odd = f"/api/v1/apps/{APP}/collections/plain", {"x-request-id": "odd"}
    return server.admin.post(path, json={"title": "x"}, headers=odd)


def reading(server: Server, name: str) -> httpx.Response:
    """List the records of the entity that has the plugin's name."""
    return server.admin.get(f"/api/v1/apps/{APP}/collections/{name}")


def with_token(server: Server, name: str) -> httpx.Response:
    """Send credentials that only the plugin looks at."""
    return server.http.get("/api/v1/status", headers={"x-mistake": name})


def written(hook: str, code: str, head: str = "") -> str:
    """Return a plugin that takes part in the writes of its own entity by a hook."""
    given = {"record_writing": "tx, change", "event_recorded": "tx, event"}.get(hook, "event")
    return f"""
{head}
@hookimpl
@for_subjects("{APP}.*")
async def {hook}(self, {given}):
    subject = {"change" if hook == "record_writing" else "event"}.subject
    if subject != "{APP}." + self.name:
        return
    {code}
"""


RECORDS = """
requires = (RECORDS,)

@hookimpl
@asynccontextmanager
async def lifespan(self, services):
    self._records = services.get(RECORDS)
    yield
"""


def creates(entity: str, arguments: str, mark: str = "  # here") -> str:
    """Return a plugin whose `record_writing` writes a record of an entity."""
    target = f'Target(change.actor, Grant(), "{APP}", {entity})'
    call = f"self._records.create({target}, {arguments})"
    return written("record_writing", f"await {call}{mark}", RECORDS)


LEADS = creates('"waits_inside"', "VALUES, tx=tx", "")
"""A plugin whose hook leads to that of another one."""

HOOKS = {
    "guard_raises": Mistake(
        title="`record_writing` raises what it does not expect",
        body=written("record_writing", 'change.values["missing"].upper()  # here'),
        ask=write,
        says={"error": "KeyError"},
    ),
    "guard_exits": Mistake(
        title="`record_writing` calls sys.exit",
        body=written("record_writing", "sys.exit(1)  # here"),
        ask=write,
        says={"error": "HookFailed"},
        remedy="raise an error",
    ),
    "guard_is_slow": Mistake(
        title="`record_writing` waits too long",
        body=written("record_writing", "await anyio.sleep(60)  # here"),
        ask=write,
        status=503,
        event=SLOW,
        remedy="fix the plugin",
    ),
    "guard_never_ends": Mistake(
        title="`record_writing` swallows its cancellation",
        body=written(
            "record_writing",
            """
    while True:
        try:
            await asyncio.sleep(60)  # here
        except BaseException:
            pass
    """,
        ),
        ask=write,
        status=503,
        event=SLOW,
        remedy="let CancelledError pass",
    ),
    "observer_raises": Mistake(
        title="`event_committed` raises",
        body=written("event_committed", 'raise ValueError("no")  # here'),
        ask=write,
        status=201,
        event=OBSERVER,
        says={"error": "ValueError: no"},
    ),
    "observer_exits": Mistake(
        title="`event_committed` calls sys.exit",
        body=written("event_committed", "sys.exit(1)  # here"),
        ask=write,
        status=201,
        event=OBSERVER,
        remedy="raise an error",
    ),
    "observer_is_slow": Mistake(
        title="`event_committed` waits too long",
        body=written("event_committed", "await anyio.sleep(60)  # here"),
        ask=write,
        status=201,
        event=SLOW,
    ),
    "observer_sql": Mistake(
        title="a table is misspelt in `event_committed`",
        body=written(
            "event_committed",
            'await self._statements.fetch("select 1 from caudex_observer.gusts")  # here',
            head="""
requires = (STATEMENTS,)

@hookimpl
@asynccontextmanager
async def lifespan(self, services):
    self._statements = services.get(STATEMENTS)
    yield
""",
        ),
        ask=write,
        status=201,
        event=OBSERVER,
        says={"error": 'relation "caudex_observer.gusts" does not exist'},
        remedy="correct the statement",
    ),
    "scope_is_a_list": Mistake(
        title="`record_scope` returns a list",
        body="""
            @hookimpl  # here
            async def record_scope(self, entity):
                return ["title"] if entity.name == "scope_is_a_list" else None
        """,
        ask=reading,
        says={"error": "HookFailed"},
        remedy="return Mapping or None",
    ),
    "scope_names_nothing": Mistake(
        title="`record_scope` names a field that does not exist",
        body="""
            @hookimpl  # here
            async def record_scope(self, entity):
                return {"titel": "x"} if entity.name == "scope_names_nothing" else None
        """,
        ask=reading,
        says={"error": "HookFailed"},
    ),
    "actor_is_a_name": Mistake(
        title="`authenticate` returns a name",
        body="""
            @hookimpl  # here
            async def authenticate(self, request):
                return request.headers.get("x-mistake")
        """,
        ask=with_token,
        says={"error": "HookFailed"},
        remedy="return Actor or None",
    ),
    "values_are_wrong": Mistake(
        title="`record_writing` sets a field that does not exist",
        body="""
            @hookimpl  # here
            @for_subjects("oops.values_are_wrong")
            async def record_writing(self, change):
                change.values["titel"] = "y"
        """,
        ask=write,
        says={"error": "HookFailed"},
    ),
    "setting_without_a_dot": Mistake(
        title="`session_settings` returns a name that PostgreSQL refuses",
        body="""
            @hookimpl  # here
            def session_settings(self, actor):
                return {"tenant": "x"} if actor.request_id == "odd" else {}
        """,
        ask=as_odd,
        says={"error": "HookFailed"},
        remedy="name it with a dot",
    ),
    "subjects_raise": Mistake(
        title="the method of `@subjects_from` raises while the server runs",
        body="""
            started = False

            @hookimpl
            @asynccontextmanager
            async def lifespan(self, services):
                yield

            def _subjects(self):
                if self.started:
                    raise ValueError("no")  # here
                return []

            @hookimpl
            @subjects_from("_subjects")
            async def record_writing(self, change): ...

            @hookimpl
            def register_routes(self, services):
                return [Route("GET", "/subjects_raise", self.get, needs=PUBLIC)]

            async def get(self, request):
                BrokenPlugin.started = not self.started
                return reply({})
        """,
        head="from caudex import subjects_from",
        ask=lambda server, name: _between(server, name),
        says={"error": "ValueError"},
    ),
    "waits_inside": Mistake(
        title="a hook waits too long, which a hook of another plugin led to",
        body=written("record_writing", "await anyio.sleep(60)  # here"),
        ask=lambda server, name: write(server, "leads_to_it"),
        status=503,
        event=SLOW,
    ),
    "reenters": Mistake(
        title="`record_writing` writes a record outside of its transaction",
        head='VALUES = {"title": "x"}',
        body=creates("self.name", "VALUES"),
        ask=write,
        says={"detail": "a record is written within a transaction, and not as a part of it"},
        remedy="pass tx=tx",
    ),
    "recurses": Mistake(
        title="`record_writing` writes a record of the entity that it is called for",
        body=creates("self.name", "VALUES, tx=tx"),
        head='VALUES = {"title": "x"}',
        ask=write,
        says={"detail": "more than 16 calls of RECORDS are within each other"},
        remedy="end the recursion",
    ),
}


def _between(server: Server, name: str) -> httpx.Response:
    server.http.get(f"/{name}")
    try:
        return write(server, "plain")
    finally:
        server.http.get(f"/{name}")
