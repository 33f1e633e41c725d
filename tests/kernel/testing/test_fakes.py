"""Fakes keep the promises of their Protocols, as far as memory can."""

import inspect
from typing import Any

import anyio
import msgspec
import pytest

from kernel import contracts
from kernel.loading.ordering import KERNEL_SERVICES
from kernel.public import (
    APP_ADMIN,
    CORE_ADMIN,
    Actor,
    AuditFilter,
    BadRequest,
    Caller,
    Forbidden,
    Grant,
    NewJob,
    NotFound,
    Page,
    Role,
    ServiceKey,
    Target,
    Unavailable,
    View,
    core_permission,
    entity,
    new_delegation,
)
from kernel.testing import (
    FakeAccess,
    FakeApps,
    FakeAudit,
    FakeIdentity,
    FakeJobs,
    FakeLogs,
    FakeRecords,
    FakeVault,
    FakeWorkers,
)
from kernel.testing.fakes import every_fake

ADA = Actor(user_id="ada", username="ada")
BOB = Actor(user_id="bob", username="bob")
OF_THE_KERNEL = {
    *KERNEL_SERVICES, "http_server", "database_server", "process_manager", "reads", "idempotency",
    "storage", "thumbnails", "files", "frontends", "recorded", "changes", "watches", "live_queries",
    "caller_sql",
}  # fmt: skip
"""Real in every test: processes, folders and PostgreSQL, which `reads` is a standby of, are never
faked. `caller_sql` runs SQL. `idempotency` gives work a transaction. `recorded`, `changes`,
`watches` and `live_queries` read what triggers wrote."""
CRM = {"app_id": "crm", "entity": "contacts"}

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_every_service_has_a_fake_with_all_of_its_methods() -> None:
    keys = {value.name for value in vars(contracts).values() if isinstance(value, ServiceKey)}
    fakes = every_fake()
    assert {key.name for key in fakes} == keys - OF_THE_KERNEL
    for key, fake in fakes.items():
        protocol: Any = getattr(contracts, key.name.title().replace("_", ""))
        for name, member in vars(protocol).items():
            if not name.startswith("_") and callable(member):
                theirs = getattr(type(fake), name)
                assert list(inspect.signature(theirs).parameters) == list(
                    inspect.signature(member).parameters
                ), f"{type(fake).__name__}.{name}"


async def test_a_vault_overlays_the_platforms_secrets() -> None:
    vault = FakeVault({None: {"A": "platform", "B": "platform"}})
    await vault.set(ADA, "crm", "B", "own")
    assert await vault.reveal("crm") == {"A": "platform", "B": "own"}
    assert await vault.names("crm") == ["B"]
    await vault.delete(ADA, "crm", "B")
    assert await vault.reveal("crm") == {"A": "platform", "B": "platform"}
    with pytest.raises(NotFound):
        await vault.delete(ADA, "crm", "B")


async def test_a_trail_is_searched_newest_first() -> None:
    audit = FakeAudit()
    audit.add("crm", "contacts", "INSERT", record_id="1")
    audit.add("crm", "contacts", "UPDATE", record_id="1")
    audit.add("core", "users", "LOGIN", actor_id="ada")
    found = msgspec.json.decode(await audit.search(AuditFilter(app_id="crm")))
    assert [row["operation"] for row in found] == ["UPDATE", "INSERT"]
    found = msgspec.json.decode(await audit.search(AuditFilter(before=2, limit=5)))
    assert [row["id"] for row in found] == [1]
    assert msgspec.json.decode(await audit.search(AuditFilter(actor_id="bob"))) == []


async def write_later(logs: FakeLogs) -> None:
    await anyio.sleep(0.05)
    logs.write("crm", "warn", "more")


async def test_log_lines_are_kept_and_followed() -> None:
    logs = FakeLogs()
    logs.write("crm", "info", "a line")
    [line] = await logs.tail("crm", 10)
    assert (line.id, line.message) == (1, "a line")
    assert await logs.tail("crm", 0) == []
    with anyio.fail_after(30):
        async with logs.follow("crm", 0) as batches:
            first = await anext(batches)
            assert first is not None
            assert first.lines == [line]
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(write_later, logs)
                followed = await anext(batches)
            assert followed is not None
            assert [(each.id, each.message) for each in followed.lines] == [(2, "more")]


