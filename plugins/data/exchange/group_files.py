"""Groups of an aggregation as CSV and as JSON lines."""

from __future__ import annotations

import csv
import io
from collections.abc import Awaitable, Callable

import msgspec

from kernel.public import MAX_PAGE, Aggregation, BadRequest
from plugins.data.models import QueryBody
from plugins.data.reads.export import FORMULA, Format


class Groups(msgspec.Struct, frozen=True):
    """The reply of an aggregation."""

    data: list[dict[str, msgspec.Raw]]
    total: int | None = None


_decode_groups = msgspec.json.Decoder(Groups).decode
_decode_value = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


async def grouped_file(
    aggregate: Callable[[Aggregation], Awaitable[bytes]],
    body: QueryBody,
    file_format: Format,
    *,
    raw: bool,
) -> bytes:
    """Return the groups that a query asks for as a file; `raw` leaves formulas as they are.

    Raises BadRequest where without a limit there are more groups than a page has.
    """
    aggregation = body.aggregation
    asks_for_all = body.limit is None and not body.offset
    if asks_for_all:
        aggregation = msgspec.structs.replace(aggregation, limit=MAX_PAGE, total=True)
    groups = _decode_groups(await aggregate(aggregation))
    if asks_for_all and groups.total is not None and groups.total > len(groups.data):
        raise BadRequest(f"there are {groups.total} groups: page them by limit, {MAX_PAGE} at most")
    if file_format == "ndjson":
        return b"".join(_encode(group) + b"\n" for group in groups.data)
    text = io.StringIO(newline="")
    lines = csv.writer(text, lineterminator="\r\n")
    lines.writerow(body.members)
    for group in groups.data:
        lines.writerow([_write_cell(group[name], raw=raw) for name in body.members])
    return text.getvalue().encode()


def _write_cell(raw_value: msgspec.Raw, *, raw: bool) -> str:
    value = _decode_value(raw_value)
    if value is None:
        return ""
    if not isinstance(value, str):
        return bytes(raw_value).decode()  # the digits of a sum stay as they are
    if not raw and FORMULA.match(value):
        return f"'{value}"
    return value
