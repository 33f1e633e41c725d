"""The reply of a batch: one result for each operation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kernel.public import Tagged
from plugins.data.rendering import id_text
from plugins.data.statements.entity_table import Table
from plugins.data.values.encoding import encode

_UUID: Final = slice(len(b'{"id":'), len(b'{"id":"01234567-89ab-7def-8123-456789abcdef"'))


def reply_of(results: Sequence[bytes]) -> bytes:
    """Return the reply with all results."""
    return b'{"results": [%b]}' % b",\n".join(results)


def result_of(op: str, record: Tagged, upsert_result: str = "") -> bytes:
    """Return the result of an operation: what it was, and the record as its caller may see it."""
    result = b""
    if upsert_result:
        result = b',"result":"%b"' % upsert_result.encode()
    record_id = id_text(record.record)
    parts = (op.encode(), result, record_id, record.record, _etag_member(record.etag))
    return b'{"op":"%b"%b,"id":%b,"record":%b%b}' % parts


def result_of_delete(record_id: str) -> bytes:
    """Return the result of a delete."""
    return b'{"op": "delete", "id": %b}' % encode(record_id)


def results_of_creates(table: Table, etag: str, records: Sequence[bytes]) -> list[bytes]:
    """Return the results of creates of one entity by one statement, to a caller who sees all."""
    if table.entity.id_type != "uuid":
        return [result_of("create", Tagged(record, etag)) for record in records]
    end = _etag_member(etag)
    return [
        b'{"op":"create","id":%b,"record":%b%b}' % (record[_UUID], record, end)
        for record in records
    ]


def _etag_member(etag: str | None) -> bytes:
    return b"" if etag is None else b',"etag":%b' % encode(etag)