async def test_accounts_are_found_without_regard_to_case() -> None:
    identity = FakeIdentity()
    ada = identity.put("Ada", email="ada@example.org")
    assert await identity.find("ADA") == ada
    assert await identity.user(ada.id.upper()) == ada
    assert await identity.user("no id") is None
    identity.put("abe")
    assert [user.username for user in await identity.users()] == ["abe", "Ada"]
    assert ada.id in await identity.issue_delegated_token(ada.id, new_delegation("crm", 5))
    with pytest.raises(NotFound):
        await identity.issue_delegated_token("nobody", new_delegation("crm", 5))


async def test_access_is_what_was_allowed() -> None:
    access = FakeAccess()
    access.declare("crm", "contacts.read", "contacts.create")
    access.allow("ada", "crm", "contacts.read", "contacts.update.own")
    access.allow("root", "core", "*")
    path = CRM
    assert await access.authorize(ADA, entity("read"), path) == Grant()
    assert await access.authorize(ADA, entity("update"), path) == Grant(own_only=True)
    assert await access.authorize(Actor(user_id="root"), entity("delete"), path) == Grant()
    for refused in (entity("delete"), APP_ADMIN, CORE_ADMIN, core_permission("x.y")):
        with pytest.raises(Forbidden):
            await access.authorize(ADA, refused, path)
    with pytest.raises(NotFound):
        await access.authorize(ADA, entity("read"), {"app_id": "gone", "entity": "x"})
    assert await access.is_app_admin("root", "crm")
    assert not await access.is_app_admin("root", "gone")
    assert [p.key for p in await access.available("crm")] == ["contacts.read", "contacts.create"]
    access.closed.add("ada")
    with pytest.raises(Forbidden, match="closed"):
        await access.grant("ada", "crm", "contacts", "read")


async def test_roles_are_made_inherited_given_and_taken() -> None:
    access = FakeAccess()
    access.declare("crm")
    await access.create_role(ADA, "crm", Role(name="reader", permissions=["contacts.read"]))
    await access.create_role(ADA, "crm", Role(name="editor", inherits=["reader"]))
    await access.assign(ADA, "crm", "bob", "editor")
    await access.assign(ADA, "crm", "bob", "editor")
    assert await access.grant("bob", "crm", "contacts", "read") == Grant()
    assert (await access.effective("bob", "crm")).roles == ["editor", "reader"]
    assert [each.role for each in await access.assignments("crm")] == ["editor"]
    await access.update_role(ADA, "crm", "reader", {"permissions": []})
    with pytest.raises(Forbidden):
        await access.grant("bob", "crm", "contacts", "read")
    await access.delete_role(ADA, "crm", "editor")
    assert await access.assignments("crm") == []
    with pytest.raises(BadRequest):
        await access.create_role(ADA, "crm", Role(name="reader"))
    with pytest.raises(NotFound):
        await access.assign(ADA, "crm", "bob", "editor")
    access.allow("bob", "crm", "*")
    with pytest.raises(BadRequest, match="last admin"):
        await access.revoke(ADA, "crm", "bob", "admin")


async def test_apps_have_entities_and_a_stamp_that_changes() -> None:
    apps = FakeApps()
    app = apps.add("crm", contacts=["title"])
    contacts = await apps.entity("crm", "contacts")
    assert (contacts.subject, [field.name for field in contacts.fields]) == (
        "crm.contacts",
        ["title"],
    )
    assert apps.put(app).version_stamp == app.version_stamp + 1
    assert [each.id for each in await apps.all()] == ["crm"]
    for name in ("gone", "crm"):
        with pytest.raises(NotFound):
            await apps.entity(name, "gone")


