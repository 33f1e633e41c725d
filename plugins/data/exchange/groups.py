"""Groups of an aggregation as CSV and as JSON lines."""

from __future__ import annotations

import csv
import io
from collections.abc import Awaitable, Callable

import msgspec

from kernel.public import MAX_PAGE, Aggregation, BadRequest
from plugins.data.models import QueryBody

from .export import FORMULA, Format


class Groups(msgspec.Struct, frozen=True):
    """The reply of an aggregation."""

    data: list[dict[str, msgspec.Raw]]
    total: int | None = None


_groups = msgspec.json.Decoder(Groups).decode
_value = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


async def grouped_file(
    aggregate: Callable[[Aggregation], Awaitable[bytes]],
    body: QueryBody,
    kind: Format,
    *,
    raw: bool,
) -> bytes:
    """Return the groups that a query wants as a file; `raw` leaves formulas as they are.

    Raises BadRequest where without a limit there are more groups than a page has.
    """
    wanted, whole = body.aggregation, body.limit is None and not body.offset
    if whole:
        wanted = msgspec.structs.replace(wanted, limit=MAX_PAGE, total=True)
    found = _groups(await aggregate(wanted))
    if whole and found.total is not None and found.total > len(found.data):
        raise BadRequest(f"there are {found.total} groups: page them by limit, {MAX_PAGE} at most")
    if kind == "ndjson":
        return b"".join(_encode(group) + b"\n" for group in found.data)
    written = io.StringIO(newline="")
    lines = csv.writer(written, lineterminator="\r\n")
    lines.writerow(body.members)
    lines.writerows(
        [[_cell(group[name], raw=raw) for name in body.members] for group in found.data]
    )
    return written.getvalue().encode()


def _cell(raw_value: msgspec.Raw, *, raw: bool) -> str:
    value = _value(raw_value)
    if value is None:
        return ""
    if not isinstance(value, str):
        return bytes(raw_value).decode()  # the digits of a sum stay as they are
    return f"'{value}" if not raw and FORMULA.match(value) else value
