"""Bodies at their limit: what they cost the event loop, which everyone else waits for."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import msgspec
import pytest
from anyio.lowlevel import checkpoint

from kernel.public import App, BadRequest, Entity, Field, Grant, Operation, Target, server_actor
from kernel.testing.fakes import FakeAccess, FakeApps
from kernel.web.bodies import decode
from plugins.data.assembly import Dependencies, build_records
from plugins.data.columns.columns import Columns
from plugins.data.filters.conditions import Conditions
from plugins.data.rendering import Rendering
from plugins.data.service import RecordsService
from plugins.data.values import arrays, rows

STAMP = "2024-01-15T10:30:00.5Z"
NAMES = [f"at_{index}" for index in range(100)]


def entity(*names: str, kind: Any = "timestamp", sql: str = "timestamptz") -> Entity:
    fields = [Field(name=name, type=kind, sql_type=sql) for name in names]
    return Entity(
        app_id="lab", name="things", id_type="uuid", id_declared=False, fields=tuple(fields)
    )


def seconds(work: Callable[[], object]) -> float:
    """Processor time of this thread, without a full collection: that takes longer than the work."""
    gc.disable()
    try:
        started = time.thread_time()
        work()
        return time.thread_time() - started
    finally:
        gc.enable()


@pytest.mark.slow
@pytest.mark.parametrize("piece", [b"a", b"\\\\", b"a\\\\"])
def test_fifty_megabytes_of_a_pattern_are_refused_at_once(piece: bytes):
    raw = b'{"word": {"$like": "' + piece * (49_000_000 // len(piece)) + b'"}}'
    once = seconds(lambda: raw.translate(None, b"\0"))  # one whole-text operation
    tree = decode(raw, msgspec.json.Decoder(dict[str, Any]))

    def match() -> None:
        columns = Columns(entity("word", kind="text", sql="text"))
        with pytest.raises(BadRequest, match="characters"):
            Conditions(columns).require_tree(tree)

    assert seconds(match) < once


class Silent:
    """No hooks, and statements that count the rows they are sent, without a turn of the loop."""

    def __init__(self) -> None:
        self.rows = 0

    def implementations(self, hook: object) -> Sequence[object]:
        return ()

    def listeners(self, hook: object, subject: str) -> Sequence[object]:
        return ()

    def settings(self, actor: object) -> bytes:
        return b"{}"

    async def execute(self, query: bytes, *params: Any) -> bytes:
        self.rows = 1 + (params[2].count(b",") if b"unnest" in query else 0)
        return b"[]"

    async def execute_grouped(self, key: str, query: bytes, *params: Any) -> bytes:
        return await self.execute(query, *params)


def service_of(silent: Silent) -> RecordsService:
    apps = FakeApps()
    things = entity(*NAMES)
    numbers = Field(name="sizes", type="[number]", sql_type="double precision[]")
    word = Field(name="word", type="text", sql_type="text")
    fields = (*things.fields, numbers, word)
    things = msgspec.structs.replace(things, fields=fields, unique=(("word",),))
    apps.put(App(id="lab", name="lab", version="1", version_stamp=1, entities={"things": things}))
    both: Any = silent
    return build_records(Dependencies(both, apps, both, FakeAccess))


async def turns_during(
    call: Callable[[RecordsService], Any], silent: Silent | None = None
) -> tuple[int, Silent]:
    """Count the turns that others get of the event loop until a call returns."""
    silent, turns = silent or Silent(), 0
    service = service_of(silent)

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(turn)
        await checkpoint()
        before = turns
        await call(service)
        tasks.cancel_scope.cancel()
        return turns - before, silent
    raise AssertionError


class Stopped(Exception):
    """Rows were sent within a transaction. Raised as nothing here can answer them."""


class SilentInTransaction(Silent):
    """The same, as it is in transactions: these end with the first rows that they are sent."""

    actor = server_actor()

    async def run(self, actor: object, work: Callable[[Any], Any], **options: object) -> object:
        return await work(self)

    async def execute(self, query: bytes, *params: Any) -> bytes:
        await super().execute(query, *params)
        raise Stopped


async def until_rows_are_sent(work: Any) -> None:
    with pytest.raises(Stopped):
        await work


TARGET = Target(server_actor(), Grant(), "lab", "things")
ROW = dict.fromkeys(NAMES, STAMP)
CALLS: dict[str, tuple[Callable[[RecordsService], Any], int]] = {
    "bulk": (lambda service: service.create_many(TARGET, [ROW] * 1000), 1000),
    "bulk of unlike rows": (
        lambda service: service.create_many(TARGET, [ROW, *[{"at_0": STAMP}] * 999]),
        1000,
    ),
    "create": (lambda service: service.create(TARGET, {"sizes": ["1.5"] * 200_000}), 1),
    "update": (
        lambda service: service.update(TARGET, "0" * 8 + "-0000" * 3 + "-" + "0" * 12,
                                       {"sizes": ["1.5"] * 200_000}),
        1,
    ),
}  # fmt: skip
SIZES = {"sizes": ["1.5"] * 200_000}
CALLS_IN_TRANSACTIONS: dict[str, tuple[Callable[[RecordsService], Any], int]] = {
    "upsert": (lambda service: service.upsert(TARGET, [ROW] * 1000, "word"), 1000),
    "update where": (lambda service: service.update_where(TARGET, {}, SIZES, at_most=9), 1),
    "batch of creates": (
        lambda service: service.batch(server_actor(), "lab", [CREATION], dry_run=True), 1
    ),
    "batch of upserts": (lambda service: service.batch(server_actor(), "lab", [UPSERT]), 1),
}  # fmt: skip
CREATION = Operation(op="create", entity="things", data=SIZES)
UPSERT = Operation(op="upsert", entity="things", data=SIZES, on="word")


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CALLS, *CALLS_IN_TRANSACTIONS])
async def test_others_go_on_while_many_values_are_coerced(
    name: str, monkeypatch: pytest.MonkeyPatch
):
    threads = set[int]()

    def noting(work: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any) -> Any:
            threads.add(threading.get_ident())
            return work(*args)

        return noted

    steps = [
        (rows, "coerce_field"), (rows, "convert_column"), (arrays, "_default_of"),
        (arrays, "_encode_row"),
    ]  # fmt: skip
    for module, step in steps:
        monkeypatch.setattr(module, step, noting(getattr(module, step)))
    if name in CALLS:
        call, number = CALLS[name]
        turns, silent = await turns_during(call)
    else:
        call, number = CALLS_IN_TRANSACTIONS[name]
        turns, silent = await turns_during(
            lambda service: until_rows_are_sent(call(service)), SilentInTransaction()
        )
    assert silent.rows == number
    assert threads
    assert threading.get_ident() not in threads  # the loop's own
    assert turns > 0


async def test_a_bulk_that_is_coerced_in_a_thread_is_refused_in_the_same_words():
    with pytest.raises(BadRequest, match=r"^\[999\] things\.at_0: a timestamp"):
        await service_of(Silent()).create_many(TARGET, [*[ROW] * 999, {"at_0": "soon"}])


@pytest.mark.parametrize(("operations", "yields"), [(999, True), (99, False)], ids=["many", "few"])
async def test_others_go_on_between_the_operations_of_a_batch(operations: int, yields: bool):
    creation = msgspec.structs.replace(CREATION, data={"at_0": STAMP, "sizes": [1.5] * 50})
    wrong_creation = msgspec.structs.replace(CREATION, data={"at_0": "soon"})
    batch = [*[creation] * operations, wrong_creation]
    turns, silent = await turns_during(
        lambda service: until_rows_are_sent(
            service.batch(server_actor(), "lab", batch, dry_run=True)
        ),
        SilentInTransaction(),
    )
    assert silent.rows == 1  # all are coerced, and then written one by one to find the wrong one
    assert (turns > 0) is yields


async def test_few_values_need_no_thread():
    turns, _ = await turns_during(lambda service: service.create(TARGET, ROW))
    assert turns == 0


def record(names: Sequence[str], offset: str) -> bytes:
    """A record as PostgreSQL writes it, with a text and a json that look like timestamps."""
    said = f"2024-01-15T10:30:00{offset}"
    members = [
        '"id":"1"',
        '"word":"+00:00"',
        f'"doc":{{"at_1": "2024+00:00", "at_2": "+00:00\\",\\"{names[0]}\\":"}}',
        *(f'"{name}":"{said}"' for name in names),
        f'"created_at":"{said}"',
        f'"updated_at":"{said}"',
    ]
    return ("{" + ",".join(members) + "}").encode()


@pytest.mark.parametrize("count", [1, 15, 16, 17, 100])
def test_timestamps_end_in_z_however_many_a_record_has(count: int):
    names = NAMES[:count]
    whole = entity(*names)
    first = (
        Field(name="word", type="text", sql_type="text"),
        Field(name="doc", type="json", sql_type="jsonb"),
    )
    rendering = Rendering(Columns(msgspec.structs.replace(whole, fields=first + whole.fields)))
    made, wanted = record(names, "+00:00"), record(names, "Z")
    assert rendering.finish_record(made) == wanted
    assert rendering.finish_array(b"[" + b",\n".join([made] * 3) + b"]") == (
        b"[" + b",\n".join([wanted] * 3) + b"]"
    )


def test_a_page_is_not_walked_through_for_each_timestamp():
    names = [f"at_{index}" for index in range(480)]
    page = b"[" + b",\n".join([record(names, "+00:00")] * 400) + b"]"
    few, many = Rendering(Columns(entity("at_0"))), Rendering(Columns(entity(*names)))
    # The ends of records, and two timestamps.
    once = min(seconds(lambda: few.finish_array(page)) for _ in range(3))
    assert seconds(lambda: many.finish_array(page)) < 30 * once