async def test_records_are_written_and_read() -> None:
    records = FakeRecords()
    target = Target(ADA, Grant(), **CRM)
    created = await records.create_many(target, [{"n": 1}, {"n": 2}, {}])
    ids = [row["id"] for row in msgspec.json.decode(created)]
    first = await records.get(target, ids[0])
    assert msgspec.json.decode(first.record)["n"] == 1

    async def numbers(**page: Any) -> list[int | None]:
        rows = await records.page(target, Page(**page))
        return [row.get("n") for row in msgspec.json.decode(rows)]

    assert await numbers() == [None, 2, 1]
    assert await numbers(order_by="n", order="asc") == [1, 2, None]
    assert await numbers(where={"n": 2}) == [2]
    assert await numbers(limit=1, offset=1) == [2]
    assert await numbers(after=ids[1]) == [1]
    for attempt in (
        lambda: numbers(where={"$or": []}),
        lambda: records.count(target, None, "words"),
        lambda: records.get(target, ids[0], View(expand=["parent"])),
        lambda: records.update(target, ids[0], {"n": 6}, if_match='"other"'),
        lambda: records.batch(ADA, "crm", []),
    ):
        with pytest.raises(NotImplementedError):
            await attempt()
    await records.update(target, ids[0], {"n": 5}, if_match=first.etag)
    await records.delete(target, ids[1])
    assert await records.count(target, None) == 2
    async with records.stream(target, Page(order="asc")) as pieces:
        streamed = msgspec.json.decode(b"".join([piece async for piece in pieces]))
    assert [row.get("n") for row in streamed] == [5, None]
    assert "_owner" not in streamed[0]


async def test_others_records_are_not_there_for_who_sees_only_their_own() -> None:
    records = FakeRecords()
    own = Grant(own_only=True)
    of_bob = Target(BOB, own, **CRM)
    created = await records.create(Target(ADA, own, **CRM), {"n": 1})
    record_id = msgspec.json.decode(created.record)["id"]
    assert await records.count(of_bob, None) == 0
    for attempt in (
        records.get(of_bob, record_id),
        records.update(of_bob, record_id, {}),
        records.delete(of_bob, record_id),
    ):
        with pytest.raises(NotFound):
            await attempt


async def test_jobs_wait_until_the_test_ends_them() -> None:
    jobs = FakeJobs()

    async def enqueue(payload: bytes, key: str | None = None) -> str:
        return await jobs.enqueue(ADA, "crm", NewJob(payload=msgspec.Raw(payload), key=key))

    first, keyed = await enqueue(b'{"n": 1}'), await enqueue(b"2", key="k")
    assert await enqueue(b"3", key="k") == keyed
    jobs.end(first, {"done": True})
    jobs.end(keyed, error="broken")
    assert await enqueue(b"4", key="k") != keyed
    job = msgspec.json.decode(await jobs.get("crm", first))
    assert (job["status"], job["payload"], job["result"]) == ("completed", {"n": 1}, {"done": True})
    listed = await jobs.list("crm", status="failed", limit=10, before=None)
    assert [each["error"] for each in msgspec.json.decode(listed)] == ["broken"]
    before = await jobs.list("crm", status=None, limit=10, before=keyed)
    assert [each["id"] for each in msgspec.json.decode(before)] == [first]
    with pytest.raises(BadRequest, match="it is completed"):
        await jobs.cancel(ADA, "crm", first)
    with pytest.raises(NotFound):
        await jobs.get("other", first)


async def test_workers_are_coroutines_of_the_test() -> None:
    async def double(params: Any, caller: Caller) -> Any:
        return {"by": caller.username, "n": params["n"] * 2}

    async def job(payload: Any, caller: Caller | None) -> Any:
        return payload

    async def progress(value: bytes) -> None:
        raise AssertionError(value)

    heard: list[tuple[str, str]] = []

    async def hear(app_id: str, state: str) -> None:
        heard.append((app_id, state))

    workers = FakeWorkers({"crm": {"double": double}}, jobs={"crm": job})
    workers.on_change(hear)
    caller = Caller(user_id="ada", username="ada")
    result = msgspec.json.decode(await workers.rpc("crm", "double", b'{"n": 2}', caller))
    assert result == {"by": "ada", "n": 4}
    assert await workers.run_job("crm", "1", b"[1]", None, progress) == b"[1]"
    assert list(workers.running()) == ["crm"]
    with pytest.raises(NotFound):
        await workers.rpc("crm", "triple", b"{}", caller)
    await workers.stop(ADA, "crm")
    assert (await workers.status("crm")).status == "stopped"
    with pytest.raises(Unavailable):
        await workers.rpc("crm", "double", b"{}", caller)
    await workers.start(ADA, "crm")
    await workers.restart("crm")
    await workers.refresh("crm")
    assert workers.refreshed == ["crm"]
    assert [state for _, state in heard] == ["stopped", "running", "starting", "running"]
    with pytest.raises(NotFound):
        await workers.start(ADA, "other")
