"""Records of entities, statements about them, and their changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Protocol

from .errors import ChangesLost

READS = ("find", "findOne", "query", "export", "changes")


class Connection(Protocol):
    """What operations are sent over: the worker."""

    loop: asyncio.AbstractEventLoop

    def operate(
        self, op: str, entity: str, data: dict[str, Any], marks: dict[str, str | None]
    ) -> Coroutine[Any, Any, Any]:
        """Send an operation, and return its result."""
        ...


class Collection:
    """Records of one entity. In an `async def` the methods are awaited, in a `def` they block."""

    def __init__(
        self,
        connection: Connection,
        entity: str,
        call_id: str | None,
        *,
        blocking: bool,
        marks: dict[str, str] | None = None,
    ) -> None:
        self._connection = connection
        self._entity = entity
        self._call_id = call_id
        self._blocking = blocking
        self._marks = marks or {}

    def once(self, key: str) -> Collection:
        """The same records; a write with this key acts once within 24 hours, and returns the same
        result each time: `ctx.collection("invoices").once(payload["order"]).insert({...})`."""
        return self._copy_with(key=key)

    def if_match(self, etag: str) -> Collection:
        """The same records; an update or a delete is refused with the status 412 where the record
        has changed since it had this `_etag`."""
        return self._copy_with(if_match=etag)

    def _copy_with(self, **marks: str) -> Collection:
        return Collection(
            self._connection,
            self._entity,
            self._call_id,
            blocking=self._blocking,
            marks={**self._marks, **marks},
        )

    def insert(self, data: dict[str, Any]) -> Any:
        """Create a record and return it."""
        return self._do("insert", data)

    def update(self, record: str | dict[str, Any], **values: Any) -> Any:
        """Change a record by its id, or the one that `id` in the data names, and return it."""
        return self._do("update", {**_name_record(record), **values})

    def delete(self, record: str | dict[str, Any]) -> Any:
        """Delete a record, by its id."""
        return self._do("delete", _name_record(record))

    def find(self, where: dict[str, Any] | None = None) -> Any:
        """Return the records with these values, 1000 at most; all of them without any."""
        return self._do("find", where or {})

    def find_one(self, where: dict[str, Any] | None = None) -> Any:
        """Return the first record with these values, or None."""
        return self._do("findOne", where or {})

    def query(self, where: dict[str, Any] | None = None, **options: Any) -> Any:
        """Return `{"data": [...], "total": n}`: a page of records, or groups of them.

        Options are the members of POST .../query, in either spelling: `fields`, `expand`, `search`,
        `etag`, `order_by`, `order`, `then_by`, `limit`, `offset`, `after`, `total`, `group_by`,
        `aggregate`, `having`, `timezone`.
        """
        return self._do("query", {"where": where, **_to_camel(options)})

    def export(self, where: dict[str, Any] | None = None, **options: Any) -> Any:
        """Return records as the text of a file: options as of `query`, `format` "csv" (default) or
        "ndjson", `raw`; without `limit` all of them, 10 MB at most."""
        return self._do("export", {"where": where, **_to_camel(options)})

    def import_file(self, text: str, **options: Any) -> Any:
        """Import the text of a file and return a report: options `format` "csv" (default) or
        "ndjson", `on`, `mode` "all" (default) or "valid", `dry_run`, `preview`, `raw`, and those
        of the route that say how the file is written: `create`, `delimiter`, `decimal`, `dates`,
        `null`."""
        return self._do("import", {"text": text, **_to_camel(options)})

    def changes(self, name: str | None = None, **options: Any) -> Changes:
        """Iterate over what happened to the records since the last time, in order: `for` in a
        `def`, `async for` in an `async def`.

            async for change in ctx.collection("deals").changes("mirror"):
                await copy(change["event"], change["record"])

        A change is `{"change", "event", "id", "record", "old", "at", "actor", "request",
        "position"}`. `change` is its number, the same each time. The event is enter, change or
        leave; `record` is None for leave, and `old` has the former values of the fields that
        changed. The loop ends where nothing more has been committed.

        The server keeps the position of a `name`, one for each app and entity. Changes count as
        handled when the loop asks for more behind them, or ends. After a failure they come again,
        so each comes at least once. A new name begins now. Options: `since` (a position), `where`,
        `fields`, `limit` (at most so many at once). Raises ChangesLost.
        """
        return Changes(self._do, name, options)

    def insert_many(self, rows: list[dict[str, Any]]) -> Any:
        """Create 1 to 1000 records, all or none, and return them."""
        return self._do("insertMany", {"rows": rows})

    def upsert(self, rows: list[dict[str, Any]], on: str, then: str = "update") -> Any:
        """Create records, or change those whose unique fields `on` a row has; return
        `[{"result": "created" | "updated" | "ignored", "record": {...}}]`."""
        return self._do("upsert", {"rows": rows, "on": on, "then": then})

    def update_where(self, where: dict[str, Any], values: dict[str, Any], **bounds: int) -> Any:
        """Change the records that match, where they are `expect` or at most `max` many; return
        `{"updated": n}`."""
        return self._do("updateWhere", {"where": where, "set": values, **bounds})

    def delete_where(self, where: dict[str, Any], **bounds: int) -> Any:
        """Delete the records that match; return `{"deleted": n}`. See `update_where`."""
        return self._do("deleteWhere", {"where": where, **bounds})

    def batch(self, operations: list[dict[str, Any]], *, dry_run: bool = False) -> Any:
        """Run up to 1000 writes of any entities in one transaction, as POST .../batch does; return
        `{"results": [...]}`."""
        return self._do("batch", {"operations": operations, "dryRun": dry_run})

    def _do(self, op: str, data: dict[str, Any]) -> Any:
        marks: dict[str, str | None] = {"call": self._call_id}
        if op not in READS:
            marks.update(self._marks)
        operation = self._connection.operate(op, self._entity, data, marks)
        if not self._blocking:
            return operation
        return asyncio.run_coroutine_threadsafe(operation, self._connection.loop).result()


def send_statement(
    connection: Connection,
    query: str,
    values: list[Any] | None,
    call_id: str | None,
    *,
    blocking: bool,
) -> Any:
    """Have the server run a statement; see `Context.sql`."""
    data = {"query": query, "values": values or []}
    operation = connection.operate("sql", "", data, {"call": call_id})
    if not blocking:
        return operation
    return asyncio.run_coroutine_threadsafe(operation, connection.loop).result()


class Changes:
    """What happened to the records of a collection; see `Collection.changes`."""

    def __init__(self, ask: Callable[..., Any], name: str | None, options: dict[str, Any]) -> None:
        """`ask` is that of the collection: awaited in an `async def`."""
        self._ask = ask
        self._request = {**options, "name": name}

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        """Yield changes until there are no more."""
        is_complete = False
        while not is_complete:
            page = await self._ask("changes", self._request)
            is_complete = self._take(page)
            for change in page["changes"]:
                yield change
        await self._ask("changes", self._end())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield changes until there are no more; for a `def`."""
        is_complete = False
        while not is_complete:
            page = self._ask("changes", self._request)
            is_complete = self._take(page)
            yield from page["changes"]
        self._ask("changes", self._end())

    def _end(self) -> dict[str, Any]:
        """Return the request that reads nothing: it has what was handled last kept."""
        return {**self._request, "limit": 0}

    def _take(self, page: dict[str, Any]) -> bool:
        """Go on behind a page with the next request; return whether there is no more to come."""
        if page["lost"]:
            raise ChangesLost(page["lost"], page["position"])
        self._request.pop("since", None)
        self._request["done"] = page["position"]
        return bool(page["complete"])


def _name_record(record: str | dict[str, Any]) -> dict[str, Any]:
    return record if isinstance(record, dict) else {"id": record}


def _to_camel(options: dict[str, Any]) -> dict[str, Any]:
    """Spell names of options as JSON has them: `order_by` is `orderBy`."""
    spelled: dict[str, Any] = {}
    for name, value in options.items():
        first, *rest = name.split("_")
        spelled[first + "".join(part.capitalize() for part in rest)] = value
    return spelled
